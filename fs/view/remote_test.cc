#include "fs/view/remote.h"

#include <doctest/doctest.h>
#include <fcntl.h>

#include <fstream>
#include <thread>

#include "fs/view/test_home.h"

using namespace ssi;
using namespace ssi::fs;

namespace {

template <typename T>
ByteSpan bytes_of(const T& value) {
  return {reinterpret_cast<const std::uint8_t*>(&value), sizeof(value)};
}
ByteSpan text(std::string_view s) {
  return {reinterpret_cast<const std::uint8_t*>(s.data()), s.size()};
}

struct Fixture {
  explicit Fixture(std::optional<std::chrono::milliseconds> patience = std::nullopt)
      : remote({.dial = [this] { return dial(); }, .hello = {}, .patience = patience}, nodes) {}

  TempDir dir;
  Home home{dir.path};
  std::atomic<bool> reachable{true};
  NodeIndex nodes{[](ViewNode&) {}};
  Remote remote;

  Result<std::unique_ptr<Channel>> dial() {
    if (!reachable) return Error("no route");
    return home.dial();
  }

  int lookup(const ViewNodePtr& parent, const std::string& name, ViewNodePtr& node) {
    Remote::Request request;
    request.op = Op::kLookup;
    request.node = parent.get();
    const NameBody body{static_cast<std::uint32_t>(name.size()), 0};
    Remote::Reply reply;
    const int error = remote.call(request, {bytes_of(body), text(name)}, reply);
    if (error != 0) return error;
    const auto entry = reply.reader().get<EntryReply>();
    node = nodes.found(parent, name, entry.attr.key, true);
    Remote::bind(*node, reply.serial(), entry.node, 1);
    return 0;
  }
  int open(const ViewNodePtr& node, ViewHandle& handle) {
    Remote::Request request;
    request.op = Op::kOpen;
    request.node = node.get();
    Remote::Reply reply;
    const OpenBody body{O_RDWR, 0};
    const int error = remote.call(request, {bytes_of(body)}, reply);
    if (error != 0) return error;
    handle.node = node;
    handle.flags = O_RDWR;
    Remote::bind(handle, reply.serial(), reply.reader().get<OpenReply>().handle);
    return 0;
  }
  std::string read(ViewHandle& handle) {
    Remote::Request request;
    request.op = Op::kRead;
    request.handle = &handle;
    RangeBody body;
    body.size = 100;
    Remote::Reply reply;
    const int error = remote.call(request, {bytes_of(body)}, reply);
    if (error != 0) return "error " + std::to_string(error);
    return std::string(reply.body().begin(), reply.body().end());
  }
};

}  // namespace

TEST_CASE_FIXTURE(Fixture, "an open file survives a cut connection and a restarted store") {
  std::filesystem::create_directories(dir.path + "/a/b");
  std::ofstream(dir.path + "/a/b/f") << "hello";
  ViewNodePtr a, b, f;
  REQUIRE(lookup(nodes.root(), "a", a) == 0);
  REQUIRE(lookup(a, "b", b) == 0);
  REQUIRE(lookup(b, "f", f) == 0);
  ViewHandle handle;
  REQUIRE(open(f, handle) == 0);
  CHECK(read(handle) == "hello");
  home.cut();
  CHECK(read(handle) == "hello");
  CHECK(remote.stats().reconnects == 1);
  CHECK(remote.stats().new_sessions == 0);
  home.stop();
  home.start();
  CHECK(read(handle) == "hello");
  CHECK(remote.stats().new_sessions == 1);

  // The same name, another file: the open file must not become it.
  std::ofstream(dir.path + "/a/b/g") << "other";
  home.stop();
  std::filesystem::rename(dir.path + "/a/b/g", dir.path + "/a/b/f");
  home.start();
  CHECK(read(handle) == "error " + std::to_string(ESTALE));
  remote.give_up();
  CHECK(read(handle) == "error " + std::to_string(EIO));
}

namespace {
struct Impatient : Fixture {
  Impatient() : Fixture(std::chrono::milliseconds(200)) {}
};
}  // namespace

TEST_CASE_FIXTURE(Impatient, "a home that can't be reached is down after a while, and comes back") {
  std::ofstream(dir.path + "/f") << "hello";
  ViewNodePtr f;
  REQUIRE(lookup(nodes.root(), "f", f) == 0);
  ViewHandle handle;
  REQUIRE(open(f, handle) == 0);
  const std::string down = "error " + std::to_string(EHOSTDOWN);
  reachable = false;
  home.cut();
  CHECK(read(handle) == down);
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < 100; ++i) CHECK(read(handle) == down);
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::milliseconds(500));
  reachable = true;
  remote.set_home_up(true);
  CHECK(read(handle) == "hello");
}

TEST_CASE_FIXTURE(Fixture,
                  "a home that the cluster calls down ends every wait, and hears of ends later") {
  std::ofstream(dir.path + "/f") << "hello";
  ViewNodePtr f;
  REQUIRE(lookup(nodes.root(), "f", f) == 0);
  ViewHandle handle;
  REQUIRE(open(f, handle) == 0);
  reachable = false;
  home.cut();
  std::string waited;
  std::thread waits([&] { waited = read(handle); });  // as long as it takes
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  remote.set_home_up(false);
  waits.join();
  CHECK(waited == "error " + std::to_string(EHOSTDOWN));

  Remote::Request close;
  close.op = Op::kRelease;
  close.session = handle.store_serial;
  close.handle_id = handle.store_id;
  Remote::Reply reply;
  CHECK(remote.call(close, {}, reply) == EHOSTDOWN);
  remote.tell_later(close, {});
  remote.send_forgets();
  CHECK(remote.has_forgets());  // nobody there
  reachable = true;
  remote.set_home_up(true);
  remote.send_forgets();
  CHECK_FALSE(remote.has_forgets());
  CHECK(read(handle) == "error " + std::to_string(EBADF));
}
