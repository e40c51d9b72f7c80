#include "migrate/deputy/kept_descriptors.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstddef>
#include <cstring>
#include <fstream>

#include "migrate/deputy/test_original.h"
#include "ssid/base/deputy_lock.h"
#include "ssid/base/deputy_lock_wire.h"
#include "ssid/base/record_lock.h"

namespace ssi::deputy {

using namespace testing;

namespace {

// Three descriptors of a file with a lock, the last one not closed by execve; and one of another.
constexpr char kProgram[] = R"(
import fcntl, os, sys, time
path = sys.argv[1]
files = [os.open(path, os.O_RDWR | os.O_CREAT), os.open(path, os.O_RDONLY), os.open(path + ".other", os.O_RDWR | os.O_CREAT)]
files.append(os.dup2(files[0], 40, inheritable=True))
fcntl.lockf(files[0], fcntl.LOCK_EX | fcntl.LOCK_NB, 10, 10)
fcntl.lockf(files[2], fcntl.LOCK_SH | fcntl.LOCK_NB)
print(*files, file=open(path + ".new", "w"), flush=True)
os.rename(path + ".new", path + ".ready")
while True: time.sleep(0.001)
)";

}  // namespace

TEST_CASE("a record lock for writing is the deputy's, and was nobody else's at any time") {
  TestDir dir;
  const std::string path = dir.path("locked");
  Original original({"/usr/bin/python3", "-c", kProgram, path});
  for (int i = 0; i < 5000 && ::access((path + ".ready").c_str(), F_OK) != 0; ++i) ::usleep(1000);
  int first = -1, second = -1, other = -1, last = -1;
  std::ifstream(path + ".ready") >> first >> second >> other >> last;
  REQUIRE(last == 40);
  const pid_t pid = original.family.child();
  original.hold();
  CHECK(kept_descriptors(pid) ==
        std::vector<KeptDescriptor>{{first, true}, {second, true}, {last, false}});
  CHECK(kept_list(kept_descriptors(pid)) ==
        std::to_string(first) + "," + std::to_string(second) + ",40,");

  const int mine = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
  REQUIRE(mine >= 0);
  const auto holder = [&] {
    auto lock = record_lock(F_RDLCK, 19, 1);
    REQUIRE(::fcntl(mine, F_GETLK, &lock) == 0);
    return lock.l_type == F_UNLCK ? 0 : lock.l_pid;
  };
  original.convert_and_meet();
  CHECK(holder() == pid);
  CHECK(original.end_with(exit_message(3)) == "exited 3");
  CHECK(holder() == 0);
  ::close(mine);
}

TEST_CASE("what a deputy is asked to lock it locks, and is a deputy as before") {
  TestDir dir;
  const std::string path = dir.path("locked");
  Original original({"/usr/bin/python3", "-c", kProgram, path});
  for (int i = 0; i < 5000 && ::access((path + ".ready").c_str(), F_OK) != 0; ++i) ::usleep(1000);
  const pid_t pid = original.family.child();
  original.hold();
  original.convert();
  auto lock = record_lock(F_WRLCK, 50, 1);
  CHECK_FALSE(lock_by_deputy(pid, 40, F_SETLK, lock, std::chrono::milliseconds(200)).ok());
  original.cgroup.thaw();
  REQUIRE(original.host.accept());
  for (int i = 0; i < 100; ++i) {
    lock = record_lock(i % 2 == 0 ? F_WRLCK : F_UNLCK, 50, 1);
    const auto done = lock_by_deputy(pid, 40, F_SETLK, lock, std::chrono::seconds(5));
    REQUIRE_MESSAGE(done.ok(), done.error().message());
    REQUIRE(*done == 0);
  }
  // Who has not waited for it gets nothing later on.
  original.cgroup.freeze();
  lock = record_lock(F_WRLCK, 60, 1);
  CHECK_FALSE(lock_by_deputy(pid, 40, F_SETLK, lock, std::chrono::milliseconds(200)).ok());
  original.cgroup.thaw();
  lock = record_lock(F_WRLCK, 60, 1);
  const auto mine = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
  CHECK(lock_by_deputy(pid, 40, F_GETLK, lock, std::chrono::seconds(5)).ok());
  lock = record_lock(F_WRLCK, 60, 1);
  CHECK(::fcntl(mine, F_SETLK, &lock) == 0);
  CHECK(lock_by_deputy(pid, 40, F_SETLK, lock, std::chrono::seconds(5)).value_or(-1) == EAGAIN);
  lock = record_lock(F_WRLCK, 55, 10);
  CHECK(lock_by_deputy(pid, 40, F_GETLK, lock, std::chrono::seconds(5)).value_or(-1) == 0);
  CHECK(lock.l_pid == ::getpid());
  ::close(mine);
  original.send(SIGUSR1);
  CHECK(original.end_with(exit_message(37)) == "exited 37");
}

TEST_CASE(
    "somebody has taken its name: it is a deputy all the same, and listens as soon as it may") {
  TestDir dir;
  const std::string path = dir.path("locked");
  Original original({"/usr/bin/python3", "-c", kProgram, path});
  for (int i = 0; i < 5000 && ::access((path + ".ready").c_str(), F_OK) != 0; ++i) ::usleep(1000);
  const pid_t pid = original.family.child();
  const std::string name = kDeputyLockName + std::to_string(pid);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path + 1, name.data(), name.size());
  UniqueFd taken(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  REQUIRE(::bind(*taken, reinterpret_cast<const sockaddr*>(&address),
                 static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size())) == 0);
  REQUIRE(::listen(*taken, 1) == 0);
  original.hold();
  original.convert_and_meet();
  auto lock = record_lock(F_WRLCK, 50, 1);
  const auto asked = lock_by_deputy(pid, 40, F_SETLK, lock, std::chrono::milliseconds(200));
  REQUIRE_FALSE(asked.ok());
  CHECK(asked.error().message().starts_with("somebody else has the name"));
  taken.reset();
  CHECK(lock_by_deputy(pid, 40, F_SETLK, lock, std::chrono::seconds(5)).value_or(-1) == 0);
  CHECK(original.end_with(exit_message(3)) == "exited 3");
}

}  // namespace ssi::deputy
