#include "fs/store/deputy_locks.h"

#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <atomic>
#include <cerrno>

#include "fs/store/test_client.h"
#include "ssid/base/record_lock.h"

using namespace ssi;
using namespace ssi::fs;

namespace {

// A process that has bytes 10 to 19 of a file for writing, becomes a deputy when we say so, and
// waits.
struct Owner {
  explicit Owner(const std::string& path)
      : fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644)) {
    REQUIRE(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, asks_) == 0);
    int ready[2];
    REQUIRE(::pipe2(ready, O_CLOEXEC) == 0);
    const UniqueFd hears(ready[0]), tells(ready[1]);
    pid = ::fork();
    REQUIRE(pid >= 0);
    if (pid == 0) {
      auto lock = record_lock(F_WRLCK, 10, 10);
      if (::fcntl(*fd, F_SETLK, &lock) == 0 && ::write(*tells, "x", 1) == 1) {
        serve(asks_[1]);
      }
      ::_exit(1);
    }
    char byte;
    REQUIRE(::read(*hears, &byte, 1) == 1);
  }
  ~Owner() {
    end();
    ::close(asks_[0]);
    ::close(asks_[1]);
  }
  void end() {
    if (pid <= 0) return;
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
    pid = 0;
  }
  struct Asked {
    int command = 0;
    int number = -1;
    int error = 0;
    struct flock lock {};
  };
  static void serve(int socket) {
    for (Asked asked; ::read(socket, &asked, sizeof asked) == sizeof asked;) {
      asked.error = ::fcntl(asked.number, asked.command, &asked.lock) == 0 ? 0 : errno;
      if (::write(socket, &asked, sizeof asked) != sizeof asked) return;
    }
  }
  Result<int> ask(int number, int command, struct flock& lock) const {
    Asked asked{command, number, 0, lock};
    REQUIRE(::write(asks_[0], &asked, sizeof asked) == sizeof asked);
    REQUIRE(::read(asks_[0], &asked, sizeof asked) == sizeof asked);
    lock = asked.lock;
    return asked.error;
  }

  std::shared_ptr<DeputyLocks> locks() {
    DeputyLocks::Access access{[this](pid_t) { return is_deputy.load(); },
                               [this](pid_t, int number, int command, struct flock& lock) {
                                 return ask(number, command, lock);
                               }};
    struct stat st {};
    REQUIRE(::fstat(*fd, &st) == 0);
    auto process = ProcessHandle::open(pid);
    REQUIRE(process.ok());
    return std::make_shared<DeputyLocks>(
        DeputyLocks::Owner{std::move(*process), *fd, st.st_dev, st.st_ino},
        std::vector<LockRange>{{10, 19, F_WRLCK, 0}}, std::move(access));
  }
  // Who keeps others from writing there.
  pid_t holder(off_t at) const {
    auto lock = record_lock(F_WRLCK, at, 1);
    REQUIRE(::fcntl(*fd, F_GETLK, &lock) == 0);
    return lock.l_type == F_UNLCK ? 0 : lock.l_pid;
  }

  UniqueFd fd;
  pid_t pid = 0;
  std::atomic<bool> is_deputy = false;

 private:
  int asks_[2] = {-1, -1};
};

int adopt(Client& client, std::uint64_t node, std::uint64_t owner, std::uint64_t id) {
  RequestHead head;
  head.op = Op::kAdoptLocks;
  head.node = node;
  const AdoptLocksBody body{id, owner};
  return client.ask(head, {bytes_of(body)});
}

int ask_lock(Client& client, Op op, std::uint64_t node, std::uint64_t owner,
             const struct flock& l) {
  RequestHead head;
  head.op = op;
  head.node = node;
  LockBody body;
  body.owner = owner;
  body.type = static_cast<std::uint32_t>(l.l_type);
  body.start = static_cast<std::uint64_t>(l.l_start);
  body.length = static_cast<std::uint64_t>(l.l_len);
  return client.ask(head, {bytes_of(body)});
}

}  // namespace

TEST_CASE("what the process has is got while it is no deputy yet, without asking it") {
  TempDir dir;
  Owner owner(dir.path + "/f");
  const auto locks = owner.locks();
  CHECK(locks->set(record_lock(F_WRLCK, 10, 10)) == 0);
  CHECK(owner.holder(10) == owner.pid);
}

