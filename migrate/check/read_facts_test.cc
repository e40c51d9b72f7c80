#include "migrate/check/read_facts.h"

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <thread>

#include "migrate/check/check.h"
#include "ssid/base/unique_fd.h"

namespace ssi::check {
namespace {

// A child of ours that has prepared itself as told and waits; without any descriptor but its own.
class Subject {
 public:
  explicit Subject(const std::function<void()>& prepare) {
    int ready[2];
    REQUIRE(pipe2(ready, O_CLOEXEC) == 0);
    pid_ = fork();
    if (pid_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      dup2(ready[1], 1000);
      close_range(0, 999, 0);
      close_range(1001, ~0U, 0);
      prepare();
      close(1000);
      for (;;) pause();
    }
    close(ready[1]);
    char byte;
    (void)!read(ready[0], &byte, 1);  // that, or end of file
    close(ready[0]);
  }
  ~Subject() { end(); }
  Subject(const Subject&) = delete;
  Subject& operator=(const Subject&) = delete;
  void end() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }
  pid_t pid() const { return pid_; }
  ProcessFacts facts() const {
    auto result = read_facts(pid_);
    REQUIRE_MESSAGE(result.ok(), (result.ok() ? "" : result.error().message()));
    return *result;
  }
  std::string reason() const {
    const auto refusal = check(facts(), {});
    return refusal ? refusal->reason() : "";
  }

 private:
  pid_t pid_ = -1;
};

FdKind only_kind(const std::function<void()>& open_it) {
  const Subject subject(open_it);
  const auto facts = subject.facts();
  REQUIRE(!facts.fds.empty());
  return facts.fds.back().kind;
}

std::string temporary_file() {
  std::string path = std::filesystem::temp_directory_path() / "ssid-check-XXXXXX";
  close(mkstemp(path.data()));
  return path;
}

}  // namespace

TEST_CASE("an idle process: facts are right and it can be moved") {
  const Subject subject([] { (void)!chdir("/"); });
  const auto facts = subject.facts();
  CHECK(facts.name.pid == subject.pid());
  CHECK(facts.name.comm == "migrate_check_t");
  CHECK(facts.parent == getpid());
  CHECK(facts.exe == std::filesystem::read_symlink("/proc/self/exe"));
  CHECK(facts.cwd == "/");
  CHECK(facts.elf_bits == 64);
  CHECK(facts.threads == 1);
  CHECK(facts.rss_kb > 0);
  CHECK(facts.start_time_ticks > 0);
  CHECK(facts.uid == getuid());
  CHECK(facts.other_namespaces.empty());
  CHECK(!facts.other_root);
  CHECK(facts.fds.empty());
  CHECK(subject.reason() == "");
}

TEST_CASE("a process that holds a lock stays: its deputy could not keep it") {
  const std::string path = temporary_file();
  const auto open_file = [&path] { return open(path.c_str(), O_RDWR); };
  const std::string why = "fd 0 is a file (" + path + ") with a lock, which can't be moved yet";
  CHECK(Subject([&] { flock(open_file(), LOCK_EX); }).reason() == why);
  CHECK(Subject([&] {
          struct flock lock {};
          lock.l_type = F_WRLCK;
          fcntl(open_file(), F_SETLK, &lock);
        }).reason() == why);
  CHECK(Subject([&] { open_file(); }).reason() == "");
  std::filesystem::remove(path);
}

