#include "migrate/check/fd_facts.h"

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <map>

#include "migrate/check/check.h"
#include "migrate/check/test_subject.h"
#include "ssid/base/unique_fd.h"
#include "ssid/wire/unix_socket.h"

namespace ssi::check {
namespace {

FdKind only_kind(const std::function<void()>& open_it) {
  const Subject subject(open_it);
  const auto facts = subject.facts();
  REQUIRE(!facts.fds.empty());
  return facts.fds.back().kind;
}

void send_descriptor(int to, int fd) {
  const std::byte byte{'x'};
  (void)unix_send(to, {&byte, 1}, {&fd, 1}, 0).ok();
}

}  // namespace

TEST_CASE("a lock of the open file moves, one of the process if its deputy can keep it") {
  const std::string path = temporary_file();
  const auto open_file = [&path] { return open(path.c_str(), O_RDWR); };
  const std::string what = "fd 0 is a file (" + path + ") with a record lock for writing (fcntl), ";
  const auto lock_it = [&] {
    struct flock lock {};
    lock.l_type = F_WRLCK;
    fcntl(open_file(), F_SETLK, &lock);
  };
  const Subject holder([&] { dup(flock(open_file(), LOCK_EX)); });
  CHECK(holder.reason() == "");
  REQUIRE(holder.facts().fds.size() == 2);
  CHECK(holder.facts().fds[0].locks.flock == LOCK_EX);
  const auto fds = holder.facts().fds;
  CHECK(fds[1].open_file.number == 0);
  CHECK(fds[1].open_file == fds[0].open_file);
  CHECK(Subject(lock_it).reason() == "");
  Subject filtered([&] {
    lock_it();
    sock_filter all{BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW};
    const sock_fprog program{1, &all};
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
  });
  CHECK(filtered.reason() ==
        what + "which its deputy can't keep under a system call filter (seccomp)");
  filtered.end();
  Subject shared([&] {
    lock_it();
    alignas(16) static char stack[4096];
    static pid_t parent = getpid();
    const auto wait = [](void*) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      return getppid() == parent ? pause() : 0;  // which may have ended before that
    };
    clone(wait, stack + sizeof stack, CLONE_FILES | SIGCHLD, nullptr);
  });
  const auto shared_fds = shared.facts().fds;
  REQUIRE(!shared_fds.empty());
  CHECK(shared_fds[0].why_not.ends_with(", which shares its descriptors"));
  shared.end();
  CHECK(Subject([&] { open_file(); }).reason() == "");
  const auto share = [&] {
    struct flock lock {};
    lock.l_type = F_RDLCK;
    const int fd = open_file();
    fcntl(fd, F_SETLKW, &lock);  // who shared the other one's descriptors may not have ended yet
    return fd;
  };
  CHECK(Subject(share).reason() == "");
  const std::string mapped_too =
      Subject([&] { mmap(nullptr, 1, PROT_READ, MAP_PRIVATE, share(), 0); }).reason();
  CAPTURE(mapped_too);
  CHECK(
      mapped_too.ends_with(" with a record lock (fcntl) and mapped, too: the lock would be lost"));
  std::filesystem::remove(path);
}

TEST_CASE("a file of /proc moves if it tells of the process or of the machine") {
  const auto stays = [](const std::function<void()>& open_it) {
    const Subject subject(open_it);
    const auto facts = subject.facts();
    REQUIRE(facts.fds.size() == 1);
    CHECK(facts.fds[0].kind == FdKind::kKernelFile);
    return subject.reason();
  };
  const std::string ours = "/proc/" + std::to_string(getpid()) + "/status";
  CHECK(stays([] { open("/proc/self/status", O_RDONLY); }) == "");
  CHECK(stays([] { open("/proc/self/fd", O_RDONLY | O_DIRECTORY); }) == "");
  CHECK(stays([] { open("/proc/self", O_RDONLY | O_DIRECTORY); }) == "");
  CHECK(stays([&] { open(ours.c_str(), O_RDONLY); }) ==
        "fd 0 is a file of this machine's kernel (" + ours + ") about process " +
            std::to_string(getpid()) + ", which stays");
  CHECK(stays([] {
          char byte = 0;
          (void)!read(open("/proc/self/status", O_RDONLY), &byte, 1);
        }).ends_with("/status) that it has begun to read"));
  CHECK(stays([] { open("/proc/self/mounts", O_RDONLY); }).ends_with("/mounts)"));
  const auto read_all = [](const char* name, std::size_t at_most) {
    char byte = 0;
    const int fd = open(name, O_RDONLY);
    while (at_most-- > 0 && read(fd, &byte, 1) == 1) continue;
  };
  for (const char* name : {"/proc/stat", "/proc/self/status", "/proc/sys/kernel/osrelease"}) {
    CAPTURE(name);
    CHECK(stays([&] { open(name, O_RDONLY); }) == "");
    CHECK(stays([&] { read_all(name, 3); }).ends_with(" that it has begun to read"));
    CHECK(stays([&] { read_all(name, 1'000'000); }) == "");
  }
  CHECK(stays([] { open("/sys/kernel/mm/transparent_hugepage/enabled", O_RDONLY); }) ==
        "fd 0 is a file of this machine's kernel (/sys/kernel/mm/transparent_hugepage/enabled)");
  CHECK(stays([] {
          const pid_t child = fork();
          if (child == 0) _exit(0);
          const std::string path = "/proc/" + std::to_string(child) + "/status";
          open(path.c_str(), O_RDONLY);
          waitpid(child, nullptr, 0);
        }).starts_with("fd 0 is a file of this machine's kernel (/proc/"));
}

