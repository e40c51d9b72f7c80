// A program that is moved while it uses what it has open, one thing of each KIND, round after round
// without pause. On SIGTERM it says for each "KIND: ok" or what was wrong, and how many rounds it
// made; the last line is PASS or FAIL. A wrong round is told once, and the kind is left alone.
//
//   fds_probe REPORT DIRECTORY KIND...
//
// Long because it has a class of some 20 lines for each kind, and it is one program.
#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace {

using Number = unsigned long long;

void expect(bool right, const char* what) {
  if (!right) throw std::runtime_error(std::string(what) + " (" + std::strerror(errno) + ")");
}

int open_new(const std::string& path, int flags = 0) {
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | flags, 0644);
  expect(fd >= 0, "make a file");
  return fd;
}

class Kind {
 public:
  virtual ~Kind() = default;
  virtual void round(Number n) = 0;
  virtual void end(Number) {}
};

class Append : public Kind {
 public:
  explicit Append(const std::string& dir)
      : path_(dir + "/append"), fd_(open_new(path_, O_APPEND)) {}
  void round(Number n) override {
    const std::string line = std::to_string(n) + "\n";
    expect(::write(fd_, line.data(), line.size()) == static_cast<ssize_t>(line.size()), "append");
  }
  void end(Number rounds) override {
    std::FILE* file = std::fopen(path_.c_str(), "re");
    Number read = 0, expected = 0;
    while (std::fscanf(file, "%llu", &read) == 1) expect(read == ++expected, "a line is wrong");
    expect(expected == rounds, "lines are missing");
    std::fclose(file);
  }

 private:
  std::string path_;
  int fd_;
};

// Reads on where it was, and starts again at the end.
class Offset : public Kind {
 public:
  explicit Offset(const std::string& dir) : fd_(open_new(dir + "/offset")) {
    std::vector<unsigned char> data(kBytes);
    for (std::size_t i = 0; i < data.size(); ++i) data[i] = byte(i);
    expect(::write(fd_, data.data(), kBytes) == static_cast<ssize_t>(kBytes), "fill a file");
    expect(::lseek(fd_, 0, SEEK_SET) == 0, "lseek");
  }
  void round(Number) override {
    unsigned char piece[997];
    const ssize_t got = ::read(fd_, piece, sizeof piece);
    expect(got >= 0, "read");
    for (ssize_t i = 0; i < got; ++i) {
      expect(piece[i] == byte(at_ + static_cast<std::size_t>(i)), "it read from somewhere else");
    }
    at_ += static_cast<std::size_t>(got);
    if (got > 0) return;
    expect(at_ == kBytes, "the end came too early");
    expect(::lseek(fd_, 0, SEEK_SET) == 0, "lseek");
    at_ = 0;
  }

 private:
  static constexpr std::size_t kBytes = 100'000;
  static unsigned char byte(std::size_t i) { return static_cast<unsigned char>(i * 7 + i / 251); }
  int fd_;
  std::size_t at_ = 0;
};