TEST_CASE("every kind of descriptor is known for what it is") {
  CHECK(only_kind([] { open("/etc/passwd", O_RDONLY); }) == FdKind::kRegular);
  CHECK(only_kind([] { open("/etc", O_RDONLY); }) == FdKind::kDirectory);
  CHECK(only_kind([] { open("/etc", O_PATH); }) == FdKind::kPathOnly);
  CHECK(only_kind([] { open("/proc/stat", O_RDONLY); }) == FdKind::kKernelFile);
  CHECK(only_kind([] { open("/tmp", O_TMPFILE | O_RDWR, 0600); }) == FdKind::kDeletedFile);
  CHECK(only_kind([] { open("/dev/urandom", O_RDONLY); }) == FdKind::kNullLike);
  CHECK(only_kind([] { open("/dev/null", O_RDONLY); }) == FdKind::kNullLike);
  CHECK(only_kind([] { open("/dev/ptmx", O_RDWR | O_NOCTTY); }) == FdKind::kPtyMaster);
  CHECK(only_kind([] {
          const int master = open("/dev/ptmx", O_RDWR | O_NOCTTY);
          int unlocked = 0;
          ::ioctl(master, TIOCSPTLCK, &unlocked);
          ::ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY);
        }) == FdKind::kTty);
  CHECK(only_kind([] {
          int ends[2];
          (void)!pipe(ends);
        }) == FdKind::kPipe);
  CHECK(only_kind([] { eventfd(0, 0); }) == FdKind::kEventfd);
  CHECK(only_kind([] { timerfd_create(CLOCK_MONOTONIC, 0); }) == FdKind::kTimerfd);
  CHECK(only_kind([] { epoll_create1(0); }) == FdKind::kEpoll);
  CHECK(only_kind([] { inotify_init(); }) == FdKind::kInotify);
  CHECK(only_kind([] { memfd_create("x", 0); }) == FdKind::kMemfd);
  CHECK(only_kind([] { syscall(SYS_pidfd_open, getpid(), 0); }) == FdKind::kPidfd);
  CHECK(only_kind([] { socket(AF_NETLINK, SOCK_RAW, 0); }) == FdKind::kNetlinkSocket);
  CHECK(only_kind([] { socket(AF_INET, SOCK_STREAM, 0); }) == FdKind::kInetSocket);
  CHECK(only_kind([] { socket(AF_INET6, SOCK_DGRAM, 0); }) == FdKind::kInetSocket);
  CHECK(only_kind([] { socket(AF_UNIX, SOCK_STREAM, 0); }) == FdKind::kUnixSocket);
  CHECK(only_kind([] {
          sigset_t set;
          sigemptyset(&set);
          signalfd(-1, &set, 0);
        }) == FdKind::kSignalfd);
  CHECK(only_kind([] {
          const std::string path = temporary_file();
          unlink(path.c_str());
          mkfifo(path.c_str(), 0600);
          open(path.c_str(), O_RDWR);
          unlink(path.c_str());
        }) == FdKind::kFifo);
}

TEST_CASE("/dev/tty is the terminal that the process has under its own name, too") {
  const auto with_terminal = [](bool keep) {
    return [keep] {
      ::setsid();
      const int master = open("/dev/ptmx", O_RDWR | O_NOCTTY);
      int unlocked = 0;
      ::ioctl(master, TIOCSPTLCK, &unlocked);
      const int slave = ::ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY);
      ::ioctl(slave, TIOCSCTTY, 0);
      open("/dev/tty", O_RDWR);
      if (!keep) ::close(slave);
    };
  };
  const Subject both(with_terminal(true));
  const auto facts = both.facts();
  REQUIRE(facts.fds.size() >= 2);
  const FdFact& by_name = facts.fds.back();
  CHECK(by_name.kind == FdKind::kControllingTty);
  CHECK(by_name.key.starts_with("tty[500:"));
  CHECK(by_name.same_as == facts.fds[facts.fds.size() - 2].key);

  const Subject one(with_terminal(false));
  const auto alone = one.facts();
  CHECK(alone.fds.back().same_as.empty());
  const auto refusal = check(alone, {});
  REQUIRE(refusal);
  CHECK(std::ranges::any_of(refusal->reasons, [](const std::string& reason) {
    return reason.ends_with(
        "is its terminal by the name of /dev/tty (/dev/tty) and by no other name");
  }));
}

TEST_CASE("a terminal that was closed is none") {
  const Subject subject([] {
    const int master = open("/dev/ptmx", O_RDWR | O_NOCTTY);
    int unlocked = 0;
    ::ioctl(master, TIOCSPTLCK, &unlocked);
    ::ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY);
    ::close(master);
  });
  CHECK(subject.facts().fds.back().kind == FdKind::kClosedTty);
  CHECK(subject.reason().find("is a terminal that was closed") != std::string::npos);
}

