// The socket files of a home, in a view that the kernel has really mounted: what a process in a
// cgroup of its own may do with them while it is being rebuilt, and what others see. As root, with
// /dev/fuse and a cgroup v2 hierarchy.
#include <dirent.h>
#include <doctest/doctest.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <fstream>
#include <functional>

#include "fs/view/test_view.h"
#include "fs/view/view.h"
#include "ssid/wire/carrier/deleted_socket.h"

#ifndef SIOCUNIXFILE
#define SIOCUNIXFILE (SIOCPROTOPRIVATE + 0)
#endif

using namespace ssi;
using namespace ssi::fs;

namespace {

sockaddr_un address_of(const char* path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strcpy(address.sun_path, path);
  return address;
}

// Another process, which does what it is told.
class Actor {
 public:
  enum class Do : int {
    kStat,
    kUnlink,
    kBind,
    kChmod,
    kConnect,
    kAccept,
    kName,
    kFile,
    kList,
    kRename,
    kHammer
  };
  struct Order {
    Do what{};
    int number = 0;  // kAccept: says who it is
    char path[sizeof(sockaddr_un::sun_path)] = {};
    char path2[sizeof(sockaddr_un::sun_path)] = {};
  };
  struct Done {
    int error = 0;
    std::uint64_t number = 0;
    char text[256] = {};
  };

  Actor() {
    int pair[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0);
    pid_ = ::fork();
    REQUIRE(pid_ >= 0);
    if (pid_ == 0) act(pair[1]);
    ::close(pair[1]);
    orders_.reset(pair[0]);
  }
  ~Actor() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  Actor(const Actor&) = delete;
  Actor& operator=(const Actor&) = delete;

  pid_t pid() const { return pid_; }
  void tell(Do what, const std::string& path = {}, int number = 0, const std::string& path2 = {}) {
    Order order;
    order.what = what;
    order.number = number;
    std::strncpy(order.path, path.c_str(), sizeof(order.path) - 1);
    std::strncpy(order.path2, path2.c_str(), sizeof(order.path2) - 1);
    REQUIRE(::send(*orders_, &order, sizeof order, 0) == sizeof order);
  }
  Done hear() {
    Done done;
    REQUIRE(::recv(*orders_, &done, sizeof done, 0) == sizeof done);
    return done;
  }
  Done ask(Do what, const std::string& path = {}, const std::string& path2 = {}) {
    tell(what, path, 0, path2);
    return hear();
  }
  int try_to(Do what, const std::string& path = {}, const std::string& path2 = {}) {
    return ask(what, path, path2).error;
  }

 private:
  [[noreturn]] static void act(int orders) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::dup2(orders, 3);
    ::close_range(4, ~0U, 0);
    int listener = -1;
    Order order;
    while (::recv(3, &order, sizeof order, 0) == sizeof order) {
      Done done;
      done.error = act_once(order, listener, done) < 0 ? errno : 0;
      ::send(3, &done, sizeof done, MSG_NOSIGNAL);
    }
    ::_exit(0);
  }