class Directory : public Kind {
 public:
  explicit Directory(const std::string& dir)
      : fd_(::open(dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {}
  void round(Number) override {
    expect(::mkdirat(fd_, "made", 0755) == 0, "mkdirat");
    expect(::unlinkat(fd_, "made", AT_REMOVEDIR) == 0, "unlinkat");
  }

 private:
  int fd_;
};

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

class Mapped : public Kind {
 public:
  Mapped(const std::string& path, bool deleted) : fd_(open_new(path)) {
    expect(::ftruncate(fd_, 4096) == 0, "ftruncate");
    void* at = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd_, 0);
    expect(at != MAP_FAILED, "mmap");
    words_ = static_cast<volatile Number*>(at);
    if (!deleted) return;
    expect(::unlink(path.c_str()) == 0, "unlink");
    // Only mapped from here on.
    ::close(fd_);
    fd_ = -1;
  }
  void round(Number n) override {
    expect(words_[0] == n - 1, "the mapping lost a write");
    words_[0] = n;
    if (fd_ < 0 || n % 16 != 0) return;
    expect(::msync(const_cast<Number*>(words_), 4096, MS_SYNC) == 0, "msync");
    Number back = 0;
    expect(::pread(fd_, &back, sizeof back, 0) == sizeof back && back == n, "the file lost it");
  }

 private:
  int fd_;
  volatile Number* words_ = nullptr;
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
  static void read_all(const std::string& path, int fd) {
    static char text[1 << 18];
    expect(::lseek(fd, 0, SEEK_SET) == 0, "to the beginning");
    const ssize_t size = ::read(fd, text, sizeof text);
    expect(size > 0 && text[size - 1] == '\n', path.c_str());
    expect(path != "/proc/stat" || std::memcmp(text, "cpu  ", 5) == 0, "another text");
  }
  std::map<std::string, int> files_;
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

// A FIFO that nobody else can reach: what was written is read in its order.
class DeletedFifo : public Kind {
 public:
  explicit DeletedFifo(const std::string& dir) {
    const std::string path = dir + "/deleted-fifo";
    expect(::mkfifo(path.c_str(), 0600) == 0, "mkfifo");
    fd_ = ::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NONBLOCK);
    expect(fd_ >= 0 && ::unlink(path.c_str()) == 0, "open a FIFO");
    for (Number i = 1; i <= 5; ++i) put(i);
  }
  void round(Number n) override {
    Number got = 0;
    expect(::read(fd_, &got, sizeof got) == sizeof got && got == n, "another number came");
    put(n + 5);
  }

 private:
  void put(Number n) { expect(::write(fd_, &n, sizeof n) == sizeof n, "write to a FIFO"); }
  int fd_;
};

// A number comes by one FIFO, its successor goes by the other one.
class Fifo : public Kind {
 public:
  explicit Fifo(const std::string& dir)
      : in_(::open((dir + "/in").c_str(), O_RDONLY | O_CLOEXEC)),
        out_(::open((dir + "/out").c_str(), O_WRONLY | O_CLOEXEC)) {
    expect(in_ >= 0 && out_ >= 0, "open FIFOs");
  }
  void round(Number) override {
    Number n = 0;
    const ssize_t got = ::read(in_, &n, sizeof n);
    if (got < 0 && errno == EINTR) return;
    expect(got == sizeof n, "no number came");
    ++n;
    expect(::write(out_, &n, sizeof n) == sizeof n, "write to a FIFO");
  }

 private:
  int in_, out_;
};

volatile sig_atomic_t finish = 0;

// It writes a number into a FIFO and takes two out of it, from among its own and those that
// somebody at home writes there, too; others may take some out at home. Who writes counts, so the
// order of each can be told. At its end it writes down how many it wrote, and took out of each
// kind.
class FifoPair : public Kind {
 public:
  explicit FifoPair(const std::string& dir)
      : in_(::open((dir + "/both").c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)),
        out_(::open((dir + "/both").c_str(), O_WRONLY | O_CLOEXEC)),
        counts_(dir + "/counts") {
    expect(in_ >= 0 && out_ >= 0 && ::fcntl(in_, F_SETFL, 0) == 0, "open both ends of a FIFO");
  }
  void round(Number) override {
    ++written_;
    expect(::write(out_, &written_, sizeof written_) == sizeof written_, "write to a FIFO");
    if (take()) take();
  }
  void end(Number) override {
    while (is_more_to_come()) take();
    std::FILE* file = std::fopen(counts_.c_str(), "we");
    std::fprintf(file, "%llu %llu %llu\n", written_, own_.taken, homes_.taken);
    std::fclose(file);
  }