TEST_CASE("a console that does not control the process is a device") {
  const std::string path = temporary_file();
  unlink(path.c_str());
  if (mknod(path.c_str(), S_IFCHR | 0600, makedev(5, 1)) != 0) return;  // only root may
  const UniqueFd console(open(path.c_str(), O_RDONLY | O_NOCTTY | O_NONBLOCK));
  if (console) {  // some machines have none
    CHECK(only_kind([&] { open(path.c_str(), O_RDONLY | O_NOCTTY | O_NONBLOCK); }) ==
          FdKind::kDevice);
  }
  unlink(path.c_str());
}

TEST_CASE("a file that lost the name it was opened by is a deleted one, whatever others it has") {
  const std::string path = temporary_file(), other = path + "-other";
  REQUIRE(link(path.c_str(), other.c_str()) == 0);
  const auto open_and_unlink = [&] {
    open(path.c_str(), O_RDWR);
    unlink(path.c_str());
  };
  CHECK(only_kind(open_and_unlink) == FdKind::kDeletedFile);
  const std::string like = other + " (deleted)";
  REQUIRE(rename(other.c_str(), like.c_str()) == 0);
  CHECK(only_kind([&] { open(like.c_str(), O_RDWR); }) == FdKind::kRegular);
  unlink(like.c_str());
}

TEST_CASE("a pending SIGTRAP stays: criu's code in the process would eat it") {
  const auto block_and_send = [](const std::function<void()>& send) {
    sigset_t traps;
    sigemptyset(&traps);
    sigaddset(&traps, SIGTRAP);
    sigprocmask(SIG_BLOCK, &traps, nullptr);
    send();
  };
  const std::string why = "a SIGTRAP is pending for it, which would be lost";
  CHECK(Subject([&] { block_and_send([] { kill(getpid(), SIGTRAP); }); }).reason() == why);
  CHECK(Subject([&] { block_and_send([] { raise(SIGTRAP); }); }).reason() == why);
  CHECK(Subject([&] { block_and_send([] {}); }).reason() == "");
}

TEST_CASE("a process whose children are to live elsewhere stays") {
  for (const auto& [flag, kind] : {std::pair{CLONE_NEWPID, "pid"}, {CLONE_NEWTIME, "time"}}) {
    const Subject subject([flag = flag] { (void)!unshare(flag); });
    if (geteuid() != 0) continue;  // only root may
    CHECK(subject.reason() ==
          std::string("its children are to live in other namespaces than it does (") + kind + ")");
  }
}

TEST_CASE("io_uring is seen where the kernel has it") {
  const Subject subject([] {
    io_uring_params parameters{};
    syscall(SYS_io_uring_setup, 4, &parameters);
  });
  const auto facts = subject.facts();
  if (facts.fds.empty()) return;  // switched off here
  CHECK(facts.fds[0].kind == FdKind::kIoUring);
  CHECK(subject.reason() == "fd 0 is an io_uring");
}

TEST_CASE("network connections and sockets are named") {
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  REQUIRE(bind(listener, reinterpret_cast<sockaddr*>(&address), size) == 0);
  REQUIRE(listen(listener, 8) == 0);
  REQUIRE(getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size) == 0);
  const Subject subject([&] {
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    (void)!connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address);
  });
  const std::string reason = subject.reason();
  CHECK(reason.starts_with("fd 0 is an open network connection (tcp 127.0.0.1:"));
  CHECK(reason.ends_with(" -> 127.0.0.1:" + std::to_string(ntohs(address.sin_port)) + ")"));
  close(listener);
  const Subject server([] { listen(socket(AF_INET, SOCK_STREAM, 0), 1); });
  CHECK(server.reason().starts_with("fd 0 is a listening network socket (tcp 0.0.0.0:"));
  const Subject local([] {
    int ends[2];
    socketpair(AF_UNIX, SOCK_STREAM, 0, ends);
  });
  CHECK(local.reason() == "fd 0 is a unix socket (unnamed)");
}