  static int act_once(const Order& order, int& listener, Done& done) {
    const sockaddr_un address = address_of(order.path);
    const auto* const name = reinterpret_cast<const sockaddr*>(&address);
    switch (order.what) {
      case Do::kStat: {
        struct stat st {};
        const int result = ::stat(order.path, &st);
        done.number = st.st_ino;
        return result;
      }
      case Do::kUnlink:
        return ::unlink(order.path);
      case Do::kRename:
        return ::rename(order.path, order.path2);
      case Do::kBind:
        if (listener >= 0) ::close(listener);
        listener = socket_with_patience();
        if (::bind(listener, name, sizeof address) != 0) return -1;
        return ::listen(listener, 5);
      case Do::kChmod:
        return ::chmod(order.path, 0777);
      case Do::kConnect: {
        const int fd = socket_with_patience();
        int result = ::connect(fd, name, sizeof address);
        int who = 0;
        if (result == 0 && ::read(fd, &who, sizeof who) != sizeof who) result = -1;
        done.number = static_cast<std::uint64_t>(who);
        const int error = errno;
        ::close(fd);
        errno = error;
        return result;
      }
      case Do::kAccept: {
        const int fd = ::accept(listener, nullptr, nullptr);
        if (fd < 0 || ::write(fd, &order.number, sizeof order.number) < 0) return -1;
        return ::close(fd);
      }
      case Do::kName: {
        sockaddr_un bound{};
        socklen_t size = sizeof bound;
        const int result = ::getsockname(listener, reinterpret_cast<sockaddr*>(&bound), &size);
        std::strncpy(done.text, bound.sun_path, sizeof(done.text) - 1);
        return result;
      }
      case Do::kFile: {
        const int fd = ::ioctl(listener, SIOCUNIXFILE, 0);
        if (fd < 0) return -1;
        const std::string link = "/proc/self/fd/" + std::to_string(fd);
        const ssize_t size = ::readlink(link.c_str(), done.text, sizeof(done.text) - 1);
        ::close(fd);
        return size < 0 ? -1 : 0;
      }
      case Do::kList:
        return list(order.path, order.path2, done.number);
      case Do::kHammer: {  // uses the name all the time, until the next order
        for (pollfd next{3, POLLIN, 0}; ::poll(&next, 1, 0) == 0; ++done.number) {
          struct stat st {};
          if (::stat(order.path, &st) != 0) return -1;
          std::uint64_t seen = 0;
          if (list(order.path2, "s", seen) != 0 || seen != 1) return -1;
          const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
          if (::connect(fd, name, sizeof address) != 0 && errno != ECONNREFUSED &&
              errno != EAGAIN) {
            return -1;
          }
          ::close(fd);
        }
        return 0;
      }
    }
    return -1;
  }

  static int socket_with_patience() {
    const int fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
    const timeval patience{10, 0};
    ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    return fd;
  }
  static int list(const char* path, const char* name, std::uint64_t& seen) {
    DIR* dir = ::opendir(path);
    if (dir == nullptr) return -1;
    while (const dirent* entry = ::readdir(dir)) {
      struct stat st {};
      if (std::strcmp(entry->d_name, name) == 0) ++seen;
      (void)::fstatat(::dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW);
    }
    return ::closedir(dir);
  }

  pid_t pid_ = -1;
  UniqueFd orders_;
};
using Do = Actor::Do;

class Cgroup {
 public:
  explicit Cgroup(const std::string& name) {
    std::ifstream mounts("/proc/self/mounts");
    std::string source, mount, type, rest;
    while (mounts >> source >> mount >> type && std::getline(mounts, rest)) {
      if (type == "cgroup2") path = mount;
    }
    REQUIRE_FALSE(path.empty());
    path += "/ssid-view-test-" + std::to_string(::getpid()) + name;
    REQUIRE(::mkdir(path.c_str(), 0755) == 0);
  }
  ~Cgroup() { CHECK(::rmdir(path.c_str()) == 0); }
  void add(const Actor& actor) const {
    std::ofstream procs(path + "/cgroup.procs");
    procs << actor.pid() << std::flush;
    REQUIRE(procs.good());
  }
  std::string path;
};

struct Fixture {
  static constexpr int kHome = 1, kGuest = 2, kOther = 3;  // who accepts

  Fixture() {
    std::filesystem::create_directory(home_dir.path + "/d");
    cgroup.add(guest);
    auto mounted = mount_view(mount_dir.path + "/view", home, digests);
    if (!mounted) FAIL(mounted.error().message());
    view = std::move(mounted).value();
    REQUIRE(at_home.try_to(Do::kBind, home_path) == 0);
    REQUIRE(::chmod(home_path.c_str(), 0777) == 0);
    REQUIRE(::stat(home_path.c_str(), &before) == 0);
  }
  ~Fixture() { view->unmount(true); }

