// Watches (inotify) on a view that the kernel has really mounted: a watcher there hears what a
// watcher at home hears, whoever did it. As root, with /dev/fuse.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <random>

#include "fs/view/test_view.h"
#include "fs/view/view.h"

using namespace ssi;
using namespace ssi::fs;

namespace {

constexpr std::uint32_t kChanges =
    IN_CREATE | IN_DELETE | IN_MOVE | IN_ATTRIB | IN_MODIFY | IN_DELETE_SELF | IN_MOVE_SELF;

// An inotify instance, and what it has heard: "WATCH:EVENT name", cookies as numbers from 1 on.
class Watcher {
 public:
  Watcher() : fd_(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC)) {}
  int watch(const std::string& path, std::uint32_t mask) {
    return ::inotify_add_watch(*fd_, path.c_str(), mask);
  }
  void unwatch(int number) { REQUIRE(::inotify_rm_watch(*fd_, number) == 0); }
  // Waits until that many were heard, and then whether there are more.
  std::string hear(std::size_t count) {
    std::string all;
    for (std::size_t i = 0; i < count; ++i) {
      if (queue_.empty()) read(10'000);
      if (queue_.empty()) return all + "(nothing more)";
      all += queue_.front() + "\n";
      queue_.erase(queue_.begin());
    }
    return all + rest(0);
  }
  std::string rest(int wait_ms) {
    read(wait_ms);
    std::string all;
    for (const auto& event : queue_) all += event + "\n";
    queue_.clear();
    return all;
  }
  // Until the queue is empty.
  std::string all() {
    std::string all;
    for (std::string more = rest(0); !more.empty(); more = rest(0)) all += more;
    return all;
  }
  int waiting_bytes() const {
    int bytes = 0;
    REQUIRE(::ioctl(*fd_, FIONREAD, &bytes) == 0);
    return bytes;
  }
  std::size_t count() {
    read(0);
    return queue_.size();
  }

 private:
  void read(int wait_ms) {
    pollfd poll{*fd_, POLLIN, 0};
    if (::poll(&poll, 1, wait_ms) <= 0) return;
    alignas(inotify_event) char buffer[64 << 10];
    const ssize_t got = ::read(*fd_, buffer, sizeof buffer);
    for (ssize_t at = 0; at < got;) {
      inotify_event event;
      std::memcpy(&event, buffer + at, sizeof event);
      const char* const name = event.len > 0 ? buffer + at + sizeof event : "";
      at += static_cast<ssize_t>(sizeof event + event.len);
      static constexpr std::pair<std::uint32_t, const char*> kNames[] = {
          {IN_ISDIR, "dir-"},          {IN_CREATE, "create"},    {IN_DELETE, "delete"},
          {IN_MODIFY, "modify"},       {IN_ATTRIB, "attrib"},    {IN_MOVED_FROM, "from"},
          {IN_MOVED_TO, "to"},         {IN_DELETE_SELF, "gone"}, {IN_OPEN, "open"},
          {IN_MOVE_SELF, "moved"},     {IN_ACCESS, "access"},    {IN_CLOSE_NOWRITE, "read"},
          {IN_CLOSE_WRITE, "written"}, {IN_IGNORED, "ignored"},  {IN_Q_OVERFLOW, "overflow"},
      };
      std::string text = std::to_string(event.wd) + ":";
      for (const auto& [bit, called] : kNames) text += (event.mask & bit) != 0 ? called : "";
      if (event.cookie != 0) {
        text += std::to_string(cookies_.emplace(event.cookie, cookies_.size() + 1).first->second);
      }
      if (event.len > 0) text += std::string(" ") + name;
      queue_.push_back(text);
    }
  }

  UniqueFd fd_;
  std::vector<std::string> queue_;
  std::map<std::uint32_t, std::size_t> cookies_;
};

void write_to(const std::string& path, std::string_view text) {
  const UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
  REQUIRE(fd);
  REQUIRE(::write(*fd, text.data(), text.size()) == static_cast<ssize_t>(text.size()));
}

struct Fixture {
  Fixture() {
    std::filesystem::create_directory(at_home);
    std::filesystem::create_directory(home_dir.path + "/e");
    auto mounted = mount_view(mount_dir.path + "/view", home, digests);
    if (!mounted) FAIL(mounted.error().message());
    view = std::move(mounted).value();
  }
  ~Fixture() { view->unmount(true); }

