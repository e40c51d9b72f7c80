#include "ssid/api/control_server.h"

#include <doctest/doctest.h>
#include <grp.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <atomic>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <cstdio>
#include <future>
#include <nlohmann/json.hpp>
#include <random>
#include <thread>

#include "ssid/base/clock.h"
#include "ssid/base/log.h"
#include "ssid/wire/control_client.h"

namespace ssi {
namespace {

using nlohmann::json;

constexpr uid_t kSomebody = 31000;

// A server with a few ops on a loop of its own, as ssid has it.
struct Server {
  std::string dir = "/tmp/ssid-api-XXXXXX";
  boost::asio::io_context io{1};
  std::unique_ptr<ControlServer> server;
  std::thread loop;
  std::atomic<bool> quorum{true};
  std::atomic<int> cancelled{0};
  std::atomic<int> handled{0};
  std::atomic<int> flooded{0};
  std::shared_ptr<Responder> kept;  // of "keep"; loop only

  explicit Server(ControlServerOptions options = {}) {
    REQUIRE(::mkdtemp(dir.data()) != nullptr);
    ::chmod(dir.c_str(), 0755);
    options.path = path();
    set_log_sink([](LogLevel, std::string_view) {});
    auto started = ControlServer::start(io, options, table(), gate());
    REQUIRE(started.ok());
    server = std::move(*started);
    loop = std::thread([this] {
      auto work = boost::asio::make_work_guard(io);
      io.run();
    });
  }
  ~Server() {
    on_loop([this] {
      server.reset();
      kept.reset();
    });
    io.stop();
    loop.join();
    set_log_sink({});
    CHECK(::rmdir(dir.c_str()) == 0);  // the socket is gone
  }
  std::string path() const { return dir + "/s"; }

  void on_loop(std::function<void()> what) {
    std::promise<void> done;
    boost::asio::post(io, [&] {
      what();
      done.set_value();
    });
    done.get_future().wait();
  }
  std::size_t connections() {
    std::size_t n = 0;
    on_loop([&] { n = server->connections(); });
    return n;
  }
  bool wait_connections(std::size_t n) {
    for (int i = 0; i < 5000; ++i, ::poll(nullptr, 0, 1))
      if (connections() == n) return true;
    return false;
  }

