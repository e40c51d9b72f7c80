// Terminals whose other side is gone.
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "tests/programs/fds_probe/kind.h"
#include "tests/programs/fds_probe/kinds.h"

namespace fds_probe {
namespace {

// End of file, and nothing can be written.
class ClosedTerminal : public Kind {
 public:
  explicit ClosedTerminal(const std::string&) {
    const int master = ::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    expect(master >= 0 && ::grantpt(master) == 0 && ::unlockpt(master) == 0, "make a terminal");
    char name[64];
    expect(::ptsname_r(master, name, sizeof name) == 0, "its name");
    fd_ = ::open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
    expect(fd_ >= 0 && ::write(master, "left\n", 5) == 5, "open a terminal");
    ::close(master);
  }
  void round(Number) override {
    char byte = 0;
    expect(::read(fd_, &byte, 1) == 0, "there is something to read");
    expect(::write(fd_, &byte, 1) < 0 && errno == EIO, "it can be written");
    expect(::isatty(fd_) == 0 && errno == EIO, "it is a terminal again");
    struct stat st {};
    expect(::fstat(fd_, &st) == 0 && S_ISCHR(st.st_mode) && st.st_nlink == 0, "it has a name");
  }

 private:
  int fd_ = -1;
};

}  // namespace

void add_terminal_kinds(Makers& makers) { makers["closed-terminal"] = make<ClosedTerminal>(); }

}  // namespace fds_probe