  // A hundred times, while others use the name all the time.
  void while_others_use_the_name(const std::function<void()>& once) {
    for (Actor* user : {&other, &third}) user->tell(Do::kHammer, view_path, 0, view_dir);
    for (int round = 0; round < 100; ++round) {
      CAPTURE(round);
      once();
    }
    for (Actor* user : {&other, &third}) {
      user->tell(Do::kStat, view_path);
      const Actor::Done hammered = user->hear();
      CHECK(hammered.error == 0);
      CHECK(hammered.number > 0);
      CHECK(user->hear().error == 0);
    }
  }
  // Who accepts the connection that `who` makes to that path; 0: nobody.
  int reached(Actor& who, const std::string& path, Actor& acceptor, int number) {
    acceptor.tell(Do::kAccept, {}, number);
    const Actor::Done done = who.ask(Do::kConnect, path);
    CHECK(done.error == 0);
    CHECK(acceptor.hear().error == 0);
    return static_cast<int>(done.number);
  }
  void check_home_is_untouched() {
    struct stat now {};
    CHECK(::stat(home_path.c_str(), &now) == 0);
    CHECK(now.st_ino == before.st_ino);
    CHECK(now.st_mode == before.st_mode);
    CHECK(now.st_nlink == before.st_nlink);
    CHECK(reached(other_at_home, home_path, at_home, kHome) == kHome);
  }
  void check_has_its_name(Actor& actor) {
    const Actor::Done file = actor.ask(Do::kFile);
    CHECK(file.error == 0);
    CHECK(std::string(file.text) == view_path);
  }
  int exists_at_home(const std::string& name) {
    struct stat st {};
    return ::lstat((home_dir.path + "/d/" + name).c_str(), &st) == 0;
  }

  TempDir home_dir, mount_dir;
  const std::string home_path = home_dir.path + "/d/s";
  const std::string view_dir = mount_dir.path + "/view/d";
  const std::string view_path = view_dir + "/s";
  Cgroup cgroup{""}, cgroup2{"-2"};
  Actor at_home, other_at_home, guest, other, third;
  struct stat before {};
  Home home{home_dir.path};
  DigestCache digests;
  std::unique_ptr<View> view;
};

}  // namespace

TEST_CASE_FIXTURE(Fixture, "a rebuilt process binds to home's socket file, which stays home's") {
  // The kernel knows it already.
  REQUIRE(other.try_to(Do::kStat, view_path) == 0);
  const std::uint64_t inode = other.ask(Do::kStat, view_path).number;
  CHECK(guest.try_to(Do::kStat, view_path) == 0);
  CHECK(guest.try_to(Do::kBind, view_path) == EADDRINUSE);
  view->rebuild_sockets(cgroup.path, true);

  CHECK(guest.try_to(Do::kStat, view_path) == ENOENT);
  CHECK(other.try_to(Do::kStat, view_path) == 0);
  CHECK(guest.try_to(Do::kUnlink, view_path) == ENOENT);
  // A listing makes the kernel know its entries; they are asked for again.
  CHECK(guest.ask(Do::kList, view_dir, "s").number == 1);
  CHECK(other.ask(Do::kList, view_dir, "s").number == 1);
  CHECK(guest.try_to(Do::kStat, view_path) == ENOENT);
  CHECK(other.try_to(Do::kStat, view_path) == 0);
  CHECK(other.try_to(Do::kBind, view_path) == EADDRINUSE);
  CHECK(other.try_to(Do::kConnect, view_path) == ECONNREFUSED);  // nobody is bound to it here

  REQUIRE(guest.try_to(Do::kBind, view_path) == 0);
  CHECK(guest.try_to(Do::kChmod, view_path) == 0);
  CHECK(guest.ask(Do::kStat, view_path).number == inode);
  CHECK(other.ask(Do::kStat, view_path).number == inode);
  CHECK(std::string(guest.ask(Do::kName).text) == view_path);
  check_has_its_name(guest);
  CHECK(reached(other, view_path, guest, kGuest) == kGuest);
  CHECK(reached(other, view_path, guest, kGuest) == kGuest);
  check_home_is_untouched();
  CHECK(other.try_to(Do::kBind, view_path) == EADDRINUSE);

  view->rebuild_sockets(cgroup.path, false);
  CHECK(guest.ask(Do::kStat, view_path).number == inode);
  CHECK(other.ask(Do::kList, view_dir, "s").number == 1);
  view->refresh();
  CHECK(other.ask(Do::kStat, view_path).number == inode);
  CHECK(reached(other, view_path, guest, kGuest) == kGuest);
  check_has_its_name(guest);
  check_home_is_untouched();
}

