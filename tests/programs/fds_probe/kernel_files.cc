// Files that the kernel makes: of /proc, and namespaces.
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "tests/programs/fds_probe/kind.h"
#include "tests/programs/fds_probe/kinds.h"

namespace fds_probe {
namespace {

// The directory that a process had in /proc, until it ended.
class EndedCwd : public Kind {
 public:
  explicit EndedCwd(const std::string&) {
    const pid_t child = ::fork();
    if (child == 0) {
      for (;;) ::pause();
    }
    const std::string path = "/proc/" + std::to_string(child);
    expect(child > 0 && ::chdir(path.c_str()) == 0, "chdir");
    expect(::kill(child, SIGKILL) == 0 && ::waitpid(child, nullptr, 0) == child, "end it");
  }
  void round(Number) override {
    char buffer[4096];
    expect(::getcwd(buffer, sizeof buffer) == nullptr && errno == ENOENT, "it has a name again");
    expect(::open("status", O_RDONLY) < 0, "the process is there again");
    expect(::waitpid(-1, nullptr, WNOHANG) < 0 && errno == ECHILD, "it has a child");
  }
};

// Files of /proc about the process itself.
class ProcFiles : public Kind {
 public:
  explicit ProcFiles(const std::string&) {
    status_ = ::open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    environment_ = ::open("/proc/self/environ", O_RDONLY | O_CLOEXEC);
    descriptors_ = ::open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    expect(status_ >= 0 && environment_ >= 0 && descriptors_ >= 0, "open");
    expect(::read(environment_, first_, sizeof first_) == sizeof first_, "environment");
  }
  void round(Number) override {
    char text[4096] = {};
    expect(::pread(status_, text, sizeof text - 1, 0) > 0, "status");
    const std::string pid = "\nPid:\t" + std::to_string(::getpid()) + "\n";
    expect(std::string(text).find(pid) != std::string::npos, "it tells of another process");
    expect(::lseek(environment_, 0, SEEK_CUR) == sizeof first_, "its offset");
    char first[sizeof first_];
    expect(::pread(environment_, first, sizeof first, 0) == sizeof first &&
               std::memcmp(first, first_, sizeof first) == 0,
           "another environment");
    const bool own = sees_own() || sees_own();  // it may have moved in between
    expect(own, "descriptors of another process");
  }

 private:
  bool sees_own() const {
    struct stat here {
    }, there{};
    const std::string number = std::to_string(status_);
    return ::fstatat(descriptors_, number.c_str(), &there, 0) == 0 &&
           ::fstat(status_, &here) == 0 && here.st_ino == there.st_ino;
  }
  int status_, environment_, descriptors_;
  char first_[4] = {};
};

// Files of /proc about the machine where it is, and one of the process; they stay at their ends
// until they are read again from their beginnings.
class MachineFiles : public Kind {
 public:
  explicit MachineFiles(const std::string&) {
    for (const char* path : {"/proc/stat", "/proc/meminfo", "/proc/loadavg", "/proc/uptime",
                             "/proc/sys/fs/nr_open", "/proc/self/status"}) {
      files_[path] = ::open(path, O_RDONLY | O_CLOEXEC);
      expect(files_[path] >= 0, path);
      read_all(path, files_[path]);
    }
  }
  void round(Number n) override {
    char byte = 0;
    for (const auto& [path, fd] : files_) {
      expect(::read(fd, &byte, 1) == 0, "it is not at its end any more");
      if (n % 16 == 0) read_all(path, fd);
    }
  }

 private:
  void read_all(const std::string& path, int fd) {
    expect(::lseek(fd, 0, SEEK_SET) == 0, "to the beginning");
    const ssize_t size = ::read(fd, text_.data(), text_.size());
    expect(size > 0 && text_[static_cast<std::size_t>(size) - 1] == '\n', path.c_str());
    expect(path != "/proc/stat" || std::memcmp(text_.data(), "cpu  ", 5) == 0, "another text");
  }
  std::map<std::string, int> files_;
  std::vector<char> text_ = std::vector<char>(1 << 18);
};

// Handles on its own namespaces stay handles on its own.
class Namespaces : public Kind {
 public:
  explicit Namespaces(const std::string&) {
    for (const char* name : {"cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"}) {
      const std::string path = std::string("/proc/self/ns/") + name;
      handles_[path] = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
      expect(handles_[path] >= 0, path.c_str());
    }
  }
  void round(Number) override {
    for (const auto& [path, fd] : handles_) {
      const bool own = is_own(path, fd) || is_own(path, fd);  // it may have moved in between
      expect(own, path.c_str());
    }
  }

 private:
  static bool is_own(const std::string& path, int fd) {
    struct stat own {
    }, held{};
    return ::stat(path.c_str(), &own) == 0 && ::fstat(fd, &held) == 0 && own.st_ino == held.st_ino;
  }
  std::map<std::string, int> handles_;
};

}  // namespace

void add_kernel_file_kinds(Makers& makers) {
  makers["ended-cwd"] = make<EndedCwd>();
  makers["proc-files"] = make<ProcFiles>();
  makers["machine-files"] = make<MachineFiles>();
  makers["namespaces"] = make<Namespaces>();
}

}  // namespace fds_probe
