// Handles of files that are not open (O_PATH), whose names stay or go.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstddef>
#include <memory>
#include <string>

#include "tests/programs/fds_probe/kind.h"
#include "tests/programs/fds_probe/kinds.h"

namespace fds_probe {
namespace {

class PathHandle : public Kind {
 public:
  PathHandle(const std::string& path, bool deleted) {
    ::close(open_new(path));
    fd_ = ::open(path.c_str(), O_PATH | O_CLOEXEC);
    expect(!deleted || ::unlink(path.c_str()) == 0, "unlink");
    struct stat st {};
    expect(::fstat(fd_, &st) == 0, "fstat");
    inode_ = st.st_ino;
  }
  void round(Number) override {
    struct stat st {};
    expect(::fstat(fd_, &st) == 0 && st.st_ino == inode_, "another file");
    expect((::fcntl(fd_, F_GETFL) & O_PATH) != 0, "no path handle any more");
  }

 private:
  int fd_;
  ino_t inode_ = 0;
};

// A symbolic link itself, which was deleted.
class DeletedLink : public Kind {
 public:
  explicit DeletedLink(const std::string& dir) {
    const std::string path = dir + "/deleted-link";
    expect(::symlink("/where it led", path.c_str()) == 0, "symlink");
    fd_ = ::open(path.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC);
    expect(fd_ >= 0 && ::unlink(path.c_str()) == 0, "unlink");
  }
  void round(Number) override {
    char target[64];
    const ssize_t size = ::readlinkat(fd_, "", target, sizeof target);
    expect(size > 0 && std::string(target, static_cast<std::size_t>(size)) == "/where it led",
           "it leads elsewhere");
  }

 private:
  int fd_;
};

}  // namespace

void add_path_handle_kinds(Makers& makers) {
  makers["path-handle"] = [](auto& dir) {
    return std::make_unique<PathHandle>(dir + "/path", false);
  };
  makers["deleted-path"] = [](auto& dir) {
    return std::make_unique<PathHandle>(dir + "/gone", true);
  };
  makers["deleted-link"] = make<DeletedLink>();
}

}  // namespace fds_probe