 private:
  struct Order {
    Number last = 0;
    Number taken = 0;
  };
  bool is_more_to_come() const {
    pollfd entry{in_, POLLIN, 0};
    return ::poll(&entry, 1, 1000) == 1;
  }
  bool take() {
    Number n = 0;
    const ssize_t got = ::read(in_, &n, sizeof n);
    if (got < 0 && errno == EINTR && finish != 0) return false;
    expect(got == sizeof n, "no number came");
    constexpr Number kOfHome = Number{1} << 63;
    Order& order = (n & kOfHome) != 0 ? homes_ : own_;
    n &= ~kOfHome;
    expect(n > order.last, "numbers came in another order, or twice");
    order.last = n;
    ++order.taken;
    return true;
  }
  int in_, out_;
  std::string counts_;
  Number written_ = 0;
  Order own_, homes_;
};

volatile sig_atomic_t relock = 0;

// It has the lock all the time; whoever tries at home is told so. On SIGUSR1 it lets go, takes it
// again where it is then, and writes down how often. At its end it lets go.
class Locked : public Kind {
 public:
  using Act = bool (*)(int fd);
  Locked(const std::string& path, Act take, Act let_go)
      : fd_(open_new(path)), take_(take), let_go_(let_go) {
    expect(take_(fd_), "lock");
    struct sigaction action {};
    action.sa_handler = [](int) { relock = 1; };
    ::sigaction(SIGUSR1, &action, nullptr);
  }
  void round(Number n) override {
    if (relock != 0) {
      relock = 0;
      expect(let_go_(fd_), "unlock");
      expect(take_(fd_), "lock again");
      ++relocks_;
      expect(::pwrite(fd_, &relocks_, sizeof relocks_, 0) == sizeof relocks_, "write");
    }
    if (n % 32 != 0) return;
    expect(take_(fd_), "somebody else has the lock");
  }
  void end(Number) override { expect(let_go_(fd_), "unlock"); }

 private:
  int fd_;
  Act take_, let_go_;
  Number relocks_ = 0;
};

std::unique_ptr<Kind> make_flock(const std::string& dir) {
  return std::make_unique<Locked>(
      dir + "/lock", [](int fd) { return ::flock(fd, LOCK_EX | LOCK_NB) == 0; },
      [](int fd) { return ::flock(fd, LOCK_UN) == 0; });
}

// Bytes 10 to 19 for writing and all from 100 on for reading, however this is asked for.
template <int kCommand>
bool set_record_locks(int fd, short first, short second) {
  struct flock lock {};
  lock.l_type = first;
  lock.l_start = 10;
  lock.l_len = 10;
  if (::fcntl(fd, kCommand, &lock) != 0) return false;
  lock = {};
  lock.l_type = second;
  lock.l_start = 100;
  return ::fcntl(fd, kCommand, &lock) == 0;
}
template <int kCommand>
std::unique_ptr<Kind> make_record_lock(const std::string& dir) {
  return std::make_unique<Locked>(
      dir + "/lock", [](int fd) { return set_record_locks<kCommand>(fd, F_WRLCK, F_RDLCK); },
      [](int fd) { return set_record_locks<kCommand>(fd, F_UNLCK, F_UNLCK); });
}

class Memfd : public Kind {
 public:
  explicit Memfd(const std::string&) : fd_(::memfd_create("fds_probe", MFD_CLOEXEC)) {}
  void round(Number n) override {
    Number before = 0;
    expect(n == 1 || (::pread(fd_, &before, sizeof before, 8) == sizeof before && before == n - 1),
           "another content");
    expect(::pwrite(fd_, &n, sizeof n, 8) == sizeof n, "write");
  }