  OpTable table() {
    return {
        {"echo", Privilege::kAnyone, false,
         [this](auto, json args, auto responder) {
           ++handled;
           responder->reply(args);
         }},
        {"who", Privilege::kAnyone, false,
         [](auto caller, json, auto responder) {
           responder->reply({{"uid", caller->uid}, {"pid", caller->pid}});
         }},
        {"root", Privilege::kRoot, false,
         [this](auto, json, auto responder) {
           ++handled;
           responder->reply("done");
         }},
        {"own", Privilege::kOwnerOfPid, false,
         [this](auto, json, auto responder) {
           ++handled;
           responder->reply("done");
         }},
        {"change", Privilege::kAnyone, true,
         [this](auto, json, auto responder) {
           ++handled;
           responder->reply("changed");
         }},
        {"count", Privilege::kAnyone, false,
         [](auto, json args, auto responder) {
           // From a thread of its own, as a worker would.
           std::thread([to = args.at("to").template get<int>(), responder] {
             for (int i = 1; i <= to; ++i) responder->more(i);
             responder->reply("end");
           }).detach();
         }},
        {"fail", Privilege::kAnyone, false,
         [](auto, json, auto responder) {
           responder->error(Error(ErrorCode::kRefused, "process 7: a device\nis open"));
         }},
        {"forget", Privilege::kAnyone, false, [](auto, json, auto) {}},
        {"keep", Privilege::kAnyone, false,
         [this](auto, json, auto responder) {
           kept = responder;
           responder->on_cancel([this] {
             ++cancelled;
             kept.reset();
           });
           responder->more("kept");
         }},
        {"flood", Privilege::kAnyone, false,
         [this](auto, json, auto responder) {
           while (flooded < 200 && responder->more(std::string(1 << 20, 'x'))) ++flooded;
           responder->reply("end");
         }},
    };
  }
  OpGate gate() {
    return {.owner_of =
                [](std::string pid, auto done) {
                  if (pid == "404") return done(Error(ErrorCode::kGone, "404: No such process"));
                  const uid_t uid = pid == "1" ? 0 : kSomebody;
                  std::thread([uid, done] {
                    done(ProcessOwner{.real_uid = uid, .saved_uid = uid});
                  }).detach();
                },
            .has_quorum = [this] { return quorum.load(); }};
  }
};

ControlClient client(const Server& server) {
  auto made = ControlClient::connect(server.path());
  REQUIRE(made.ok());
  return std::move(*made);
}

// Runs in a child that is `uid`; gives the ErrorCode of the call, or 100 if it went well.
int call_as(uid_t uid, const Server& server, const std::string& op, const json& args) {
  const pid_t pid = ::fork();
  if (pid == 0) {
    if (::setgroups(0, nullptr) != 0 || ::setresgid(uid, uid, uid) != 0 ||
        ::setresuid(uid, uid, uid) != 0)
      ::_exit(99);
    auto connected = ControlClient::connect(server.path());
    if (!connected) ::_exit(98);
    auto answer = connected->call(op, args, 5000);
    ::_exit(answer.ok() ? 100 : static_cast<int>(answer.error().code()));
  }
  int status = 0;
  REQUIRE(::waitpid(pid, &status, 0) == pid);
  REQUIRE(WIFEXITED(status));
  return WEXITSTATUS(status);
}

bool is_closed(int fd) {
  pollfd p{.fd = fd, .events = POLLIN, .revents = 0};
  char byte = 0;
  return ::poll(&p, 1, 5000) == 1 && ::recv(fd, &byte, 1, MSG_DONTWAIT) <= 0;
}

}  // namespace

TEST_CASE("one connection asks many times, and each answer is its own") {
  Server server;
  auto ask = client(server);
  for (int i = 0; i < 50; ++i) CHECK(ask.call("echo", {{"n", i}}, 5000).value()["n"] == i);
  CHECK(ask.call("who", {}, 5000).value() == json{{"uid", ::getuid()}, {"pid", ::getpid()}});
  CHECK(server.connections() == 1);
}

TEST_CASE("an error keeps its code and its words, on one line") {
  Server server;
  auto ask = client(server);
  auto answer = ask.call("fail", {}, 5000);
  REQUIRE(!answer.ok());
  CHECK(answer.error().code() == ErrorCode::kRefused);
  CHECK(answer.error().message() == "process 7: a device?is open");
  CHECK(ask.call("nonsense", {}, 5000).error().code() == ErrorCode::kUsage);
  CHECK(ask.call("count", {{"to", "many"}}, 5000).error().code() == ErrorCode::kUsage);
  CHECK(ask.call("count", {}, 5000).error().code() == ErrorCode::kUsage);
  CHECK(ask.call("echo", json::array(), 5000).error().code() == ErrorCode::kUsage);
  CHECK(ask.call("forget", {}, 5000).error().message() == "there was no answer");
  CHECK(ask.call("echo", {{"still", "here"}}, 5000).ok());
}

TEST_CASE("parts come in order before the answer, from any thread") {
  Server server;
  auto ask = client(server);
  std::vector<int> parts;
  auto end = ask.stream("count", {{"to", 500}}, [&](const json& part) {
    parts.push_back(part.get<int>());
    return true;
  });
  CHECK(end.value() == "end");
  REQUIRE(parts.size() == 500);
  for (int i = 0; i < 500; ++i) CHECK(parts[static_cast<std::size_t>(i)] == i + 1);
}

TEST_CASE("an asker that goes away cancels its request") {
  Server server;
  {
    auto ask = client(server);
    auto end = ask.stream("keep", {}, [&](const json& part) {
      CHECK(part == "kept");
      return false;
    });
    CHECK(end.value().is_null());
  }
  CHECK(server.wait_connections(0));
  CHECK(server.cancelled == 1);
}

TEST_CASE("without quorum nothing that needs it is called") {
  Server server;
  auto ask = client(server);
  CHECK(ask.call("change", {}, 5000).ok());
  server.quorum = false;
  CHECK(ask.call("change", {}, 5000).error().code() == ErrorCode::kNoQuorum);
  CHECK(ask.call("echo", {}, 5000).ok());
  CHECK(server.handled == 2);
}

TEST_CASE("who may do what is decided by what the kernel says of the caller") {
  if (::geteuid() != 0) {
    MESSAGE("skipped: needs root");
    return;
  }
  Server server;
  auto ask = client(server);
  CHECK(ask.call("root", {}, 5000).ok());
  CHECK(ask.call("own", {{"pid", 1}}, 5000).ok());
  CHECK(server.handled == 2);
  const int denied = static_cast<int>(ErrorCode::kDenied);
  CHECK(call_as(kSomebody, server, "root", {}) == denied);
  CHECK(call_as(kSomebody, server, "own", {{"pid", 1}}) == denied);
  CHECK(call_as(kSomebody + 1, server, "own", {{"pid", 2}}) == denied);
  CHECK(call_as(kSomebody, server, "own", {{"pid", 404}}) == static_cast<int>(ErrorCode::kGone));
  CHECK(call_as(kSomebody, server, "own", {}) == static_cast<int>(ErrorCode::kUsage));
  CHECK(server.handled == 2);
  CHECK(call_as(kSomebody, server, "own", {{"pid", 2}}) == 100);
  CHECK(server.handled == 3);
}

TEST_CASE("connections are limited for a user and in all, and root still gets in") {
  if (::geteuid() != 0) {
    MESSAGE("skipped: needs root");
    return;
  }
  Server server(
      {.connections_max = 8, .connections_max_per_uid = 3, .connections_kept_for_root = 4});
  int ready[2], go[2];
  REQUIRE((::pipe(ready) == 0 && ::pipe(go) == 0));
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::close(go[1]);
    if (::setresuid(kSomebody, kSomebody, kSomebody) != 0) ::_exit(99);
    std::vector<UniqueFd> held;
    for (int i = 0; i < 6; ++i)
      if (auto fd = unix_connect(server.path(), UnixType::kStream)) held.push_back(std::move(*fd));
    int closed = 0;
    for (std::size_t i = 3; i < held.size(); ++i) closed += is_closed(*held[i]) ? 1 : 0;
    const char found = static_cast<char>(closed);
    (void)!::write(ready[1], &found, 1);
    char byte;
    (void)!::read(go[0], &byte, 1);
    ::_exit(0);
  }
  ::close(go[0]);
  char closed = 0;
  REQUIRE(::read(ready[0], &closed, 1) == 1);
  CHECK(closed == 3);
  CHECK(server.connections() == 3);
  std::vector<ControlClient> own;
  for (int i = 0; i < 5; ++i) {
    own.push_back(client(server));
    CHECK(own.back().call("echo", {}, 5000).ok());
  }
  auto ninth = client(server);
  CHECK(!ninth.call("echo", {}, 5000).ok());
  ::close(go[1]);
  int status = 0;
  CHECK(::waitpid(pid, &status, 0) == pid);
  ::close(ready[0]);
  ::close(ready[1]);
  CHECK(server.wait_connections(5));
}