TEST_CASE("a guest's lock stays its deputy's: changed, told and let go by that one") {
  TempDir dir;
  Owner owner(dir.path + "/f");
  Store store({.root = dir.path});
  const std::uint64_t id = store.held().hold(
      std::make_shared<const UniqueFd>(::open((dir.path + "/f").c_str(), O_RDWR)), owner.locks());
  Client guest(store);
  EntryReply entry;
  REQUIRE(guest.lookup(kRootNode, "f", entry) == 0);
  constexpr std::uint64_t kGuest = 7, kOther = 8;
  REQUIRE(adopt(guest, entry.node, kGuest, id) == 0);
  CHECK(ask_lock(guest, Op::kSetlk, entry.node, kGuest, record_lock(F_WRLCK, 10, 10)) == 0);
  store.held().release(id);
  owner.is_deputy = true;

  CHECK(ask_lock(guest, Op::kSetlk, entry.node, kOther, record_lock(F_RDLCK, 15, 1)) == EAGAIN);
  CHECK(ask_lock(guest, Op::kSetlk, entry.node, kGuest, record_lock(F_UNLCK, 10, 5)) == 0);
  CHECK(owner.holder(14) == 0);
  CHECK(owner.holder(15) == owner.pid);
  CHECK(ask_lock(guest, Op::kSetlk, entry.node, kGuest, record_lock(F_WRLCK, 100, 0)) == 0);
  CHECK(owner.holder(1 << 20) == owner.pid);
  CHECK(ask_lock(guest, Op::kSetlk, entry.node, kOther, record_lock(F_WRLCK, 12, 1)) == 0);
  CHECK(ask_lock(guest, Op::kSetlk, entry.node, kGuest, record_lock(F_WRLCK, 10, 5)) == EAGAIN);

  REQUIRE(ask_lock(guest, Op::kGetlk, entry.node, kGuest, record_lock(F_WRLCK, 15, 5)) == 0);
  CHECK(guest.reply<LockBody>().type == F_UNLCK);  // its own
  REQUIRE(ask_lock(guest, Op::kGetlk, entry.node, kGuest, record_lock(F_WRLCK, 10, 5)) == 0);
  CHECK(guest.reply<LockBody>().start == 12);

  REQUIRE(ask_lock(guest, Op::kUnlockOwner, entry.node, kGuest, record_lock(F_UNLCK, 0, 0)) == 0);
  CHECK(owner.holder(15) == 0);
  CHECK(owner.holder(1 << 20) == 0);
  CHECK(ask_lock(guest, Op::kSetlk, entry.node, kGuest, record_lock(F_WRLCK, 15, 1)) == 0);
  CHECK(owner.holder(15) != owner.pid);  // any other way from then on
}

TEST_CASE("it moves on: held by the next node, too, and let go by the last one") {
  TempDir dir;
  Owner owner(dir.path + "/f");
  owner.is_deputy = true;
  Store store({.root = dir.path});
  const std::uint64_t id = store.held().hold(
      std::make_shared<const UniqueFd>(::open((dir.path + "/f").c_str(), O_RDWR)), owner.locks());
  Client source(store, 1), target(store, 2);
  EntryReply there, here;
  REQUIRE(source.lookup(kRootNode, "f", there) == 0);
  REQUIRE(target.lookup(kRootNode, "f", here) == 0);
  REQUIRE(adopt(source, there.node, 1, id) == 0);
  store.held().release(id);
  REQUIRE(ask_lock(source, Op::kHoldLocks, there.node, 1, record_lock(F_UNLCK, 0, 0)) == 0);
  const std::uint64_t next = source.reply<HeldBody>().id;
  REQUIRE(adopt(target, here.node, 2, next) == 0);
  store.held().release(next);
  bool moved = true;
  SUBCASE("the move is done") {
    CHECK(ask_lock(source, Op::kUnlockOwner, there.node, 1, record_lock(F_UNLCK, 0, 0)) == 0);
  }
  SUBCASE("it came to nothing") {
    CHECK(ask_lock(target, Op::kUnlockOwner, here.node, 2, record_lock(F_UNLCK, 0, 0)) == 0);
    moved = false;
  }
  CHECK(owner.holder(10) == owner.pid);
  Client& now = moved ? target : source;
  const std::uint64_t node = moved ? here.node : there.node;
  CHECK(ask_lock(now, Op::kSetlk, node, moved ? 2 : 1, record_lock(F_UNLCK, 10, 5)) == 0);
  CHECK(owner.holder(10) == 0);
  CHECK(ask_lock(now, Op::kUnlockOwner, node, moved ? 2 : 1, record_lock(F_UNLCK, 0, 0)) == 0);
  CHECK(owner.holder(15) == 0);
}

TEST_CASE("the end of a copy whose move came to nothing takes nothing from the original") {
  TempDir dir;
  Owner owner(dir.path + "/f");
  HeldFiles held;
  const auto file = std::make_shared<const UniqueFd>(::open("/dev/null", O_RDONLY));
  auto of_copy = owner.locks();
  held.release(held.hold(file, of_copy));
  SUBCASE("while it is the original") {
    of_copy.reset();
    CHECK(owner.holder(10) == owner.pid);
  }
  SUBCASE("or late, when it has moved once more") {
    const std::uint64_t id = held.hold(file, owner.locks());
    owner.is_deputy = true;
    of_copy.reset();
    CHECK(owner.holder(10) == owner.pid);
    held.release(id);  // of the last one
    CHECK(owner.holder(10) == 0);
  }
}

TEST_CASE("a deputy that is gone has no locks, and gets none") {
  TempDir dir;
  Owner owner(dir.path + "/f");
  owner.is_deputy = true;
  const auto locks = owner.locks();
  owner.end();
  CHECK(locks->set(record_lock(F_WRLCK, 0, 1)) == ENOLCK);
}