 private:
  int fd_;
};

// Anonymous shared memory, and a descriptor of it: what is written to one is read from the other.
class SharedMemory : public Kind {
 public:
  explicit SharedMemory(const std::string&) {
    void* at = ::mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    expect(at != MAP_FAILED, "mmap");
    words_ = static_cast<volatile Number*>(at);
    char path[80];
    const auto begin = reinterpret_cast<unsigned long>(at);
    (void)std::snprintf(path, sizeof path, "/proc/self/map_files/%lx-%lx", begin, begin + kBytes);
    fd_ = ::open(path, O_RDWR | O_CLOEXEC);
    expect(fd_ >= 0, "open what is mapped");
  }
  void round(Number n) override {
    expect(words_[0] == n - 1, "the memory lost a write");
    words_[0] = n;
    Number back = 0;
    expect(::pread(fd_, &back, sizeof back, 0) == sizeof back && back == n,
           "the descriptor is of other memory");
    expect(::pwrite(fd_, &n, sizeof n, sizeof n) == sizeof n && words_[1] == n,
           "the memory is not that of the descriptor");
  }

 private:
  static constexpr std::size_t kBytes = 4096;
  volatile Number* words_ = nullptr;
  int fd_ = -1;
};

// A terminal whose other side is gone: end of file, and nothing can be written.
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

// Asks the kernel for its network devices, by a socket that keeps its number.
class Netlink : public Kind {
 public:
  explicit Netlink(const std::string&)
      : fd_(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE)) {
    ask(1);
    port_ = port();
    expect(port_ != 0, "it has a number");
  }
  void round(Number n) override {
    expect(port() == port_, "another number");
    if (n % 8 == 0) ask(static_cast<unsigned>(n));
  }

 private:
  unsigned port() const {
    sockaddr_nl address{};
    socklen_t size = sizeof address;
    expect(::getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &size) == 0, "getsockname");
    return address.nl_pid;
  }
  void ask(unsigned sequence) const {
    struct {
      nlmsghdr head;
      rtgenmsg body;
    } request{};
    request.head.nlmsg_len = sizeof request;
    request.head.nlmsg_type = RTM_GETLINK;
    request.head.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
    request.head.nlmsg_seq = sequence;
    expect(::send(fd_, &request, sizeof request, 0) == sizeof request, "ask");
    alignas(nlmsghdr) char answer[64 << 10];
    for (bool last = false; !last;) {
      const ssize_t size = ::recv(fd_, answer, sizeof answer, MSG_DONTWAIT);
      expect(size > 0, "no answer");
      auto left = static_cast<unsigned>(size);
      const auto* head = reinterpret_cast<const nlmsghdr*>(answer);
      for (; NLMSG_OK(head, left) && !last; head = NLMSG_NEXT(head, left)) {
        expect(head->nlmsg_seq == sequence && head->nlmsg_type != NLMSG_ERROR, "another answer");
        expect(port_ == 0 || head->nlmsg_pid == port_, "to somebody else");
        last = head->nlmsg_type == NLMSG_DONE;
      }
    }
  }
  int fd_;
  unsigned port_ = 0;
};

class Eventfd : public Kind {
 public:
  explicit Eventfd(const std::string&) : fd_(::eventfd(7, EFD_CLOEXEC | EFD_NONBLOCK)) {}
  void round(Number n) override {
    eventfd_t value = 0;
    expect(::eventfd_read(fd_, &value) == 0 && value == (n == 1 ? 7 : n), "another count");
    expect(::eventfd_write(fd_, n + 1) == 0, "write");
  }

 private:
  int fd_;
};

class Signalfd : public Kind {
 public:
  explicit Signalfd(const std::string&) {
    sigset_t set;
    ::sigemptyset(&set);
    ::sigaddset(&set, SIGUSR2);
    ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
    fd_ = ::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  }
  void round(Number) override {
    signalfd_siginfo info{};
    expect(::read(fd_, &info, sizeof info) < 0, "a signal that nobody sent");
    ::kill(::getpid(), SIGUSR2);
    expect(::read(fd_, &info, sizeof info) == sizeof info && info.ssi_signo == SIGUSR2,
           "no signal");
  }

 private:
  int fd_;
};