TEST_CASE_FIXTURE(Fixture, "threads of the copy connect by the name that one of them has bound") {
  Actor child;
  cgroup.add(child);
  view->rebuild_sockets(cgroup.path, true);
  CHECK(child.try_to(Do::kConnect, view_path) == ENOENT);
  REQUIRE(guest.try_to(Do::kBind, view_path) == 0);
  CHECK(reached(child, view_path, guest, kGuest) == kGuest);
  check_home_is_untouched();
}

TEST_CASE_FIXTURE(Fixture, "what a rebuilt process unlinks goes at home only if it made it there") {
  const std::string made = view_dir + "/made";
  view->rebuild_sockets(cgroup.path, true);
  REQUIRE(guest.try_to(Do::kBind, made) == 0);
  CHECK(exists_at_home("made"));
  CHECK(guest.try_to(Do::kStat, made) == 0);
  CHECK(reached(other, made, guest, kGuest) == kGuest);
  CHECK(guest.try_to(Do::kUnlink, made) == 0);
  CHECK_FALSE(exists_at_home("made"));

  // As if it had been deleted while it was in use: bound and unlinked.
  REQUIRE(guest.try_to(Do::kBind, view_path) == 0);
  CHECK(guest.try_to(Do::kRename, view_path, view_dir + "/away") == EBUSY);
  CHECK(guest.try_to(Do::kUnlink, view_path) == 0);
  CHECK(guest.try_to(Do::kStat, view_path) == ENOENT);
  CHECK(other.try_to(Do::kStat, view_path) == 0);
  CHECK(reached(other, view_path, guest, kGuest) == kGuest);
  check_home_is_untouched();
  REQUIRE(guest.try_to(Do::kBind, view_path) == 0);
  check_has_its_name(guest);
  check_home_is_untouched();

  // Others remove what they remove, files are files.
  std::ofstream(home_dir.path + "/d/file") << "x";
  CHECK(guest.try_to(Do::kStat, view_dir + "/file") == 0);
  CHECK(guest.try_to(Do::kBind, view_dir + "/file") == EADDRINUSE);
  CHECK(guest.try_to(Do::kUnlink, view_dir + "/file") == 0);
  CHECK_FALSE(exists_at_home("file"));
  CHECK(other.try_to(Do::kUnlink, view_path) == 0);
  CHECK_FALSE(exists_at_home("s"));
}

TEST_CASE_FIXTURE(Fixture, "others may use the name all the time, before, meanwhile and after") {
  while_others_use_the_name([&] {
    view->rebuild_sockets(cgroup.path, true);
    CHECK(guest.try_to(Do::kStat, view_path) == ENOENT);
    CHECK(guest.try_to(Do::kUnlink, view_path) == ENOENT);
    REQUIRE(guest.try_to(Do::kBind, view_path) == 0);
    check_has_its_name(guest);
    CHECK(guest.try_to(Do::kChmod, view_path) == 0);
    view->rebuild_sockets(cgroup.path, false);
    CHECK(guest.try_to(Do::kStat, view_path) == 0);
    check_has_its_name(guest);
  });
  check_home_is_untouched();
}

TEST_CASE_FIXTURE(Fixture, "two rebuilds may bind to one name; who stays is reached by it") {
  cgroup2.add(other);
  view->rebuild_sockets(cgroup.path, true);
  REQUIRE(guest.try_to(Do::kBind, view_path) == 0);
  view->rebuild_sockets(cgroup2.path, true);
  CHECK(other.try_to(Do::kStat, view_path) == ENOENT);
  REQUIRE(other.try_to(Do::kBind, view_path) == 0);
  check_has_its_name(other);
  REQUIRE(guest.try_to(Do::kBind, view_dir + "/elsewhere") == 0);
  CHECK(reached(third, view_path, other, kOther) == kOther);
  check_home_is_untouched();
}