TEST_CASE("pipes: whether another process reads it, too") {
  const Subject subject([] {
    int ends[2];
    (void)!pipe(ends);
  });
  const std::string reading_end = "/proc/" + std::to_string(subject.pid()) + "/fd/0";
  CHECK_FALSE(subject.facts().fds[0].read_by_others);
  const Subject writer([&] { open(reading_end.c_str(), O_WRONLY); });
  CHECK_FALSE(subject.facts().fds[0].read_by_others);
  const Subject reader([&] { open(reading_end.c_str(), O_RDONLY); });
  CHECK(subject.facts().fds[0].read_by_others);
}

TEST_CASE("pipes: whether the other end is inside, and who else has it") {
  int ends[2];
  REQUIRE(pipe2(ends, 0) == 0);
  const Subject subject([&] {
    int own[2];
    (void)!pipe(own);
  });
  auto facts = subject.facts();
  REQUIRE(facts.fds.size() == 2);
  CHECK(facts.fds[0].other_end_inside);
  CHECK(facts.fds[0].holders.empty());

  // The parent holds the other end.
  const std::string path = "/proc/" + std::to_string(getpid()) + "/fd/" + std::to_string(ends[1]);
  const Subject reader([&] { open(path.c_str(), O_WRONLY); });
  facts = reader.facts();
  REQUIRE(facts.fds.size() == 1);
  CHECK(facts.fds[0].kind == FdKind::kPipe);
  CHECK(!facts.fds[0].other_end_inside);
  REQUIRE(facts.fds[0].holders.size() == 1);
  CHECK(facts.fds[0].holders[0].pid == getpid());
  CHECK(reader.reason() == "");
  close(ends[0]);
  close(ends[1]);
}

TEST_CASE("shared memory: with whom") {
  SUBCASE("anonymous, shared with the parent") {
    void* memory = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    const Subject subject([] {});
    CHECK(subject.reason() == "it shares memory with process " + std::to_string(getpid()) +
                                  " (migrate_check_t): anonymous shared memory");
    munmap(memory, 4096);
    CHECK(subject.reason() == "");
  }
  SUBCASE("System V") {
    const int id = shmget(IPC_PRIVATE, 4096, 0600);
    const Subject subject([&] { shmat(id, nullptr, 0); });
    CHECK(subject.reason() == "");
    void* memory = shmat(id, nullptr, 0);
    shmctl(id, IPC_RMID, nullptr);
    CHECK(subject.reason().ends_with("System V shared memory"));
    shmdt(memory);
  }
  SUBCASE("a file mapped by both") {
    const std::string path = temporary_file();
    UniqueFd fd(open(path.c_str(), O_RDWR | O_CLOEXEC));
    (void)!ftruncate(*fd, 4096);
    void* memory = mmap(nullptr, 4096, PROT_READ, MAP_SHARED, *fd, 0);
    const Subject subject([&] {
      const int own = open(path.c_str(), O_RDWR);
      mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, own, 0);
    });
    CHECK(subject.reason().ends_with("(migrate_check_t): " + path));
    munmap(memory, 4096);
    CHECK(subject.reason() == "");
    unlink(path.c_str());
  }
}

TEST_CASE("children, threads, a waiting vfork, a debugger, a filter, a namespace, a chroot") {
  const Subject parent([] {
    if (fork() == 0) {
      close(1000);
      for (;;) pause();
    }
  });
  CHECK(parent.reason().starts_with("it has 1 child process and trees can't be moved yet: "));
  CHECK(!parent.facts().vfork_child);
  kill(parent.facts().children[0].pid, SIGKILL);

  const Subject vforked([] {
    // The other thread waits in vfork for a child that never execs.
    std::thread([] {
      if (vfork() == 0) {
        close(1000);
        for (;;) pause();
      }
    }).detach();
    for (;;) {
      const auto tasks = std::filesystem::directory_iterator("/proc/self/task");
      if (std::distance(begin(tasks), {}) != 2) continue;
      const auto self = read_facts(getpid());
      if (self && self->vfork_child) break;
    }
  });
  CHECK(vforked.facts().threads == 2);
  CHECK(vforked.reason().ends_with("which still runs in its memory (vfork)"));
  kill(vforked.facts().children[0].pid, SIGKILL);

  const Subject traced([] {});
  REQUIRE(ptrace(PTRACE_SEIZE, traced.pid(), nullptr, nullptr) == 0);
  CHECK(traced.reason().starts_with("it is traced by a debugger, process "));

  const Subject filtered([] {
    prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT);
    syscall(SYS_write, 1000, "", 1);
    for (;;) asm volatile("pause");
  });
  CHECK(filtered.reason() == "it runs under a system call filter (seccomp)");

  const Subject spaced([] { unshare(CLONE_NEWNET | CLONE_NEWUTS); });
  CHECK(spaced.reason() == "it runs in a container: its namespaces differ from ssid's (net, uts)");
  CHECK(!check(spaced.facts(), {.is_guest = true}));

  const Subject jailed([] {
    (void)!chroot("/usr");
    (void)!chdir("/");
  });
  CHECK(jailed.reason() == "it has a root directory of its own (chroot)");
}