TEST_CASE("an inotify instance moves if others find what it watches by a name") {
  CHECK(Subject([] { inotify_init(); }).reason() == "");
  CHECK(Subject([] { inotify_add_watch(inotify_init(), "/tmp", IN_CREATE); }).reason() == "");
  CHECK(Subject([] {
          char name[] = "/tmp/ssid-fd-facts-XXXXXX";
          (void)mkdtemp(name);
          inotify_add_watch(inotify_init(), name, IN_CREATE);
          open(name, O_RDONLY | O_DIRECTORY);  // so that the watch does not end
          rmdir(name);
        })
            .reason()
            .find(" with a watch on a ") != std::string::npos);  // overlays find it no more
}

TEST_CASE("a handle on a namespace moves if it is the process's own") {
  CHECK(Subject([] { open("/proc/self/ns/uts", O_RDONLY); }).reason() == "");
  const Subject other([] {
    open("/proc/self/ns/uts", O_RDONLY);
    unshare(CLONE_NEWUTS);
  });
  const auto facts = other.facts();
  REQUIRE(facts.fds.size() == 1);
  CHECK(facts.fds[0].kind == FdKind::kNamespace);
  const bool in_another = !facts.other_namespaces.empty();  // which takes a right
  CHECK(facts.fds[0].why_not == (in_another ? "that is not its own" : ""));
}