TEST_CASE(
    "garbage, an oversized frame and a malformed message close the connection, and only that") {
  Server server;
  auto other = client(server);
  std::vector<std::vector<std::byte>> bad;
  const auto http = bytes_of("GET / HTTP/1.1\r\n\r\n");
  bad.emplace_back(http.begin(), http.end());
  const auto oversized =
      serialise_frame_header({.type = kApiRequestFrame, .length = kApiRequestBytesMax + 1});
  bad.emplace_back(oversized.begin(), oversized.end());
  bad.push_back(serialise_frame(kApiRequestFrame, bytes_of("not a flatbuffer at all")));
  bad.push_back(serialise_frame(kApiReplyFrame, encode(ApiReply{})));
  for (const auto& bytes : bad) {
    auto fd = unix_connect(server.path(), UnixType::kStream);
    REQUIRE(fd.ok());
    REQUIRE(unix_send(**fd, bytes, {}, 1000).ok());
    CHECK(is_closed(**fd));
  }
  CHECK(other.call("echo", {}, 5000).ok());
  std::string deep;
  for (int i = 0; i < 20'000; ++i) deep += "[";
  auto fd = unix_connect(server.path(), UnixType::kStream);
  REQUIRE(fd.ok());
  REQUIRE(
      unix_send(**fd,
                serialise_frame(kApiRequestFrame,
                                encode(ApiRequest{.op = "echo", .args_json = "{\"a\":" + deep})),
                {}, 1000)
          .ok());
  auto answer = unix_recv(**fd, 4096, 0, 5000);
  REQUIRE(answer.ok());
  CHECK(text_of(answer->bytes).find("not a JSON object") != std::string_view::npos);
  CHECK(other.call("echo", {}, 5000).ok());
}

TEST_CASE("a connection that asks nothing, or not to the end, is closed after a while") {
  Server server({.idle_ms_max = 100});
  auto silent = unix_connect(server.path(), UnixType::kStream);
  auto slow = unix_connect(server.path(), UnixType::kStream);
  REQUIRE((silent.ok() && slow.ok()));
  const auto whole =
      serialise_frame(kApiRequestFrame, encode(ApiRequest{.op = "echo", .args_json = ""}));
  Result<> sent;
  const auto begin = SystemClock().now_ms();
  for (std::size_t i = 0; i + 1 < whole.size() && sent.ok(); ++i) {
    sent = unix_send(**slow, std::span(whole).subspan(i, 1), {}, 1000);
    ::poll(nullptr, 0, 10);
  }
  CHECK(SystemClock().now_ms() - begin < 4000);
  CHECK(is_closed(**silent));
  CHECK(is_closed(**slow));
  CHECK(server.handled == 0);
}

TEST_CASE("an asker that does not read its answers is closed, the loop goes on") {
  Server server({.unsent_bytes_max = 4u << 20});
  auto fd = unix_connect(server.path(), UnixType::kStream);
  REQUIRE(fd.ok());
  const ApiRequest flood{.op = "flood", .args_json = ""};
  REQUIRE(unix_send(**fd, serialise_frame(kApiRequestFrame, encode(flood)), {}, 1000).ok());
  for (int i = 0; i < 5000 && server.flooded == 0; ++i) ::poll(nullptr, 0, 1);
  CHECK(server.wait_connections(0));
  CHECK(server.flooded >= 3);
  CHECK(server.flooded < 10);
  CHECK(client(server).call("echo", {}, 5000).ok());
}

TEST_CASE("requests sent ahead are answered one after the other") {
  Server server;
  auto fd = unix_connect(server.path(), UnixType::kStream);
  REQUIRE(fd.ok());
  std::vector<std::byte> both;
  for (const char* n : {"1", "2", "3"}) {
    const auto frame = serialise_frame(
        kApiRequestFrame,
        encode(ApiRequest{.op = "echo", .args_json = std::string("{\"n\":") + n + "}"}));
    both.insert(both.end(), frame.begin(), frame.end());
  }
  REQUIRE(unix_send(**fd, both, {}, 1000).ok());
  FrameReader reader(kApiReplyLimits);
  for (const char* expected : {"{\"n\":1}", "{\"n\":2}", "{\"n\":3}"}) {
    Frame frame;
    while (!reader.take(frame).value()) {
      auto piece = unix_recv(**fd, 4096, 0, 5000);
      REQUIRE(piece.ok());
      reader.add(piece->bytes);
    }
    CHECK(decode_reply(frame.payload).value().json == expected);
  }
}

TEST_CASE("a client says when ssid is not there, is silent, or dies") {
  CHECK(ControlClient::connect("/tmp/ssid-none/s").error().message() ==
        "ssid is not running: connect /tmp/ssid-none/s: No such file or directory");
  auto server = std::make_unique<Server>();
  auto ask = client(*server);
  CHECK(ask.call("keep", {}, 50).error().code() == ErrorCode::kTimeout);
  auto second = client(*server);
  CHECK(second.call("echo", {}, 5000).ok());
  server.reset();
  CHECK(!second.call("echo", {}, 5000).ok());
}

// Streams of good requests with mutations, against a live server: it must answer others all the
// time.
TEST_CASE("no mutation of what is sent to the socket disturbs the server") {
  const char* given = std::getenv("SSID_FUZZ_SEED");
  const char* count = std::getenv("SSID_FUZZ_ROUNDS");
  const unsigned first = given == nullptr ? 1u : static_cast<unsigned>(std::atoi(given));
  const int rounds = count == nullptr ? 300 : std::min(std::atoi(count), 10'000);
  std::printf("control socket fuzz: SSID_FUZZ_SEED=%u SSID_FUZZ_ROUNDS=%d\n", first, rounds);
  Server server({.idle_ms_max = 200});
  for (unsigned seed = first; seed < first + static_cast<unsigned>(rounds); ++seed) {
    CAPTURE(seed);
    std::mt19937 random(seed);
    std::vector<std::byte> stream;
    for (auto i = 1 + random() % 3; i > 0; --i) {
      const char* ops[] = {"echo", "who", "own", "fail", "forget"};
      const auto frame = serialise_frame(
          kApiRequestFrame, encode(ApiRequest{.op = ops[random() % 5],
                                              .args_json = R"({"pid":404,"x":[1,{"y":"z"}]})"}));
      stream.insert(stream.end(), frame.begin(), frame.end());
    }
    for (auto i = random() % 5; i > 0; --i)
      stream[random() % stream.size()] = static_cast<std::byte>(random() & 0xff);
    if (random() % 3 == 0) stream.resize(1 + random() % stream.size());
    auto fd = unix_connect(server.path(), UnixType::kStream);
    REQUIRE(fd.ok());
    (void)unix_send(**fd, stream, {}, 1000).ok();
    if (random() % 2 == 0) (void)unix_recv(**fd, 4096, 0, 1).ok();
    if (seed % 50 == 0) {
      auto ask = client(server);
      REQUIRE(ask.call("echo", {{"n", seed}}, 5000).ok());
    }
  }
  CHECK(server.wait_connections(0));
}

}  // namespace ssi
