// Both halves of a move with real CRIU, real realms and the real freezer, on one machine: node 1 is
// home, "nodes" 2 and 3 are realms of it here, whose root is this machine's own. Needs root; criu's
// path is in SSID_CRIU, ssid-realm's directory in SSID_BIN.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <thread>

#include "migrate/criu/criu_bundle.h"
#include "migrate/criu/criu_process.h"
#include "migrate/move/frozen_copy.h"
#include "migrate/move/source_move.h"
#include "migrate/move/target_move.h"
#include "migrate/realm/realm_client.h"
#include "ssid/base/spawn.h"

namespace ssi::migrate {
namespace {

namespace fs = std::filesystem;

CriuFiles criu_files() {
  return {std::getenv("SSID_CRIU"), std::string(std::getenv("SSID_BIN")) + "/" + kCriuLibrary};
}

class SocketLink : public MoveLink {
 public:
  explicit SocketLink(UniqueFd fd) : fd_(std::move(fd)) {}
  Result<> send(MoveFrame type, std::span<const std::uint8_t> payload) override {
    const std::uint32_t head[2] = {static_cast<std::uint32_t>(type),
                                   static_cast<std::uint32_t>(payload.size())};
    SSI_TRY(write_all(head, sizeof head));
    return write_all(payload.data(), payload.size());
  }
  Result<Frame> receive() override {
    std::uint32_t head[2];
    SSI_TRY(read_all(head, sizeof head));
    buffer_.resize(head[1]);
    SSI_TRY(read_all(buffer_.data(), buffer_.size()));
    return Frame{static_cast<MoveFrame>(head[0]), buffer_};
  }
  void abort() override { ::shutdown(*fd_, SHUT_RDWR); }