TEST_CASE("a path handle of a link is one of the link, with its name or without") {
  const std::string path = temporary_file();
  const auto open_link = [&path](bool deleted) {
    std::filesystem::remove(path);
    std::filesystem::create_symlink("/nowhere", path);
    open(path.c_str(), O_PATH | O_NOFOLLOW);
    if (deleted) std::filesystem::remove(path);
  };
  for (const bool deleted : {false, true}) {
    const Subject subject([&] { open_link(deleted); });
    const auto facts = subject.facts();
    REQUIRE(facts.fds.size() == 1);
    CHECK(facts.fds[0].kind == FdKind::kPathOnly);
    CHECK(facts.fds[0].nameless == deleted);
    CHECK(subject.reason() == "");
  }
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
    const int master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);  // stays with us
    int unlocked = 0;
    ::ioctl(master, TIOCSPTLCK, &unlocked);
    char name[64] = {};
    ::ptsname_r(master, name, sizeof name);
    return [keep, name = std::string(name)] {
      ::setsid();
      const int slave = open(name.c_str(), O_RDWR);
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

TEST_CASE("a terminal that was closed is one that nobody else can use") {
  const Subject subject([] {
    const int master = open("/dev/ptmx", O_RDWR | O_NOCTTY);
    int unlocked = 0;
    ::ioctl(master, TIOCSPTLCK, &unlocked);
    ::ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY);
    ::close(master);
  });
  auto facts = subject.facts();
  CHECK(facts.fds.back().kind == FdKind::kClosedTty);
  CHECK(facts.fds.back().target.ends_with(" (deleted)"));
  CHECK(subject.reason() == "");
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
  const auto facts = read_facts(subject.pid());
  REQUIRE(facts);
  REQUIRE(facts->fds[0].socket);
  CHECK(facts->fds[0].socket->remote == net::Endpoint{"127.0.0.1", ntohs(address.sin_port)});
  const std::string words = describe(facts->fds[0]);
  CHECK(words.starts_with("fd 0 is an open network connection (tcp 127.0.0.1:"));
  CHECK(words.ends_with(" -> 127.0.0.1:" + std::to_string(ntohs(address.sin_port)) + ")"));
  close(listener);
  const Subject server([] {
    listen(socket(AF_INET6, SOCK_STREAM, 0), 1);
    const int only = socket(AF_INET6, SOCK_STREAM, 0), on = 1;
    setsockopt(only, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    listen(only, 1);
  });
  CHECK(server.reason().empty());
  const auto both = read_facts(server.pid());
  REQUIRE(both);
  REQUIRE(both->fds.size() == 2);
  CHECK(describe(both->fds[0]).starts_with("fd 0 is a listening network socket (tcp6 [::]:"));
  CHECK(both->fds[0].socket->local.address == "*");
  CHECK(both->fds[1].socket->local.address == "::");
  const Subject local([] {
    int ends[2];
    socketpair(AF_UNIX, SOCK_STREAM, 0, ends);
  });
  CHECK(local.reason().empty());
}

TEST_CASE("a datagram that waits, whose sender has a name") {
  const auto prepare = [](bool named, int sent) {
    return [named, sent] {
      int ends[2];
      socketpair(AF_UNIX, SOCK_DGRAM, 0, ends);
      for (int i = 0; i < sent; ++i) {
        if (named && i == 2) {  // the two before it come from nobody
          const sa_family_t family = AF_UNIX;
          bind(ends[1], reinterpret_cast<const sockaddr*>(&family), sizeof family);
        }
        (void)!write(ends[1], "word", 4);
      }
    };
  };
  CHECK(Subject(prepare(true, 2)).reason().empty());
  CHECK(Subject(prepare(false, 3)).reason().empty());
  CHECK(Subject(prepare(true, 3))
            .reason()
            .ends_with("with an unread datagram whose sender's name would be forgotten"));
}

TEST_CASE("of datagrams that were connected by an address the kernel says nobody") {
  CHECK(Subject([] {
          sockaddr_un name{.sun_family = AF_UNIX, .sun_path = {}};
          const int server = socket(AF_UNIX, SOCK_DGRAM, 0),
                    client = socket(AF_UNIX, SOCK_DGRAM, 0);
          bind(server, reinterpret_cast<sockaddr*>(&name), sizeof name.sun_family);
          socklen_t size = sizeof name;
          getsockname(server, reinterpret_cast<sockaddr*>(&name), &size);
          connect(client, reinterpret_cast<sockaddr*>(&name), size);
        })
            .reason()
            .find("another user") == std::string::npos);
}

TEST_CASE("who had connected a pair is told by the kernel, and criu is root") {
  const auto prepare = [](uid_t by) {
    return [by] {
      int ends[2];
      (void)!setresuid(by, by, 0);
      socketpair(AF_UNIX, SOCK_STREAM, 0, ends);
      (void)!setresuid(0, 0, 0);
    };
  };
  CHECK(Subject(prepare(0)).reason().empty());
  CHECK(Subject([] {
          int ends[2];
          (void)!setresuid(1234, 1234, 0);
          socketpair(AF_UNIX, SOCK_STREAM, 0, ends);
          (void)!setresuid(0, 1234, 0);  // as one that others may run as its user
        })
            .reason()
            .empty());
  CHECK(Subject(prepare(1234)).reason().ends_with("connected by another user than the process is"));
}

TEST_CASE("a unix socket whose other end is ours") {
  int ends[2];
  REQUIRE(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, ends) == 0);
  const Subject subject([&] {
    const int parent = static_cast<int>(syscall(SYS_pidfd_open, getppid(), 0));
    const int end = static_cast<int>(syscall(SYS_pidfd_getfd, parent, ends[0], 0));
    dup2(end, parent);
    close(end);
  });
  REQUIRE(subject.facts().fds.size() == 1);
  CHECK(subject.facts().fds[0].peers.size() == 1);
  CHECK(subject.reason().starts_with("fd 0 is a unix socket (unnamed) connected with "));
  close(ends[0]);
  close(ends[1]);
}