// Every 5 ms; the time of a move may be left out, but it goes on.
class Timerfd : public Kind {
 public:
  explicit Timerfd(const std::string&)
      : fd_(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK)) {
    const itimerspec every{{0, 5'000'000}, {0, 5'000'000}};
    expect(::timerfd_settime(fd_, 0, &every, nullptr) == 0, "set a timer");
  }
  void round(Number n) override {
    std::uint64_t expired = 0;
    if (::read(fd_, &expired, sizeof expired) == sizeof expired) last_ = n;
    expect(n - last_ < 5000, "the timer stands still");
  }

 private:
  int fd_;
  Number last_ = 0;
};

// An inotify instance that is there all the time, and watches a directory from the moment at which
// somebody makes "watch" until he makes "enough": what it hears is in "heard", a line each. It
// makes files there itself, too.
class Inotify : public Kind {
 public:
  explicit Inotify(const std::string& dir)
      : dir_(dir), fd_(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC)) {
    expect(fd_ >= 0 && ::mkdir((dir + "/watched").c_str(), 0755) == 0, "inotify_init1");
    heard_ = open_new(dir + "/heard", O_APPEND);
  }
  void round(Number n) override {
    if (watch_ < 0 && exists("watch") && !exists("enough")) {
      watch_ = ::inotify_add_watch(fd_, (dir_ + "/watched").c_str(),
                                   IN_CREATE | IN_DELETE | IN_MOVE | IN_CLOSE_WRITE | IN_ATTRIB);
      expect(watch_ > 0, "inotify_add_watch");
      ::close(open_new(dir_ + "/watching"));
    } else if (watch_ > 0 && exists("enough")) {
      expect(::inotify_rm_watch(fd_, watch_) == 0, "inotify_rm_watch");
      watch_ = -1;
    } else if (watch_ > 0 && n % 20 == 0) {
      const std::string own = dir_ + "/watched/own-" + std::to_string(n);
      ::close(open_new(own));
      expect(::unlink(own.c_str()) == 0, "unlink");
    }
    hear();
  }

 private:
  bool exists(const char* name) const { return ::access((dir_ + "/" + name).c_str(), F_OK) == 0; }
  void hear() {
    alignas(inotify_event) char buffer[4096];
    const ssize_t got = ::read(fd_, buffer, sizeof buffer);
    expect(got > 0 || errno == EAGAIN, "read what happened");
    for (ssize_t at = 0; at < got;) {
      const auto* const event = reinterpret_cast<const inotify_event*>(buffer + at);
      at += static_cast<ssize_t>(sizeof *event + event->len);
      const std::string line = std::to_string(event->mask) + " " +
                               (event->len > 0 ? static_cast<const char*>(event->name) : "") + "\n";
      expect(::write(heard_, line.data(), line.size()) == static_cast<ssize_t>(line.size()),
             "tell what happened");
    }
  }

  const std::string dir_;
  int fd_, heard_ = -1, watch_ = -1;
};

class NestedEpoll : public Kind {
 public:
  explicit NestedEpoll(const std::string&)
      : event_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
        inner_(::epoll_create1(EPOLL_CLOEXEC)),
        outer_(::epoll_create1(EPOLL_CLOEXEC)) {
    add(inner_, event_, 1);
    add(outer_, inner_, 2);
  }
  void round(Number) override {
    epoll_event found{};
    expect(::epoll_wait(outer_, &found, 1, 0) == 0, "something is ready that can't be");
    expect(::eventfd_write(event_, 1) == 0, "write");
    expect(::epoll_wait(outer_, &found, 1, 1000) == 1 && found.data.u64 == 2, "the outer one");
    expect(::epoll_wait(inner_, &found, 1, 0) == 1 && found.data.u64 == 1, "the inner one");
    eventfd_t value = 0;
    expect(::eventfd_read(event_, &value) == 0 && value == 1, "read");
  }