TEST_CASE_FIXTURE(Fixture, "a socket that the kernel is not told of is forgotten at home") {
  CHECK(guest.try_to(Do::kStat, view_dir) == 0);
  CHECK(guest.try_to(Do::kBind, view_dir + "/none/x") == ENOENT);
  const auto nodes = [&] { return home.store().stats().nodes; };
  const std::size_t nodes_before = nodes();
  const std::size_t known_before = view->stats().nodes;
  view->rebuild_sockets(cgroup.path, true);
  for (int i = 0; i < 300; ++i) REQUIRE(guest.try_to(Do::kStat, view_path) == ENOENT);
  CHECK(view->stats().nodes == known_before);
  // Home is told now and then.
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (nodes() != nodes_before && std::chrono::steady_clock::now() < until) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  CHECK(nodes() == nodes_before);
}

namespace {

// A socket whose name was deleted, as CRIU binds it.
struct DeletedFixture : Fixture {
  const std::string announcement = mount_dir.path + "/view" + by_deleted_socket("s", "/d");
  const std::string aside = view_path + ".criu-sk-ghost";

  void put_at_home(const std::string& what) {
    if (what == "a socket") return;  // it is there
    REQUIRE(::unlink(home_path.c_str()) == 0);
    if (what == "a file") std::ofstream(home_path) << "content";
    if (what == "a named pipe") REQUIRE(::mkfifo(home_path.c_str(), 0600) == 0);
    if (what == "a directory") REQUIRE(::mkdir(home_path.c_str(), 0700) == 0);
    if (what == "a link") REQUIRE(::symlink("elsewhere", home_path.c_str()) == 0);
    if (what != "nothing") REQUIRE(::lstat(home_path.c_str(), &before) == 0);
  }
  void bind_and_unlink(bool something_is_there) {
    REQUIRE(guest.try_to(Do::kStat, announcement) == 0);
    CHECK(guest.try_to(Do::kUnlink, aside) == ENOENT);
    if (something_is_there) REQUIRE(guest.try_to(Do::kRename, view_path, aside) == 0);
    CHECK(guest.try_to(Do::kStat, view_path) == ENOENT);
    REQUIRE(guest.try_to(Do::kBind, view_path) == 0);
    CHECK(guest.try_to(Do::kChmod, view_path) == 0);
    CHECK(guest.try_to(Do::kUnlink, view_path) == 0);
    if (something_is_there) CHECK(guest.try_to(Do::kRename, aside, view_path) == 0);
    CHECK(std::string(guest.ask(Do::kName).text) == view_path);
    CHECK(std::string(guest.ask(Do::kFile).text) == view_path + " (deleted)");
  }
  void check_home_has_what_it_had() {
    struct stat now {};
    REQUIRE(::lstat(home_path.c_str(), &now) == 0);
    CHECK(now.st_ino == before.st_ino);
    CHECK(now.st_mode == before.st_mode);
    CHECK(now.st_ctim.tv_sec == before.st_ctim.tv_sec);
    CHECK(now.st_ctim.tv_nsec == before.st_ctim.tv_nsec);
    CHECK_FALSE(exists_at_home("s.criu-sk-ghost"));
  }
  void is_bound_beside(const std::string& what) {
    put_at_home(what);
    struct stat seen {
    }, after{};
    REQUIRE(::lstat(view_path.c_str(), &seen) == 0);
    std::ofstream(home_dir.path + "/d/s.criu-sk-ghost") << "somebody's";
    view->rebuild_sockets(cgroup.path, true);
    if (what == "a socket") {
      REQUIRE(guest.try_to(Do::kStat, announcement) == 0);
      CHECK(guest.try_to(Do::kUnlink, view_path) == EBUSY);
    }
    bind_and_unlink(true);
    CHECK(exists_at_home("s.criu-sk-ghost"));
    CHECK(::unlink((home_dir.path + "/d/s.criu-sk-ghost").c_str()) == 0);
    view->rebuild_sockets(cgroup.path, false);
    check_home_has_what_it_had();
    REQUIRE(::lstat(view_path.c_str(), &after) == 0);
    CHECK(after.st_ino == seen.st_ino);
    CHECK(after.st_mode == seen.st_mode);
    CHECK(::lstat(aside.c_str(), &after) != 0);
    CHECK(::lstat((mount_dir.path + "/view/.ssid-deleted-socket-s").c_str(), &after) != 0);
  }
  void others_see(const std::string& what) {
    put_at_home(what);
    while_others_use_the_name([&] {
      view->rebuild_sockets(cgroup.path, true);
      bind_and_unlink(true);
      view->rebuild_sockets(cgroup.path, false);
    });
    check_home_has_what_it_had();
  }
};

}  // namespace

