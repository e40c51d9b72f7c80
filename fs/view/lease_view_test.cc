// Leases of guests' files, in a view that the kernel has really mounted, beside the home whose
// files it shows. As root, with /dev/fuse.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <fstream>
#include <functional>
#include <sstream>
#include <thread>

#include "fs/view/test_home.h"
#include "fs/view/view.h"
#include "ssid/wire/carrier/held_file.h"

using namespace ssi;
using namespace ssi::fs;

namespace {

Lease lease_of(int fd) {
  std::ostringstream text;
  text << std::ifstream("/proc/self/fdinfo/" + std::to_string(fd)).rdbuf();
  return parse_lease(text.str());
}

// Waits until it is so, at most a few seconds.
bool becomes(const std::function<bool()>& so) {
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (std::chrono::steady_clock::now() < until) {
    if (so()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return so();
}

// A guest whose file had a lease at home, and who has just come here with it: the test itself.
struct Fixture {
  Fixture() {
    std::signal(SIGIO, SIG_IGN);
    std::ofstream(home_dir.path + "/f") << "x";
    View::Options options;
    options.mountpoint = mounted.path;
    options.remote.dial = [this] {
      std::lock_guard lock(dialling);
      return home.dial();
    };
    options.remote.hello.realm = 1;
    options.remote.hello.token.fill(7);
    auto made = View::mount(std::move(options), digests);
    REQUIRE(made);
    view = std::move(*made);
  }
  ~Fixture() {
    guest.reset();
    view->unmount(true);
  }

  std::string at_home() const { return home_dir.path + "/f"; }
  std::string here() const { return mounted.path + "/f"; }

  // As the movers do it, with criu's part.
  void arrive(int access, int type) {
    UniqueFd original(::open(at_home().c_str(), access | O_CLOEXEC));
    REQUIRE(::fcntl(*original, F_SETLEASE, type) == 0);
    REQUIRE(::fcntl(*original, F_SETOWN, 0) == 0);
    kept = ::fcntl(*original, F_DUPFD_CLOEXEC, 0);
    const auto shared = std::make_shared<const UniqueFd>(std::move(original));
    const std::uint64_t id = home.store().held().hold(shared);
    if (type == F_WRLCK) {
      const ExpectOpening expected{id, ::getpid(), 0};
      REQUIRE(::setxattr(mounted.path.c_str(), kExpectOpeningAttribute, &expected, sizeof expected,
                         0) == 0);
    }
    guest.reset(::open(here().c_str(), access | O_CLOEXEC));
    REQUIRE(guest);
    REQUIRE(::fcntl(*guest, F_SETLEASE, type) == 0);
    AdoptFile adopt;
    adopt.id = id;
    adopt.lease = {static_cast<std::uint32_t>(type), 0};
    adopt.pid = ::getpid();
    adopt.number = *guest;
    REQUIRE(::ioctl(*guest, kAdoptFile, &adopt) == 0);
    home.store().held().release(id);
  }

  TempDir home_dir, mounted;
  std::mutex dialling;  // a view dials whenever it likes
  Home home{home_dir.path};
  DigestCache digests;
  std::unique_ptr<View> view;
  UniqueFd guest;
  int kept = -1;  // the open file at home, to look at
};

}  // namespace

TEST_CASE_FIXTURE(Fixture, "who opens the file at home waits until the guest lets go") {
  arrive(O_RDWR, F_WRLCK);
  CHECK(lease_of(kept) == Lease{F_WRLCK, 0});
  CHECK(lease_of(*guest) == Lease{F_WRLCK, 0});
  std::atomic<bool> in{false};
  std::thread opener([&] {
    const UniqueFd fd(::open(at_home().c_str(), O_RDONLY | O_CLOEXEC));
    in = true;
  });
  CHECK(becomes([&] { return lease_of(*guest) == Lease{F_RDLCK, 1}; }));
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  CHECK(!in);
  REQUIRE(::fcntl(*guest, F_SETLEASE, F_UNLCK) == 0);
  opener.join();
  CHECK(in);
  CHECK(becomes([&] { return !lease_of(kept).any(); }));
  // And takes it anew.
  CHECK(becomes([&] { return ::fcntl(*guest, F_SETLEASE, F_WRLCK) == 0; }));
  CHECK(becomes([&] { return lease_of(kept) == Lease{F_WRLCK, 0}; }));
  CHECK(lease_of(*guest) == Lease{F_WRLCK, 0});
  ::close(kept);
}

TEST_CASE_FIXTURE(Fixture, "a guest that takes it anew at once has let go all the same") {
  arrive(O_RDWR, F_WRLCK);
  std::atomic<bool> in{false};
  std::thread opener([&] {
    const UniqueFd fd(::open(at_home().c_str(), O_RDWR | O_CLOEXEC));
    in = true;
  });
  CHECK(becomes([&] {
    if (lease_of(*guest).breaking == 0) return in.load();
    (void)::fcntl(*guest, F_SETLEASE, F_UNLCK);
    (void)::fcntl(*guest, F_SETLEASE, F_WRLCK);
    return in.load();
  }));
  opener.join();
  ::close(kept);
}

TEST_CASE_FIXTURE(Fixture,
                  "a lease that a guest took away from home is home's, too, once it is asked for") {
  guest.reset(::open(here().c_str(), O_RDWR | O_CLOEXEC));
  REQUIRE(::fcntl(*guest, F_SETLEASE, F_WRLCK) == 0);
  FileLocks asked;
  asked.pid = ::getpid();
  asked.number = *guest;
  SUBCASE("by one who did not see it") {
    REQUIRE(::ioctl(*guest, kAskLocks, &asked) == 0);
    CHECK(asked.leased == 0);
    CHECK(UniqueFd(::open(at_home().c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC)));
  }
  SUBCASE("by one who did") {
    asked.leased = 1;
    REQUIRE(::ioctl(*guest, kAskLocks, &asked) == 0);
    CHECK(asked.leased == 1);
    CHECK(
        (::open(at_home().c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC) < 0 && errno == EWOULDBLOCK));
    CHECK(becomes([&] {
      return lease_of(*guest) == Lease{F_RDLCK, 1} || lease_of(*guest).breaking != 0;
    }));
    REQUIRE(::fcntl(*guest, F_SETLEASE, F_UNLCK) == 0);
    CHECK(becomes([&] {
      return UniqueFd(::open(at_home().c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC)).get() >= 0;
    }));
  }
  SUBCASE("while somebody at home has the file open: it has to go") {
    const UniqueFd stranger(::open(at_home().c_str(), O_RDWR | O_CLOEXEC));
    asked.leased = 1;
    REQUIRE(::ioctl(*guest, kAskLocks, &asked) == 0);
    CHECK(asked.leased == 0);
    CHECK(becomes([&] { return lease_of(*guest).breaking != 0; }));
  }
}

TEST_CASE_FIXTURE(Fixture, "a reader leaves a lease for reading alone, a writer breaks it") {
  arrive(O_RDONLY, F_RDLCK);
  CHECK(UniqueFd(::open(at_home().c_str(), O_RDONLY | O_CLOEXEC)));
  CHECK(UniqueFd(::open(here().c_str(), O_RDONLY | O_CLOEXEC)));
  CHECK(lease_of(*guest) == Lease{F_RDLCK, 0});
  CHECK(::open(at_home().c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC) < 0);
  CHECK(becomes([&] { return lease_of(*guest) == Lease{F_UNLCK, 1}; }));
  REQUIRE(::fcntl(*guest, F_SETLEASE, F_UNLCK) == 0);
  CHECK(becomes([&] {
    return UniqueFd(::open(at_home().c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC)).get() >= 0;
  }));
  ::close(kept);
}

TEST_CASE_FIXTURE(Fixture, "a guest that opens its own file again breaks its lease and gets in") {
  arrive(O_RDWR, F_WRLCK);
  CHECK((::open(here().c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC) < 0 && errno == EWOULDBLOCK));
  CHECK(lease_of(*guest) == Lease{F_RDLCK, 1});
  REQUIRE(::fcntl(*guest, F_SETLEASE, F_UNLCK) == 0);
  // Home has it still, for a moment that the opener does not see.
  CHECK(UniqueFd(::open(here().c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC)));
  CHECK(UniqueFd(::open(here().c_str(), O_WRONLY | O_CLOEXEC)));
  ::close(kept);
}

TEST_CASE_FIXTURE(Fixture, "a closed file has no lease at home either, and nothing is held up") {
  arrive(O_RDWR, F_WRLCK);
  ::close(kept);
  guest.reset();
  CHECK(becomes([&] {
    return UniqueFd(::open(at_home().c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC)).get() >= 0;
  }));
}

TEST_CASE_FIXTURE(Fixture, "a lease that a restarted store has lost is broken") {
  arrive(O_RDWR, F_WRLCK);
  ::close(kept);
  {
    std::lock_guard lock(dialling);
    home.stop();
    home.start();
  }
  CHECK(becomes([&] { return lease_of(*guest) == Lease{F_UNLCK, 1}; }));
}

TEST_CASE_FIXTURE(Fixture, "one who waits for a stranger's lease at home gets in when it is gone") {
  UniqueFd stranger(::open(at_home().c_str(), O_RDWR | O_CLOEXEC));
  REQUIRE(::fcntl(*stranger, F_SETLEASE, F_WRLCK) == 0);
  CHECK((::open(here().c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC) < 0 && errno == EWOULDBLOCK));
  std::atomic<bool> in{false};
  std::thread opener([&] {
    const UniqueFd fd(::open(here().c_str(), O_RDONLY | O_CLOEXEC));
    in = fd.get() >= 0;
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  CHECK(!in);
  stranger.reset();
  opener.join();
  CHECK(in);
}