TEST_CASE("a unix socket whose file was renamed") {
  char dir[] = "/tmp/ssid-fds-XXXXXX";
  REQUIRE(mkdtemp(dir) != nullptr);
  const std::string at = std::string(dir) + "/s", link = std::string(dir) + "/link";
  REQUIRE(symlink(dir, link.c_str()) == 0);
  const auto subject = [&](const std::string& bound, const std::string& now) {
    return Subject([=] {
      sockaddr_un name{.sun_family = AF_UNIX, .sun_path = {}};
      bound.copy(name.sun_path, sizeof name.sun_path - 1);
      const int listener = socket(AF_UNIX, SOCK_STREAM, 0);
      (void)!chdir(dir);
      bind(listener, reinterpret_cast<sockaddr*>(&name), sizeof name);
      listen(listener, 1);
      if (bound != now) rename(bound.c_str(), now.c_str());
      (void)!chdir("/");
    });
  };
  const auto told = [](const Subject& of) { return of.facts().fds.at(0).renamed_to; };
  const auto gone = [&] { REQUIRE(unlink(at.c_str()) == 0); };
  CHECK(told(subject(at, at)).empty());
  gone();
  CHECK(told(subject(link + "/s", link + "/s")).empty());
  gone();
  CHECK(told(subject("./s", "./s")).empty());
  gone();
  CHECK(told(subject(at + ".tmp", at)) == at);
  gone();
  CHECK(subject(at + ".tmp", at).reason().empty());
  gone();
  const std::string relative = ", and whose name is relative";
  CHECK(subject("s.tmp", at).reason().ends_with("whose file was renamed to " + at + relative));
  gone();
  const std::string longer = std::string(dir) + "/" + std::string(100, 's');
  CHECK(subject(at, longer).reason().ends_with("a name that is too long to be bound again"));
  REQUIRE(unlink(longer.c_str()) == 0);
  REQUIRE(unlink(link.c_str()) == 0);
  REQUIRE(rmdir(dir) == 0);
}

TEST_CASE("descriptors in flight are the process's, too, and so are those in flight to them") {
  const Subject subject([] {
    int outer[2], inner[2], file[2];
    socketpair(AF_UNIX, SOCK_STREAM, 0, outer);
    socketpair(AF_UNIX, SOCK_STREAM, 0, inner);
    (void)!pipe(file);
    send_descriptor(inner[0], file[0]);
    send_descriptor(outer[0], inner[1]);
    close(inner[1]);
    close(file[0]);
  });
  const auto facts = subject.facts();
  std::map<FdKind, int> in_flight;
  for (const auto& fd : facts.fds) in_flight[fd.kind] += fd.in_flight ? 1 : 0;
  CHECK(in_flight[FdKind::kUnixSocket] == 1);
  CHECK(in_flight[FdKind::kPipe] == 1);
  CHECK(subject.reason().empty());  // the pipe's other end is open
}

TEST_CASE("an epoll in flight moves if it watches what the process has under these numbers") {
  const auto reason = [](bool close_it) {
    return Subject([close_it] {
             int ends[2], watched[2];
             socketpair(AF_UNIX, SOCK_STREAM, 0, ends);
             socketpair(AF_UNIX, SOCK_STREAM, 0, watched);
             const int epoll = epoll_create1(0);
             epoll_event wanted{};
             epoll_ctl(epoll, EPOLL_CTL_ADD, watched[0], &wanted);
             const int elsewhere = dup(watched[0]);
             send_descriptor(ends[0], epoll);
             close(epoll);
             if (close_it) close(watched[0]);
             (void)elsewhere;
           })
        .reason();
  };
  CHECK(reason(false) == "");
  CHECK(reason(true) ==
        "fd 1 has in its queue an epoll that watches what it has under another number, or not at "
        "all");
}

TEST_CASE("a descriptor that comes and goes while we look is what it was, or is left out") {
  const Subject subject([] {
    if (fork() == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      return;
    }
    close(1000);
    for (;;) {
      const int socket_fd = socket(AF_INET, SOCK_STREAM, 0);
      const int file = open("/etc/passwd", O_RDONLY);
      close(socket_fd);
      close(file);
    }
  });
  for (int i = 0; i < 300; ++i) {
    for (const FdFact& fd : subject.facts().fds) {
      CAPTURE(fd.target);
      if (fd.target == "/etc/passwd") CHECK(fd.kind == FdKind::kRegular);
      if (!fd.target.starts_with("socket:")) continue;
      CHECK(fd.kind == FdKind::kInetSocket);
      CHECK(fd.protocol == "TCP");
    }
  }
}

TEST_CASE("pipes: whether another process reads it, too") {
  const Subject subject([] {
    int ends[2];
    (void)!pipe(ends);
  });
  const std::string reading_end = "/proc/" + std::to_string(subject.pid()) + "/fd/0";
  CHECK(subject.facts().fds[0].readers.empty());
  const Subject writer([&] { open(reading_end.c_str(), O_WRONLY); });
  CHECK(subject.facts().fds[0].readers.empty());
  const Subject reader([&] { open(reading_end.c_str(), O_RDONLY); });
  CHECK_FALSE(subject.facts().fds[0].readers.empty());
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

}  // namespace ssi::check