TEST_CASE_FIXTURE(DeletedFixture, "a deleted socket is bound beside a socket that has its name") {
  is_bound_beside("a socket");
}
TEST_CASE_FIXTURE(DeletedFixture, "a deleted socket is bound beside a file that has its name") {
  is_bound_beside("a file");
}
TEST_CASE_FIXTURE(DeletedFixture, "a deleted socket is bound beside a named pipe") {
  is_bound_beside("a named pipe");
}
TEST_CASE_FIXTURE(DeletedFixture, "a deleted socket is bound beside a directory") {
  is_bound_beside("a directory");
}
TEST_CASE_FIXTURE(DeletedFixture, "a deleted socket is bound beside a link that leads somewhere") {
  is_bound_beside("a link");
}

TEST_CASE_FIXTURE(DeletedFixture, "a deleted socket whose name is free: home hears of nothing") {
  put_at_home("nothing");
  struct stat before_it {
  }, after{};
  REQUIRE(::stat((home_dir.path + "/d").c_str(), &before_it) == 0);
  view->rebuild_sockets(cgroup.path, true);
  bind_and_unlink(false);
  REQUIRE(::stat((home_dir.path + "/d").c_str(), &after) == 0);
  CHECK(after.st_mtim.tv_nsec == before_it.st_mtim.tv_nsec);
  // While it is bound others don't see it, and may put something there.
  REQUIRE(guest.try_to(Do::kStat, announcement) == 0);
  REQUIRE(guest.try_to(Do::kBind, view_path) == 0);
  CHECK(other.try_to(Do::kStat, view_path) == ENOENT);
  CHECK(other.try_to(Do::kConnect, view_path) == ENOENT);
  CHECK(other.try_to(Do::kBind, view_path) == 0);
  CHECK(exists_at_home("s"));
  CHECK(guest.try_to(Do::kChmod, view_path) == 0);
  struct stat made {};
  REQUIRE(::stat(home_path.c_str(), &made) == 0);
  CHECK((made.st_mode & 0777) != 0777);
  CHECK(guest.try_to(Do::kUnlink, view_path) == 0);
  CHECK(exists_at_home("s"));
  CHECK(reached(third, view_path, other, kOther) == kOther);
}

TEST_CASE_FIXTURE(DeletedFixture, "one of a program's sockets has the name, a deleted one had it") {
  view->rebuild_sockets(cgroup.path, true);
  Actor child;
  cgroup.add(child);
  const std::string named = mount_dir.path + "/view" + by_named_socket("/d");
  REQUIRE(child.try_to(Do::kStat, named) == 0);
  REQUIRE(child.try_to(Do::kBind, view_path) == 0);
  bind_and_unlink(true);
  check_has_its_name(child);
  CHECK(reached(third, view_path, child, kOther) == kOther);
  REQUIRE(guest.try_to(Do::kStat, named) == 0);
  CHECK(guest.try_to(Do::kBind, view_path) == EADDRINUSE);
  view->rebuild_sockets(cgroup.path, false);
  check_has_its_name(child);
  CHECK(reached(third, view_path, child, kOther) == kOther);
  check_home_is_untouched();
}

TEST_CASE_FIXTURE(DeletedFixture, "a rebuild that breaks off leaves a name to what has it") {
  put_at_home("a file");
  view->rebuild_sockets(cgroup.path, true);
  REQUIRE(guest.try_to(Do::kStat, announcement) == 0);
  REQUIRE(guest.try_to(Do::kRename, view_path, aside) == 0);
  REQUIRE(guest.try_to(Do::kBind, view_path) == 0);
  view->rebuild_sockets(cgroup.path, false);
  check_home_has_what_it_had();
  CHECK(other.try_to(Do::kStat, view_path) == 0);
  CHECK(guest.try_to(Do::kStat, view_path) == 0);
}

TEST_CASE_FIXTURE(DeletedFixture, "others see the socket that has the name, whenever they look") {
  others_see("a socket");
}
TEST_CASE_FIXTURE(DeletedFixture, "others see the file that has the name, whenever they look") {
  others_see("a file");
}