 private:
  static void add(int poll, int fd, std::uint64_t data) {
    epoll_event wanted{};
    wanted.events = EPOLLIN;
    wanted.data.u64 = data;
    expect(::epoll_ctl(poll, EPOLL_CTL_ADD, fd, &wanted) == 0, "epoll_ctl");
  }
  int event_, inner_, outer_;
};

volatile sig_atomic_t timer_ticks = 0;
volatile sig_atomic_t off_the_stack = 0;
char* stack_begin = nullptr;
constexpr std::size_t kStackBytes = 64 << 10;

// A POSIX timer whose signal is handled on an alternate stack.
class TimerOnAltstack : public Kind {
 public:
  explicit TimerOnAltstack(const std::string&) {
    stack_begin = static_cast<char*>(std::malloc(kStackBytes));
    const stack_t stack{stack_begin, 0, kStackBytes};
    expect(::sigaltstack(&stack, nullptr) == 0, "sigaltstack");
    struct sigaction action {};
    action.sa_handler = [](int) {
      char here;
      if (&here < stack_begin || &here >= stack_begin + kStackBytes) off_the_stack = 1;
      timer_ticks = timer_ticks + 1;
    };
    action.sa_flags = SA_ONSTACK | SA_RESTART;
    expect(::sigaction(SIGRTMIN + 1, &action, nullptr) == 0, "sigaction");
    sigevent event{};
    event.sigev_notify = SIGEV_SIGNAL;
    event.sigev_signo = SIGRTMIN + 1;
    expect(::timer_create(CLOCK_MONOTONIC, &event, &timer_) == 0, "timer_create");
    const itimerspec every{{0, 5'000'000}, {0, 5'000'000}};
    expect(::timer_settime(timer_, 0, &every, nullptr) == 0, "timer_settime");
  }
  void round(Number n) override {
    expect(off_the_stack == 0, "the handler ran on another stack");
    stack_t now{};
    expect(::sigaltstack(nullptr, &now) == 0 && now.ss_sp == stack_begin, "another stack");
    if (timer_ticks != ticks_) last_ = n;
    ticks_ = timer_ticks;
    expect(n - last_ < 5000, "the timer stands still");
  }

 private:
  timer_t timer_{};
  sig_atomic_t ticks_ = 0;
  Number last_ = 0;
};

// Two of a kind wait in the queue from the beginning to the end, with what was sent along.
class PendingSignals : public Kind {
 public:
  explicit PendingSignals(const std::string&) {
    ::sigemptyset(&set_);
    ::sigaddset(&set_, SIGRTMIN + 3);
    ::pthread_sigmask(SIG_BLOCK, &set_, nullptr);
    for (const int value : {77, 78}) {
      sigval sent{};
      sent.sival_int = value;
      expect(::sigqueue(::getpid(), SIGRTMIN + 3, sent) == 0, "sigqueue");
    }
  }
  void round(Number) override {
    sigset_t pending;
    expect(::sigpending(&pending) == 0 && ::sigismember(&pending, SIGRTMIN + 3) == 1,
           "no signal is pending");
  }
  void end(Number) override {
    for (const int value : {77, 78}) {
      siginfo_t info{};
      const timespec now{};
      expect(::sigtimedwait(&set_, &info, &now) == SIGRTMIN + 3 && info.si_value.sival_int == value,
             "another signal, or none");
    }
    siginfo_t info{};
    const timespec now{};
    expect(::sigtimedwait(&set_, &info, &now) < 0, "a signal came twice");
  }

 private:
  sigset_t set_{};
};