 private:
  Result<> write_all(const void* data, std::size_t size) {
    const char* at = static_cast<const char*>(data);
    for (ssize_t n; size > 0; at += n, size -= static_cast<std::size_t>(n)) {
      if ((n = ::send(*fd_, at, size, MSG_NOSIGNAL)) <= 0) return Error::from_errno("link");
    }
    return {};
  }
  Result<> read_all(void* data, std::size_t size) {
    if (size > 0 && ::recv(*fd_, data, size, MSG_WAITALL) != static_cast<ssize_t>(size)) {
      return Error("link closed");
    }
    return {};
  }
  UniqueFd fd_;
  std::vector<std::uint8_t> buffer_;
};

struct NoStreams : StreamPort {
  Result<> export_at_home(const StreamRef&, int, const std::vector<pid_t>&) override { return {}; }
  Result<UniqueFd> attach(NodeId, const StreamRef&) override { return Error("no streams here"); }
  Result<UniqueFd> attach_named(NodeId, const StreamRef&, int,
                                const std::vector<StreamRef>&) override {
    return Error("no streams here");
  }
  Result<std::vector<StreamRef>> accepted_by(const StreamRef&) override {
    return std::vector<StreamRef>();
  }
  Result<UniqueFd> attach_socket(NodeId, const StreamRef&, int) override {
    return Error("no streams here");
  }
  Result<> start(const StreamRef&) override { return {}; }
  Result<> drain(const StreamRef&, std::optional<std::uint32_t>) override { return {}; }
  Result<> resume(const StreamRef&) override { return {}; }
  void detach(const StreamRef&) override {}
  void close_at_home(const StreamRef&) override {}
};

struct NoFiles : fds::FilePort {
  Result<std::uint64_t> hold(std::uint32_t, int) override { return Error("no files here"); }
  Result<UniqueFd> open(std::uint32_t, const fds::HeldFile&) override {
    return Error("no files here");
  }
  Result<std::uint64_t> leave_locks(int, pid_t, const fds::HeldFile&) override {
    return Error("no files here");
  }
  Result<std::uint64_t> hold_locks(std::uint32_t, int, pid_t) override {
    return Error("no files here");
  }
  Result<> expect_opening(std::uint32_t, const fds::HeldFile&) override {
    return Error(ErrorCode::kRefused, "no files here");
  }
  Result<> expect_locks(std::uint32_t, const fds::HeldFile&) override {
    return Error("no files here");
  }
  void release(std::uint32_t, const fds::HeldFile&) override {}
};

// The group's order, played by one object for all nodes.
struct Order {
  CommitFate fate = CommitFate::kCommitted;
  std::atomic<int> decided{0};  // 0 open, 1 committed, 2 aborted
  std::function<void()> before_commit = [] {};
};

struct Host : MoveHost {
  Order& order;
  std::string socket;
  explicit Host(Order& o) : order(o) {}
  Result<std::string> prepare_realm(NodeId) override { return socket; }
  Result<> quiet_network(const MoveTicket&, const std::vector<net::MovedSocket>&) override {
    return {};
  }
  Result<> hold_network(const MoveTicket&, const std::vector<net::MovedSocket>&) override {
    return {};
  }
  void release_network(const MoveTicket&) override {}
  Result<> refresh_files(NodeId) override { return {}; }
  Result<UniqueFd> open_root(NodeId) override {
    return UniqueFd(::open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
  }
  Result<> tell_watchers(NodeId, pid_t) override { return {}; }
  Result<> rebuild_sockets(NodeId, const std::string&, bool) override {
    return Error("no sockets here");
  }
  CommitFate commit(const MoveTicket&) override {
    order.before_commit();
    order.decided = order.fate == CommitFate::kCommitted ? 1 : 2;
    return order.fate;
  }
  void abandon(const MoveTicket&, const std::string&) override { order.decided = 2; }
  CommitFate await_commit(const MoveTicket&) override {
    while (order.decided == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    return order.decided == 1 ? CommitFate::kCommitted : CommitFate::kAborted;
  }
  Result<> remember_guest(const MoveTicket&, const std::vector<StreamRef>&) override { return {}; }
  void forget_guest(const MoveTicket&) override {}
  void stand_down(const MoveTicket&, const Carried&) override {}
};

// One node of the test: a realm for home 1 whose root is this machine's.
class TestNode {
 public:
  TestNode(std::uint32_t number, Order& order)
      : id{number},
        dir("/run/ssid-move-test/" + std::to_string(number)),
        host(order),
        freezer(FreezerRoot::open().value()),
        env{id,   freezer,      streams,         files,
            host, criu_files(), dir + "/images", userfaultfd_by(SSID_UFFD_PROGRAM)} {
    fs::create_directories(dir + "/root");
    REQUIRE(::mount("none", dir.c_str(), "tmpfs", 0, nullptr) == 0);
    fs::create_directories(dir + "/root");
    REQUIRE(make_criu_bundle(criu_files(), dir + "/criu").ok());
    if (number == 1) return;
    fs::create_directories("/run/ssid");
    REQUIRE(::mount("/", (dir + "/root").c_str(), nullptr, MS_BIND, nullptr) == 0);
    host.socket = dir + "/realm.sock";
    auto started =
        run_to_end({std::string(std::getenv("SSID_BIN")) + "/ssid-realm", "--home", "1", "--node",
                    std::to_string(number), "--root", dir + "/root", "--hostname", "home", "--criu",
                    dir + "/criu", "--socket", host.socket});
    if (!started) FAIL(started.error().message());
  }
  ~TestNode() {
    if (!host.socket.empty()) {
      auto realm = RealmClient::connect(host.socket);
      if (realm) CHECK(realm->call(RealmOp::kQuit).ok());
      ::umount2((dir + "/root").c_str(), MNT_DETACH);
    }
    ::umount2(dir.c_str(), MNT_DETACH);
  }

  NodeId id;
  std::string dir;
  Host host;
  NoStreams streams;
  NoFiles files;
  FreezerRoot freezer;
  MoveEnvironment env;
};

// A program that counts in a file, so that one sees whether it runs.
class Counter {
 public:
  explicit Counter(int memory_mib = 1, const std::string& first = "")
      : path("/tmp/ssid-move-test." + std::to_string(::getpid())) {
    std::ofstream(path) << "";
    SpawnOptions o;
    o.argv = {"/usr/bin/python3", "-c",
              "import os,time\n" + first + "\nx=bytearray(os.urandom(1<<20))*" +
                  std::to_string(memory_mib) + "\nf=open('" + path +
                  "','w')\ni=0\n"
                  "while True:\n i+=1; f.seek(0); f.write('%d %d' % (i, os.getpid())); f.flush(); "
                  "time.sleep(0.005)"};
    pid = spawn(o).value();
    wait_for_progress();
  }
  ~Counter() {
    ::kill(pid, SIGKILL);
    int status;
    ::waitpid(pid, &status, 0);
    fs::remove(path);
  }
  long count() const {
    long n = 0;
    std::ifstream(path) >> n;
    return n;
  }
  bool wait_for_progress() const {
    const long before = count();
    for (int i = 0; i < 1000; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
      if (count() > before) return true;
    }
    return false;
  }
  bool stands_still() const {
    const long before = count();
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    return count() == before;
  }
  std::string path;
  pid_t pid = 0;
};

// The pagers that work on this machine now.
std::vector<pid_t> pagers() {
  std::vector<pid_t> found;
  std::error_code ec;
  for (const auto& entry : fs::directory_iterator("/proc", ec)) {
    std::string name;
    std::ifstream(entry.path() / "comm") >> name;
    if (name == "ssid-pager") found.push_back(std::atoi(entry.path().filename().c_str()));
  }
  return found;
}

template <typename Condition>
bool within_10_s(Condition condition) {
  for (int i = 0; i < 10000; ++i) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return false;
}

Result<MoveReport> move(TestNode& from, TestNode& to, const MoveTicket& ticket,
                        const MoveSource& source) {
  auto pair = make_socket_pair(SOCK_STREAM).value();
  SocketLink here(std::move(pair.here)), there(std::move(pair.there));
  std::jthread target([&] {
    auto offer = receive_offer(there);
    if (offer) (void)run_target_move(to.env, there, *offer);
  });
  SSI_TRY(offer_move(here, ticket, source));
  return run_source_move(from.env, here, ticket, source);
}

void end_originals(const FreezerCgroup& all) {
  REQUIRE(all.kill(std::chrono::seconds(5)).ok());
  const auto held = part_originals(all).value();
  for (const HeldOriginal& original : held) {
    REQUIRE(original.cgroup.remove().ok());
  }
  REQUIRE(all.remove().ok());
}

// The guest of a first move, and the frozen original.
void end_copies(TestNode& from, TestNode& to, const MoveTicket& ticket) {
  const CopyName guest{ticket.pid, Epoch{1}};
  auto realm = RealmClient::connect(to.host.socket).value();
  REQUIRE(realm.call(RealmOp::kForget, ticket.pid.pid).ok());
  auto copy = FreezerCgroup::open(to.freezer.guest(guest)).value();
  REQUIRE(copy.kill(std::chrono::seconds(5)).ok());
  REQUIRE(copy.remove().ok());
  auto original = FreezerCgroup::open(from.freezer.moving(guest)).value();
  end_originals(original);
}

}  // namespace

TEST_CASE("a process moves to a realm, on to another and is the same process" *
          doctest::skip(std::getenv("SSID_CRIU") == nullptr || ::geteuid() != 0)) {
  Order order;
  TestNode one(1, order), two(2, order), three(3, order);
  Counter counter;
  MoveTicket ticket{.pid = {one.id, counter.pid}, .from = one.id, .to = two.id, .epoch = Epoch{1}};
  auto first = move(one, two, ticket, {.host_pid = counter.pid});
  if (!first) FAIL(first.error().message());
  CHECK(counter.wait_for_progress());

  order.decided = 0;
  MoveTicket on{.pid = ticket.pid, .from = two.id, .to = three.id, .epoch = Epoch{2}};
  const CopyName guest{ticket.pid, Epoch{1}};
  auto second =
      move(two, three, on, {.host_pid = 0, .guest = guest, .realm_socket = two.host.socket});
  if (!second) FAIL(second.error().message());
  auto old_copy = FreezerCgroup::open(two.freezer.guest(guest)).value();
  auto realm = RealmClient::connect(two.host.socket).value();
  REQUIRE(realm.call(RealmOp::kForget, counter.pid).ok());
  REQUIRE(old_copy.kill(std::chrono::seconds(5)).ok());
  REQUIRE(old_copy.remove().ok());
  CHECK(counter.wait_for_progress());

  // The third copy ends.
  auto last = FreezerCgroup::open(three.freezer.guest({ticket.pid, Epoch{2}})).value();
  auto last_realm = RealmClient::connect(three.host.socket).value();
  REQUIRE(last_realm.call(RealmOp::kForget, counter.pid).ok());
  REQUIRE(last.kill(std::chrono::seconds(5)).ok());
  REQUIRE(last.remove().ok());
  CHECK(counter.stands_still());
  // The original still stands frozen under its PID.
  auto original = FreezerCgroup::open(one.freezer.moving({ticket.pid, Epoch{1}})).value();
  const auto held = part_originals(original).value();
  REQUIRE(held.size() == 1);
  CHECK(held[0].cgroup.pids().value() == std::vector<pid_t>{counter.pid});
  end_originals(original);
}

TEST_CASE("the parts of a move's frozen time by size" *
          doctest::skip(std::getenv("SSID_CRIU") == nullptr || ::geteuid() != 0)) {
  for (const int mib : {1, 64, 512}) {
    Order order;
    TestNode one(1, order), two(2, order);
    Counter counter(mib);
    MoveTicket ticket{
        .pid = {one.id, counter.pid}, .from = one.id, .to = two.id, .epoch = Epoch{1}};
    auto report = move(one, two, ticket, {.host_pid = counter.pid});
    if (!report) FAIL(report.error().message());
    MESSAGE(mib, " MiB: frozen ", report->frozen_us / 1000, " ms = freeze ",
            report->freeze_us / 1000, " + dump ", report->dump_us / 1000, " + send ",
            report->send_us / 1000, " + restore ", report->restore_us / 1000, " + commit ",
            report->commit_us / 1000, "; ", report->memory_bytes >> 20, " MiB");
    CHECK((report->memory_bytes >> 20) >= static_cast<unsigned>(mib));
    end_copies(one, two, ticket);
  }
}

TEST_CASE("a move that is not committed leaves the process running at its source and nothing else" *
          doctest::skip(std::getenv("SSID_CRIU") == nullptr || ::geteuid() != 0)) {
  Order order{CommitFate::kAborted};
  TestNode one(1, order), two(2, order);
  Counter counter;
  MoveTicket ticket{.pid = {one.id, counter.pid}, .from = one.id, .to = two.id, .epoch = Epoch{1}};
  auto moved = move(one, two, ticket, {.host_pid = counter.pid});
  REQUIRE(!moved.ok());
  CHECK(moved.error().message() == "the cluster did not take the move (a node left, or no quorum)");
  CHECK(counter.wait_for_progress());
  CHECK(::access(one.freezer.moving({ticket.pid, Epoch{1}}).c_str(), F_OK) != 0);
  CHECK(::access(two.freezer.guest({ticket.pid, Epoch{1}}).c_str(), F_OK) != 0);
  CHECK(within_10_s([] { return pagers().empty(); }));
}

TEST_CASE("a process that can't be copied ahead moves all the same" *
          doctest::skip(std::getenv("SSID_CRIU") == nullptr || ::geteuid() != 0)) {
  Order order;
  TestNode one(1, order), two(2, order);
  Counter counter(16, "d=os.open('/proc/self/exe',os.O_RDONLY|os.O_DIRECT)");
  MoveTicket ticket{.pid = {one.id, counter.pid}, .from = one.id, .to = two.id, .epoch = Epoch{1}};
  auto report = move(one, two, ticket, {.host_pid = counter.pid});
  if (!report) FAIL(report.error().message());
  CHECK(report->why_not_copied.find("direct I/O") != std::string::npos);
  CHECK(report->copied_bytes == 0);
  CHECK(report->frozen_bytes == report->memory_bytes);
  CHECK(counter.wait_for_progress());
  CHECK(within_10_s([] { return pagers().empty(); }));
  CHECK(counter.wait_for_progress());
  end_copies(one, two, ticket);
}

TEST_CASE("the pager dies: its process is killed, and reads no wrong memory before" *
          doctest::skip(std::getenv("SSID_CRIU") == nullptr || ::geteuid() != 0)) {
  Order order;
  TestNode one(1, order), two(2, order);
  Counter counter(256);
  MoveTicket ticket{.pid = {one.id, counter.pid}, .from = one.id, .to = two.id, .epoch = Epoch{1}};
  // Killed before the commit is known, when nothing but what criu touched is in its place.
  order.before_commit = [] {
    const auto found = pagers();
    REQUIRE(found.size() == 1);
    ::kill(found[0], SIGKILL);
  };
  auto report = move(one, two, ticket, {.host_pid = counter.pid});
  if (!report) FAIL(report.error().message());
  auto copy = FreezerCgroup::open(two.freezer.guest({ticket.pid, Epoch{1}})).value();
  CHECK(within_10_s([&] { return copy.pids().value().empty(); }));
  CHECK(counter.stands_still());
  CHECK(pagers().empty());
  end_copies(one, two, ticket);
}

}  // namespace ssi::migrate