TEST_CASE("limits") {
  const Subject subject([] {
    rlimit stack{};
    getrlimit(RLIMIT_STACK, &stack);
    stack.rlim_cur = 64 * 1024;
    setrlimit(RLIMIT_STACK, &stack);
  });
  CHECK(subject.facts().stack_limit_kb == 64);
  CHECK(subject.facts().address_space_limit_kb == kNoLimit);
  CHECK(subject.reason().starts_with("its stack limit (64 kB)"));
}

TEST_CASE("replaced program, deleted directory, mapped device") {
  const std::string copy = temporary_file();
  std::filesystem::copy_file("/bin/sleep", copy, std::filesystem::copy_options::overwrite_existing);
  std::filesystem::permissions(copy, std::filesystem::perms(0755));
  const Subject subject([&] {
    fcntl(1000, F_SETFD, FD_CLOEXEC);
    execl(copy.c_str(), "sleep", "1000", nullptr);
  });
  CHECK(subject.reason() == "");
  unlink(copy.c_str());
  CHECK(subject.reason() == "its program file " + copy + " was deleted or replaced");

  const Subject lost([] {
    char dir[] = "/tmp/ssid-check-XXXXXX";
    (void)!chdir(mkdtemp(dir));
    rmdir(dir);
  });
  CHECK(lost.reason().ends_with("was deleted"));
}

TEST_CASE("zombies, dead main threads, kernel threads and nobody") {
  const pid_t zombie = fork();
  if (zombie == 0) _exit(0);
  siginfo_t info;
  waitid(P_PID, static_cast<id_t>(zombie), &info, WEXITED | WNOWAIT);
  auto facts = read_facts(zombie);
  REQUIRE(facts.ok());
  CHECK(check(*facts, {})->reason() == "it has ended already and waits for its parent (zombie)");
  waitpid(zombie, nullptr, 0);
  facts = read_facts(zombie);
  REQUIRE(!facts.ok());
  CHECK(facts.error().code() == ErrorCode::kGone);

  const Subject headless([] {
    std::thread([] {
      while (true) {
        const auto self = read_facts(getpid());
        if (self && self->state == 'Z') break;
      }
      close(1000);
      for (;;) pause();
    }).detach();
    syscall(SYS_exit, 0);
  });
  CHECK(headless.reason() == "its main thread has ended and only others still run");

  facts = read_facts(2);
  if (facts && facts->name.comm == "kthreadd") {
    CHECK(check(*facts, {})->reason() == "it is a thread of the kernel");
  }
  CHECK(read_facts(999999999).error().code() == ErrorCode::kGone);
}

TEST_CASE("processes that end while they are looked at: facts or gone, nothing else") {
  for (int round = 0; round < 300; ++round) {
    const pid_t pid = fork();
    if (pid == 0) {
      for (int i = 0; i < round * 1000; ++i) asm volatile("");
      _exit(0);
    }
    const auto facts = read_facts(pid);
    if (!facts) {
      CHECK_MESSAGE(facts.error().code() == ErrorCode::kGone, facts.error().message());
    }
    waitpid(pid, nullptr, 0);
  }
  for (pid_t pid = 1; pid < 300; ++pid) {
    const auto facts = read_facts(pid);
    if (!facts) {
      CHECK_MESSAGE(facts.error().code() != ErrorCode::kFailed, facts.error().message());
    }
  }
}

}  // namespace ssi::check