// A thread ends without unlocking; the next one is told.
class RobustFutex : public Kind {
 public:
  explicit RobustFutex(const std::string&) {
    pthread_mutexattr_t robust;
    ::pthread_mutexattr_init(&robust);
    ::pthread_mutexattr_setrobust(&robust, PTHREAD_MUTEX_ROBUST);
    ::pthread_mutex_init(&mutex_, &robust);
    sigset_t all, before;  // it is not to run the handlers of others, from its first moment on
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_BLOCK, &all, &before);
    owner_ = std::thread([this] {
      ::pthread_mutex_lock(&mutex_);
      locked_ = true;
      while (!leave_) ::usleep(1000);
    });
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    while (!locked_) ::usleep(1000);
  }
  void round(Number n) override {
    if (n % 32 == 0) expect(::pthread_mutex_trylock(&mutex_) == EBUSY, "it is not locked");
  }
  void end(Number) override {
    leave_ = true;
    owner_.join();
    expect(::pthread_mutex_lock(&mutex_) == EOWNERDEAD, "nobody told that the owner is dead");
  }

 private:
  pthread_mutex_t mutex_;
  std::thread owner_;
  volatile bool locked_ = false, leave_ = false;
};

volatile sig_atomic_t lease_broken = 0, wrong_lease_fd = 0;

