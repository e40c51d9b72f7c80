// Files and directories that are open and have lost their names.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <memory>
#include <string>

#include "tests/programs/fds_probe/kind.h"
#include "tests/programs/fds_probe/kinds.h"

namespace fds_probe {
namespace {

// Its name is gone; somebody else may have it open, too, and sees what is written.
class Deleted : public Kind {
 public:
  Deleted(const std::string& dir, bool never_had_a_name) {
    if (never_had_a_name) {
      fd_ = ::open(dir.c_str(), O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
      expect(fd_ >= 0, "O_TMPFILE");
      return;
    }
    // Left to the test: it waits for the name, opens it, and takes it away.
    fd_ = open_new(dir + "/deleted");
    struct stat st {};
    while (::fstat(fd_, &st) == 0 && st.st_nlink > 0) ::usleep(1000);
  }
  void round(Number n) override {
    expect(::pwrite(fd_, &n, sizeof n, 64) == sizeof n, "write");
    Number back = 0;
    expect(::pread(fd_, &back, sizeof back, 64) == sizeof back && back == n, "another content");
    if (n % 64 != 1) return;
    struct stat st {};
    expect(::fstat(fd_, &st) == 0 && st.st_nlink == 0, "it has a name again");
    if (inode_ == 0) inode_ = st.st_ino;
    expect(st.st_ino == inode_, "another file");
  }

 private:
  int fd_ = -1;
  ino_t inode_ = 0;
};

class DeletedCwd : public Kind {
 public:
  explicit DeletedCwd(const std::string& dir) {
    const std::string path = dir + "/cwd";
    expect(::mkdir(path.c_str(), 0755) == 0 && ::chdir(path.c_str()) == 0, "chdir");
    expect(::rmdir(path.c_str()) == 0, "rmdir");
    link_ = link();
  }
  void round(Number) override {
    char buffer[4096];
    expect(::getcwd(buffer, sizeof buffer) == nullptr && errno == ENOENT, "it has a name again");
    expect(link() == link_, "/proc calls it otherwise");
    expect(::open("x", O_RDWR | O_CREAT, 0600) < 0, "a file was made in it");
  }

 private:
  static std::string link() {
    char target[4096];
    const ssize_t size = ::readlink("/proc/self/cwd", target, sizeof target);
    return {target, static_cast<std::size_t>(size > 0 ? size : 0)};
  }
  std::string link_;
};

}  // namespace

void add_deleted_kinds(Makers& makers) {
  makers["deleted"] = [](auto& dir) { return std::make_unique<Deleted>(dir, false); };
  makers["tmpfile"] = [](auto& dir) { return std::make_unique<Deleted>(dir, true); };
  makers["deleted-cwd"] = make<DeletedCwd>();
}

}  // namespace fds_probe
