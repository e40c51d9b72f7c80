// Streams from node to node: three carriers in one process, TLS over loopback between them.
#include "ssid/carrier/carrier.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "migrate/streams/test_net.h"
#include "ssid/carrier/control_server.h"
#include "ssid/wire/carrier/carrier_client.h"

using namespace ssi;
using migrate::read_exactly;

namespace {

struct Node {
  explicit Node(std::uint32_t number, const std::string& dir)
      : id(number), socket(dir + "/" + std::to_string(number) + ".sock") {
    std::vector<std::byte> key(64, std::byte{42});
    auto tls = TlsContext::from_key(key, {number});
    REQUIRE(tls.ok());
    carrier = std::make_unique<Carrier>(
        Carrier::Options{.address = "127.0.0.1", .port = 0, .root = "/"}, *tls);
    REQUIRE(carrier->listen().ok());
    auto started = ControlServer::start(socket, *carrier);
    REQUIRE(started.ok());
    control = std::move(started).value();
  }
  CarrierClient client() const {
    auto connected = CarrierClient::connect(socket);
    REQUIRE(connected.ok());
    return std::move(connected).value();
  }
  CarrierPeer peer() const { return {id, {"127.0.0.1"}, carrier->port()}; }

  std::uint32_t id;
  std::string socket;
  std::unique_ptr<Carrier> carrier;
  std::unique_ptr<ControlServer> control;
};

struct Fixture {
  Fixture() {
    std::signal(SIGPIPE, SIG_IGN);
    char pattern[] = "/tmp/ssid-carrier-XXXXXX";
    dir = ::mkdtemp(pattern);
    for (std::uint32_t n = 1; n <= 3; ++n) nodes.push_back(std::make_unique<Node>(n, dir));
  }
  ~Fixture() {
    nodes.clear();
    std::filesystem::remove_all(dir);
  }
  std::string dir;
  std::vector<std::unique_ptr<Node>> nodes;
};

}  // namespace

TEST_CASE_FIXTURE(Fixture, "a guest's pipes follow it around the nodes, home included") {
  int out[2], in[2];
  REQUIRE(::pipe2(out, O_CLOEXEC) == 0);
  REQUIRE(::pipe2(in, O_CLOEXEC) == 0);
  UniqueFd out_reader(out[0]), out_writer(out[1]), in_reader(in[0]), in_writer(in[1]);
  auto home = nodes[0]->client();
  const UniqueFd self(static_cast<int>(::syscall(SYS_pidfd_open, ::getpid(), 0)));
  REQUIRE(home.export_stream(11, CarrierDirection::kGuestWrites, *out_writer, *self).ok());
  REQUIRE(home.export_stream(12, CarrierDirection::kGuestReads, *in_reader, *self).ok());
  CHECK_FALSE(home.export_stream(12, CarrierDirection::kGuestReads, *in_reader, *self).ok());
  out_writer.reset();
  in_reader.reset();

  const std::string questions = "one line, and another one.\n";
  REQUIRE(::write(*in_writer, questions.data(), questions.size()) ==
          static_cast<ssize_t>(questions.size()));
  std::string asked, answered;
  const std::uint32_t path[] = {2, 3, 1, 2, 1, 3};
  std::uint64_t generation = 0;
  for (const std::uint32_t n : path) {
    auto node = nodes[n - 1]->client();
    ++generation;
    auto writes = node.attach_stream(
        {11, generation, CarrierDirection::kGuestWrites, 65536, nodes[0]->peer()});
    auto reads = node.attach_stream(
        {12, generation, CarrierDirection::kGuestReads, 65536, nodes[0]->peer()});
    REQUIRE(writes.ok());
    REQUIRE(reads.ok());
    CHECK(::fcntl(**writes, F_GETPIPE_SZ) == 65536);
    REQUIRE(node.start_stream(11).ok());
    REQUIRE(node.start_stream(12).ok());
    asked += read_exactly(**reads, 4);
    const std::string answer = "from node " + std::to_string(n) + "\n";
    REQUIRE(::write(**writes, answer.data(), answer.size()) == static_cast<ssize_t>(answer.size()));
    answered += answer;
    REQUIRE(node.drain_stream({.id = 11, .timeout_ms = 5000, .written = false}).ok());
    REQUIRE(node.drain_stream({.id = 12, .timeout_ms = 5000, .written = false}).ok());
    REQUIRE(node.detach_stream(11, generation).ok());
    REQUIRE(node.detach_stream(12, generation).ok());
    CHECK(read_exactly(*out_reader, answer.size()) == answer);
  }
  CHECK(asked == questions.substr(0, asked.size()));
  // An old one that wakes up is refused.
  const auto old = nodes[1]->client().attach_stream(
      {11, 2, CarrierDirection::kGuestWrites, 0, nodes[0]->peer()});
  REQUIRE_FALSE(old.ok());
  CHECK(old.error().code() == ErrorCode::kRefused);
  // The guest ends: the reader at home sees the end.
  REQUIRE(home.close_stream(11, 0).ok());
  REQUIRE(home.close_stream(12, 0).ok());
  CHECK(read_exactly(*out_reader, 1).empty());
  pollfd entry{*in_writer, 0, 0};
  CHECK(::poll(&entry, 1, 5000) == 1);
}

TEST_CASE_FIXTURE(Fixture, "a home that can't be reached is an error with a reason, soon") {
  const auto begin = std::chrono::steady_clock::now();
  auto node = nodes[1]->client();
  CarrierPeer nowhere{1, {"127.0.0.1"}, 1};
  CHECK_FALSE(node.attach_stream({1, 1, CarrierDirection::kGuestWrites, 0, nowhere}).ok());
  CHECK_FALSE(node.mount_view({nowhere, dir}).ok());
  // Another node answers there than the one that was meant.
  CarrierPeer wrong{1, {"127.0.0.1"}, nodes[2]->carrier->port()};
  const auto mistaken = node.mount_view({wrong, dir});
  REQUIRE_FALSE(mistaken.ok());
  CHECK(mistaken.error().message().find("another node") != std::string::npos);
  CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(10));
  CHECK(node.list_views()->empty());
}

TEST_CASE_FIXTURE(Fixture, "sockets are rebuilt in a view that there is, and in no other") {
  const std::string view = dir + "/view";
  std::filesystem::create_directory(view);
  auto node = nodes[1]->client();
  const RebuildSockets on{view, "/no/such/cgroup", true};
  const auto too_early = node.rebuild_sockets(on);
  REQUIRE_FALSE(too_early.ok());
  CHECK(too_early.error().code() == ErrorCode::kGone);
  REQUIRE(node.mount_view({nodes[0]->peer(), view}).ok());
  CHECK(node.rebuild_sockets(on).ok());
  CHECK(std::filesystem::exists(view + nodes[0]->socket));  // of nobody's rebuild
  CHECK(node.rebuild_sockets({view, on.cgroup, false}).ok());
  REQUIRE(node.unmount_view(view, false).ok());
  CHECK_FALSE(node.rebuild_sockets(on).ok());
}