// The file is its own by a lease for as long as the first word in it is 1. Told that somebody opens
// it, it makes that 0, counts it in the second one, and lets go; then it takes the lease anew as
// soon as it can, and a while later the file is its own again.
class Leased : public Kind {
 public:
  explicit Leased(const std::string& dir) {
    fd_ = ::open((dir + "/leased").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    expect(fd_ >= 0, "make a file");
    leased_fd = fd_;
    struct sigaction action {};
    action.sa_flags = SA_SIGINFO;
    action.sa_sigaction = [](int, siginfo_t* info, void*) {
      lease_broken = 1;
      // One that its deputy has sent on is not of the kernel.
      if (info->si_code > 0 && info->si_fd != leased_fd) wrong_lease_fd = 1;
    };
    ::sigaction(SIGRTMIN + 3, &action, nullptr);
    expect(take(), "take a lease");
    write_down(1);
  }
  void round(Number) override {
    expect(wrong_lease_fd == 0, "told of another descriptor");
    if (lease_broken != 0) {
      lease_broken = 0;
      if (own_) ++words_[1];
      write_down(0);
      expect(::fcntl(fd_, F_SETLEASE, F_UNLCK) == 0, "let go");
      taken_ = 0;
      return;
    }
    const int has = ::fcntl(fd_, F_GETLEASE);
    // Between the two, somebody may have come: then it is being broken, and a signal on its way.
    if (own_) expect(has == F_WRLCK || await_signal(), "it lost the lease and was not told");
    if (own_ || (taken_ == 0 && !take())) return;
    if (taken_ == 0) taken_ = now_ms();
    if (now_ms() - taken_ > 500 && lease_broken == 0) write_down(1);
  }
  void end(Number) override { expect(words_[1] > 0 && ::close(fd_) == 0, "nobody came"); }

 private:
  static long now_ms() {
    timespec now{};
    ::clock_gettime(CLOCK_BOOTTIME, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1'000'000;
  }
  void write_down(Number own) {
    words_[0] = own;
    own_ = own != 0;
    expect(::pwrite(fd_, words_, sizeof words_, 0) == sizeof words_, "write");
  }
  // The kernel forgets the signal when it is let go.
  bool take() {
    return ::fcntl(fd_, F_SETSIG, SIGRTMIN + 3) == 0 && ::fcntl(fd_, F_SETLEASE, F_WRLCK) == 0;
  }
  static bool await_signal() {
    for (int i = 0; i < 5000 && lease_broken == 0; ++i) ::usleep(1000);
    return lease_broken != 0;
  }
  static int leased_fd;
  int fd_ = -1;
  bool own_ = false;
  long taken_ = 0;
  Number words_[2] = {0, 0};
};
int Leased::leased_fd = -1;

using Maker = std::function<std::unique_ptr<Kind>(const std::string& dir)>;
template <typename T>
Maker make() {
  return [](const std::string& dir) { return std::make_unique<T>(dir); };
}

const std::map<std::string, Maker>& makers() {
  static const std::map<std::string, Maker> all = {
      {"append", make<Append>()},
      {"offset", make<Offset>()},
      {"directory", make<Directory>()},
      {"deleted", [](auto& dir) { return std::make_unique<Deleted>(dir, false); }},
      {"tmpfile", [](auto& dir) { return std::make_unique<Deleted>(dir, true); }},
      {"mapping", [](auto& dir) { return std::make_unique<Mapped>(dir + "/mapped", false); }},
      {"deleted-mapping", [](auto& dir) { return std::make_unique<Mapped>(dir + "/lost", true); }},
      {"deleted-cwd", make<DeletedCwd>()},
      {"ended-cwd", make<EndedCwd>()},
      {"path-handle", [](auto& dir) { return std::make_unique<PathHandle>(dir + "/path", false); }},
      {"deleted-path", [](auto& dir) { return std::make_unique<PathHandle>(dir + "/gone", true); }},
      {"deleted-link", make<DeletedLink>()},
      {"proc-files", make<ProcFiles>()},
      {"machine-files", make<MachineFiles>()},
      {"namespaces", make<Namespaces>()},
      {"deleted-fifo", make<DeletedFifo>()},
      {"fifo", make<Fifo>()},
      {"fifo-pair", make<FifoPair>()},
      {"flock", make_flock},
      {"file-record-lock", make_record_lock<F_OFD_SETLK>},
      {"lease", make<Leased>()},
      {"memfd", make<Memfd>()},
      {"shared-memory", make<SharedMemory>()},
      {"netlink", make<Netlink>()},
      {"closed-terminal", make<ClosedTerminal>()},
      {"eventfd", make<Eventfd>()},
      {"signalfd", make<Signalfd>()},
      {"timerfd", make<Timerfd>()},
      {"inotify", make<Inotify>()},
      {"nested-epoll", make<NestedEpoll>()},
      {"timer-on-altstack", make<TimerOnAltstack>()},
      {"pending-signals", make<PendingSignals>()},
      {"robust-futex", make<RobustFutex>()},
  };
  return all;
}

struct Used {
  std::string name;
  std::unique_ptr<Kind> kind;
  std::string wrong{};
  Number rounds = 0;

  void try_to(const std::function<void()>& act) {
    if (!wrong.empty()) return;
    try {
      act();
    } catch (const std::exception& e) {
      wrong = e.what();
    }
  }
};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) {
    std::fprintf(stderr, "usage: fds_probe REPORT DIRECTORY KIND...\n");
    return 2;
  }
  std::FILE* report = std::fopen(argv[1], "we");
  if (report == nullptr) return 1;
  std::vector<Used> used;
  for (int i = 3; i < argc; ++i) {
    const auto maker = makers().find(argv[i]);
    if (maker == makers().end()) return 2;
    try {
      used.push_back({argv[i], maker->second(argv[2])});
    } catch (const std::exception& e) {
      std::fprintf(report, "%s: %s\nFAIL\n", argv[i], e.what());
      return 1;
    }
  }
  struct sigaction action {};
  action.sa_handler = [](int) { finish = 1; };  // and what waits is interrupted
  ::sigaction(SIGTERM, &action, nullptr);
  std::fprintf(report, "ready\n");
  std::fflush(report);
  while (finish == 0) {
    for (Used& u : used) {
      u.try_to([&] { u.kind->round(++u.rounds); });
    }
    ::usleep(200);
  }
  bool good = true;
  for (Used& u : used) {
    u.try_to([&] { u.kind->end(u.rounds); });
    good &= u.wrong.empty();
    std::fprintf(report, "%s: %s, %llu rounds\n", u.name.c_str(),
                 u.wrong.empty() ? "ok" : u.wrong.c_str(), u.rounds);
  }
  std::fprintf(report, "%s\n", good ? "PASS" : "FAIL");
  std::fclose(report);
  return good ? 0 : 1;
}