  // Both watch the same.
  void watch(const std::string& path, std::uint32_t mask) {
    REQUIRE(guest.watch(mount_dir.path + "/view" + path, mask) > 0);
    REQUIRE(local.watch(home_dir.path + path, mask) > 0);
  }
  void await_watched(std::size_t count) {
    for (int i = 0; i < 1000 && view->stats().watched != count; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    REQUIRE(view->stats().watched == count);
  }
  void check_same() {
    const std::size_t count = local.count();
    CHECK(count > 0);
    const std::string expected = local.rest(0);
    CHECK(guest.hear(count) == expected);
  }
  void check_nothing_more() { CHECK(guest.rest(300).empty()); }

  TempDir home_dir, mount_dir;
  const std::string at_home = home_dir.path + "/d";
  const std::string here = mount_dir.path + "/view/d";
  Home home{home_dir.path};
  DigestCache digests;
  std::unique_ptr<View> view;
  Watcher guest, local;
};

}  // namespace

TEST_CASE_FIXTURE(Fixture, "a watcher hears what others do at home, once and in order") {
  watch("/d", kChanges);
  await_watched(1);
  for (int round = 0; round < 3; ++round) {
    write_to(at_home + "/a", "one");
    REQUIRE(::chmod((at_home + "/a").c_str(), 0600) == 0);
    REQUIRE(::rename((at_home + "/a").c_str(), (at_home + "/b").c_str()) == 0);
    REQUIRE(::mkdir((at_home + "/s").c_str(), 0755) == 0);
    REQUIRE(::symlink("x", (at_home + "/l").c_str()) == 0);
    REQUIRE(::link((at_home + "/b").c_str(), (at_home + "/h").c_str()) == 0);
    REQUIRE(::mkfifo((at_home + "/p").c_str(), 0600) == 0);
    REQUIRE(::rename((at_home + "/s").c_str(), (at_home + "/t").c_str()) == 0);
    REQUIRE(::rmdir((at_home + "/t").c_str()) == 0);
    for (const char* name : {"/b", "/l", "/h", "/p"}) {
      REQUIRE(::unlink((at_home + name).c_str()) == 0);
    }
    check_same();
  }
  check_nothing_more();
}

// A file is closed by and by: nobody waits for it.
TEST_CASE_FIXTURE(Fixture, "what was done in the view is done at home when all was told") {
  REQUIRE(local.watch(at_home, IN_CLOSE_WRITE) > 0);
  for (int i = 0; i < 200; ++i) {
    write_to(here + "/f", "text");
    REQUIRE(view->tell_watchers(::getpid()));
    CHECK(local.all() == "1:written f\n");
  }
}

// No waiting in between: as soon as it returns, all was heard.
TEST_CASE_FIXTURE(Fixture, "who asks that all is told has heard it then") {
  watch("/d", kChanges);
  REQUIRE(view->tell_watchers(::getpid()));
  CHECK(view->stats().watched == 1);
  CHECK(guest.rest(0).empty());
  const auto begin = std::chrono::steady_clock::now();
  for (int round = 0; round < 100; ++round) {
    for (int i = 0; i < round % 7; ++i) {
      write_to(at_home + "/a", "one");
      REQUIRE(::rename((at_home + "/a").c_str(), (at_home + "/b").c_str()) == 0);
      REQUIRE(::unlink((at_home + "/b").c_str()) == 0);
    }
    REQUIRE(view->tell_watchers(::getpid()));
    CHECK(guest.all() == local.all());
  }
  MESSAGE("told all 100 times in " << std::chrono::duration_cast<std::chrono::milliseconds>(
                                          std::chrono::steady_clock::now() - begin)
                                          .count()
                                   << " ms");
  check_nothing_more();
}

TEST_CASE_FIXTURE(Fixture, "a file that was deleted before it is watched does not end the watch") {
  write_to(here + "/f", "text");
  const UniqueFd file(::open((here + "/f").c_str(), O_RDWR | O_CLOEXEC));
  REQUIRE(file);
  REQUIRE(::unlink((here + "/f").c_str()) == 0);
  REQUIRE(guest.watch("/proc/self/fd/" + std::to_string(*file), kChanges) == 1);
  for (int i = 0; i < 3; ++i) REQUIRE(view->tell_watchers(::getpid()));
  CHECK(guest.all().empty());
  REQUIRE(::write(*file, "y", 1) == 1);
  for (int i = 0; i < 3; ++i) REQUIRE(view->tell_watchers(::getpid()));
  CHECK(guest.all() == "1:modify\n");
}

TEST_CASE_FIXTURE(Fixture, "what comes from and goes to where nobody looks has one half only") {
  watch("/d", kChanges);
  await_watched(1);
  write_to(home_dir.path + "/e/f", "text");
  REQUIRE(::rename((home_dir.path + "/e/f").c_str(), (at_home + "/f").c_str()) == 0);
  REQUIRE(::rename((at_home + "/f").c_str(), (home_dir.path + "/e/g").c_str()) == 0);
  check_same();
  check_nothing_more();
}

TEST_CASE_FIXTURE(Fixture, "when it hears of a file it finds it as it is at home") {
  watch("/d", IN_CREATE | IN_MODIFY | IN_DELETE);
  await_watched(1);
  struct stat st {};
  for (int i = 0; i < 20; ++i) {
    CHECK(::stat((here + "/f").c_str(), &st) != 0);  // the kernel has it that there is none
    write_to(at_home + "/f", "first");
    CHECK(guest.hear(2) == "1:create f\n1:modify f\n");
    REQUIRE(::stat((here + "/f").c_str(), &st) == 0);
    CHECK(st.st_size == 5);
    write_to(at_home + "/f", " second");
    CHECK(guest.hear(1) == "1:modify f\n");
    std::ifstream file(here + "/f");
    std::string text;
    std::getline(file, text);
    CHECK(text == "first second");
    REQUIRE(::unlink((at_home + "/f").c_str()) == 0);
    CHECK(guest.hear(1) == "1:delete f\n");
  }
  struct stat at {};
  REQUIRE(::stat((home_dir.path + "/d").c_str(), &at) == 0);
  CHECK(at.st_nlink == 2);
  CHECK(std::filesystem::is_empty(at_home));
}

TEST_CASE_FIXTURE(Fixture, "what the realm does itself is heard once, and so is what others do") {
  watch("/d", kChanges);
  await_watched(1);
  for (int i = 0; i < 20; ++i) {
    write_to(here + "/own", "a");
    REQUIRE(::rename((here + "/own").c_str(), (here + "/own2").c_str()) == 0);
    REQUIRE(::chmod((here + "/own2").c_str(), 0600) == 0);
    check_same();
    write_to(at_home + "/others", "b");
    write_to(at_home + "/own2", "b");
    check_same();
    REQUIRE(::unlink((here + "/own2").c_str()) == 0);
    REQUIRE(::unlink((here + "/others").c_str()) == 0);
    check_same();
  }
  check_nothing_more();
}

TEST_CASE_FIXTURE(Fixture, "the end of a file that it has deleted is heard once") {
  watch("/d", IN_CREATE | IN_CLOSE_WRITE | IN_DELETE);
  await_watched(1);
  for (int i = 0; i < 20; ++i) {
    const UniqueFd fd(::open((here + "/own").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
    REQUIRE(::unlink((here + "/own").c_str()) == 0);
  }
  std::string expected;
  for (int i = 0; i < 20; ++i) expected += "1:create own\n1:delete own\n1:written own\n";
  CHECK(guest.hear(60) == expected);
  check_nothing_more();
}

TEST_CASE_FIXTURE(Fixture, "watched files and directories of a watched directory hear once, too") {
  write_to(at_home + "/f", "x");
  std::filesystem::create_directory(at_home + "/s");
  watch("/d", kChanges);
  watch("/d/f", kChanges);
  watch("/d/s", kChanges);
  await_watched(3);
  for (int i = 0; i < 5; ++i) {
    write_to(at_home + "/f", "y");
    REQUIRE(::chmod((at_home + "/f").c_str(), i % 2 == 0 ? 0600 : 0644) == 0);
    REQUIRE(::chmod((at_home + "/s").c_str(), i % 2 == 0 ? 0700 : 0755) == 0);
    write_to(at_home + "/s/inner", "z");
    check_same();
  }
  check_nothing_more();
}

TEST_CASE_FIXTURE(Fixture, "a file that is moved and deleted says so to who watches it alone") {
  write_to(at_home + "/f", "x");
  std::filesystem::create_directory(at_home + "/s");
  watch("/d/f", kChanges);
  watch("/d/s", kChanges);
  await_watched(2);
  REQUIRE(::rename((at_home + "/f").c_str(), (at_home + "/g").c_str()) == 0);
  REQUIRE(::rename((at_home + "/s").c_str(), (at_home + "/t").c_str()) == 0);
  write_to(at_home + "/g", "y");
  check_same();
  REQUIRE(::unlink((at_home + "/g").c_str()) == 0);
  CHECK(guest.hear(3) == "1:attrib\n1:gone\n1:ignored\n");
  REQUIRE(::rmdir((at_home + "/t").c_str()) == 0);
  CHECK(guest.hear(2) == "2:gone\n2:ignored\n");
  check_nothing_more();
  await_watched(0);
}

TEST_CASE_FIXTURE(Fixture, "openings by others are told when they end") {
  write_to(at_home + "/f", "x");
  watch("/d", IN_OPEN | IN_CLOSE);
  await_watched(1);
  (void)guest.rest(100);
  std::ifstream(at_home + "/f").get();
  CHECK(guest.hear(2) == "1:open f\n1:read f\n");
  write_to(at_home + "/f", "y");
  CHECK(guest.hear(2) == "1:open f\n1:written f\n");
  check_nothing_more();
}

TEST_CASE_FIXTURE(Fixture, "who watches no more costs home nothing, and may watch again") {
  const int number = guest.watch(here, kChanges);
  await_watched(1);
  guest.unwatch(number);
  struct stat st {};
  (void)::stat(here.c_str(), &st);
  await_watched(0);
  CHECK(guest.hear(1) == "1:ignored\n");
  REQUIRE(guest.watch(here, kChanges) == 2);
  await_watched(1);
  write_to(at_home + "/f", "x");
  CHECK(guest.hear(2) == "2:create f\n2:modify f\n");
}

TEST_CASE_FIXTURE(Fixture,
                  "a watch that is for one event ends with it, and a mask that grows is heard by") {
  REQUIRE(guest.watch(here, IN_CREATE | IN_ONESHOT) == 1);
  await_watched(1);
  write_to(at_home + "/a", "x");
  write_to(at_home + "/b", "x");
  CHECK(guest.hear(2) == "1:create a\n1:ignored\n");
  check_nothing_more();
  REQUIRE(guest.watch(here, IN_CREATE) == 2);
  REQUIRE(guest.watch(here, IN_DELETE | IN_MASK_ADD) == 2);
  (void)guest.rest(2000);  // home is told within a second
  write_to(at_home + "/c", "x");
  REQUIRE(::unlink((at_home + "/c").c_str()) == 0);
  CHECK(guest.hear(2) == "2:create c\n2:delete c\n");
  check_nothing_more();
}

TEST_CASE_FIXTURE(Fixture, "a broken connection loses nothing") {
  watch("/d", kChanges);
  await_watched(1);
  for (int i = 0; i < 10; ++i) {
    write_to(at_home + "/a" + std::to_string(i), "x");
    home.cut();
    write_to(at_home + "/b" + std::to_string(i), "x");
  }
  check_same();
  check_nothing_more();
}

TEST_CASE_FIXTURE(Fixture,
                  "a home that has forgotten what it was to tell makes the queue overflow") {
  REQUIRE(guest.watch(here, IN_CREATE | IN_DELETE) == 1);
  await_watched(1);
  home.stop();
  write_to(at_home + "/unheard", "x");
  home.start();
  const std::string overflow = "-1:overflow\n";
  std::string heard;
  for (int i = 0; i < 600 && !heard.ends_with(overflow); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    // Full: 16384 events, each with its name.
    if (guest.waiting_bytes() >= 16384 * 32) heard = guest.all();
  }
  CHECK(heard.ends_with(overflow));
  write_to(at_home + "/f", "x");
  CHECK(guest.hear(1) == "1:create f\n");
}

namespace {

// Few names, so that they meet: what is not possible just fails. No links: a file of several names
// is changed by the one that the caller took where he is, and by any of them at home.
void do_something(const std::string& dir, std::mt19937& random) {
  const auto name = [&] { return dir + "/" + std::string(1, "abc"[random() % 3]); };
  switch (random() % 7) {
    case 0:
      (void)::mkdir(name().c_str(), 0755);
      break;
    case 1:
      (void)::rmdir(name().c_str());
      break;
    case 2:
      (void)::unlink(name().c_str());
      break;
    case 3:
      (void)::rename(name().c_str(), name().c_str());
      break;
    case 4:
      (void)::symlink("a", name().c_str());
      break;
    case 5:
      (void)::truncate(name().c_str(), static_cast<off_t>(random() % 100));
      break;
    default: {
      const UniqueFd fd(::open(name().c_str(), O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0644));
      if (fd) (void)!::write(*fd, "text", 4);
    }
  }
}

}  // namespace

TEST_CASE_FIXTURE(Fixture, "whatever is done here and at home, in turns, is heard as at home") {
  const char* const given = std::getenv("SSID_SEED");
  const unsigned int seed =
      given != nullptr ? static_cast<unsigned int>(std::atoi(given)) : std::random_device()();
  INFO("SSID_SEED=" << seed);
  std::mt19937 random(seed);
  watch("/d", IN_CREATE | IN_DELETE | IN_MOVE | IN_MODIFY);
  await_watched(1);
  for (int i = 0; i < 400; ++i) {
    for (auto n = random() % 5 + 1; n > 0; --n) {
      do_something(random() % 2 == 0 ? here : at_home, random);
      // The kernel here believes names for a second; what the guest hears it finds.
      const std::size_t count = local.count();
      const std::string expected = local.rest(0);
      REQUIRE(guest.hear(count) == expected);
    }
  }
  check_nothing_more();
}

TEST_CASE("a view's process that is killed while it tells is gone, and its mount is dead") {
  TempDir mount_dir;
  const std::string mountpoint = mount_dir.path + "/view";
  int said[2];
  REQUIRE(::pipe2(said, O_CLOEXEC) == 0);
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    TempDir home_dir;
    Home home(home_dir.path);
    DigestCache digests;
    const auto view = mount_view(mountpoint, home, digests);
    Watcher guest;
    if (!view || guest.watch(mountpoint, IN_CREATE | IN_DELETE) != 1) ::_exit(1);
    const std::string file = home_dir.path + "/f";
    for (int heard = 0;; heard += static_cast<int>(guest.count())) {
      ::mknod(file.c_str(), S_IFREG | 0600, 0);
      ::unlink(file.c_str());
      if (heard > 0) (void)!::write(said[1], "x", 1);
    }
  }
  char byte = 0;
  REQUIRE(::read(said[0], &byte, 1) == 1);
  ::close(said[1]);
  REQUIRE(::kill(child, SIGKILL) == 0);
  int gone = 0;
  for (int i = 0; i < 1000 && gone == 0; ++i) {
    gone = ::waitpid(child, nullptr, WNOHANG);
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  CHECK(gone == child);
  int error = 0;
  for (int i = 0; i < 1000 && error != ENOTCONN; ++i) {
    struct stat st {};
    error = ::stat(mountpoint.c_str(), &st) == 0 ? 0 : errno;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  CHECK(error == ENOTCONN);
  ::umount2(mountpoint.c_str(), MNT_DETACH);
}
