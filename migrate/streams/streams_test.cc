#include "migrate/streams/test_net.h"

using namespace ssi;
using namespace ssi::migrate;

namespace {

// A long text that goes in at `writer` comes out whole, though connections are lost meanwhile.
void check_long_text(Net& net, UniqueFd& writer, const UniqueFd& reader) {
  const std::string text = pattern(4 << 20);
  std::thread writing([&] {
    CHECK(write_all(*writer, text));
    writer.reset();
  });
  std::thread trouble([&] { net.cut_often(20); });
  const std::string got = read_to_end(*reader);
  writing.join();
  trouble.join();
  CHECK(got.size() == text.size());
  CHECK(got == text);
}

int unread_bytes(const Pipe& pipe) {
  int waiting = -1;
  REQUIRE(::ioctl(*pipe.reader, FIONREAD, &waiting) == 0);
  return waiting;
}

}  // namespace

TEST_CASE("what a guest writes arrives at home whole, also over cut connections") {
  Net net;
  Pipe at_home;
  REQUIRE(net.home.export_fd(1, StreamDirection::kGuestWrites, std::move(at_home.writer)).ok());
  StreamTarget target;
  auto guest = target.attach({1, 1, StreamDirection::kGuestWrites, 65536, net.dial()});
  REQUIRE(guest.ok());
  REQUIRE(target.start(1).ok());
  check_long_text(net, *guest, at_home.reader);
  CHECK(target.close(1, 1).ok());
  CHECK(net.home.close(1, 1000).ok());
}

TEST_CASE("what a guest reads arrives whole, also over cut connections") {
  Net net;
  Pipe at_home;
  REQUIRE(net.home.export_fd(1, StreamDirection::kGuestReads, std::move(at_home.reader)).ok());
  StreamTarget target;
  auto guest = target.attach({1, 1, StreamDirection::kGuestReads, 65536, net.dial()});
  REQUIRE(guest.ok());
  REQUIRE(target.start(1).ok());
  check_long_text(net, at_home.writer, *guest);
}

TEST_CASE("a reader at home that goes away breaks the guest's pipe") {
  Net net;
  Pipe at_home;
  REQUIRE(net.home.export_fd(1, StreamDirection::kGuestWrites, std::move(at_home.writer)).ok());
  StreamTarget target;
  auto guest = target.attach({1, 1, StreamDirection::kGuestWrites, 0, net.dial()});
  REQUIRE(guest.ok());
  REQUIRE(target.start(1).ok());
  REQUIRE(write_all(**guest, "x"));
  CHECK(read_exactly(*at_home.reader, 1) == "x");
  at_home.reader.reset();
  CHECK(comes_within(**guest, 0, 5000));  // POLLERR
  ::signal(SIGPIPE, SIG_IGN);
  CHECK(::write(**guest, "y", 1) == -1);
  CHECK(errno == EPIPE);
}

TEST_CASE("a guest that closes its reading end breaks the pipe at home") {
  Net net;
  Pipe at_home;
  REQUIRE(net.home.export_fd(1, StreamDirection::kGuestReads, std::move(at_home.reader)).ok());
  StreamTarget target;
  auto guest = target.attach({1, 1, StreamDirection::kGuestReads, 0, net.dial()});
  REQUIRE(guest.ok());
  CHECK_FALSE(comes_within(*at_home.writer, 0, 50));
  REQUIRE(target.start(1).ok());
  guest->reset();
  CHECK(comes_within(*at_home.writer, 0, 5000));
}

TEST_CASE("closing before the start counts for nothing") {
  Net net;
  Pipe at_home;
  REQUIRE(net.home.export_fd(1, StreamDirection::kGuestWrites, std::move(at_home.writer)).ok());
  StreamTarget target;
  auto guest = target.attach({1, 1, StreamDirection::kGuestWrites, 0, net.dial()});
  REQUIRE(guest.ok());
  guest->reset();  // the restore failed
  CHECK(target.close(1, 1).ok());
  auto again = target.attach({1, 2, StreamDirection::kGuestWrites, 0, net.dial()});
  REQUIRE(again.ok());
  REQUIRE(target.start(1).ok());
  REQUIRE(write_all(**again, "still open"));
  CHECK(read_exactly(*at_home.reader, 10) == "still open");
}

TEST_CASE("what a guest wrote before it closed its end goes home after it has left") {
  Net net;
  Pipe at_home(4096);
  const std::string text = pattern(20000);
  REQUIRE(net.home.export_fd(1, StreamDirection::kGuestWrites, std::move(at_home.writer)).ok());
  StreamTarget node;
  auto guest = node.attach({1, 1, StreamDirection::kGuestWrites, 65536, net.dial()});
  REQUIRE(guest.ok());
  REQUIRE(node.start(1).ok());
  REQUIRE(write_all(**guest, text));
  guest->reset();
  std::string got = read_exactly(*at_home.reader, 5000);  // the pump has seen the guest's end
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  REQUIRE(node.close(1, 1).ok());
  got += read_to_end(*at_home.reader);
  CHECK(got == text);
  CHECK(node.size() == 1);
  Pipe other;
  REQUIRE(net.home.export_fd(2, StreamDirection::kGuestWrites, std::move(other.writer)).ok());
  // Home says that it has seen the end a moment after its reader has.
  for (std::uint64_t generation = 1; generation < 500; ++generation) {
    REQUIRE(node.attach({2, generation, StreamDirection::kGuestWrites, 0, net.dial()}).ok());
    if (node.size() == 1) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  CHECK(node.size() == 1);
}

TEST_CASE("a full pipe at home stops the guest, and no more than a pipe is under way") {
  Net net;
  Pipe at_home(4096);
  REQUIRE(net.home.export_fd(1, StreamDirection::kGuestWrites, std::move(at_home.writer)).ok());
  StreamTarget target;
  auto guest = target.attach({1, 1, StreamDirection::kGuestWrites, 4096, net.dial()});
  REQUIRE(guest.ok());
  REQUIRE(target.start(1).ok());
  REQUIRE(::fcntl(**guest, F_SETFL, O_NONBLOCK) == 0);
  std::size_t written = 0;
  for (int idle = 0; idle < 50;) {
    const ssize_t put = ::write(**guest, pattern(512).data(), 512);
    if (put > 0) {
      written += static_cast<std::size_t>(put);
      idle = 0;
    } else {
      ++idle;
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
  }
  // A window, and something in either pipe: one of 4096 bytes is full when a single write ends
  // anywhere in its page.
  CHECK(written > 4096);
  CHECK(written <= 4 * 4096);
  guest->reset();
  CHECK(read_to_end(*at_home.reader).size() == written);
}

TEST_CASE("streams end with the process at home they belong to") {
  Net net;
  Pipe out, in, never;
  Owner owner;
  auto& home = net.home;
  REQUIRE(
      home.export_fd(1, StreamDirection::kGuestWrites, std::move(out.writer), owner.pidfd()).ok());
  REQUIRE(
      home.export_fd(2, StreamDirection::kGuestReads, std::move(in.reader), owner.pidfd()).ok());
  REQUIRE(home.export_fd(3, StreamDirection::kGuestWrites, std::move(never.writer), owner.pidfd())
              .ok());
  StreamTarget target;
  auto writes = target.attach({1, 1, StreamDirection::kGuestWrites, 0, net.dial()});
  auto reads = target.attach({2, 1, StreamDirection::kGuestReads, 0, net.dial()});
  REQUIRE(writes.ok());
  REQUIRE(reads.ok());
  for (const StreamId id : {1, 2}) REQUIRE(target.start(id).ok());
  REQUIRE(write_all(**writes, "last words"));
  CHECK_FALSE(comes_within(*never.reader, POLLIN, 50));
  REQUIRE(owner.end());
  CHECK(read_to_end(*never.reader).empty());
  writes->reset();  // the guest ended: what is under way arrives
  CHECK(read_to_end(*out.reader) == "last words");
  CHECK(comes_within(*in.writer, 0, 5000));  // broken
  CHECK(home.size() == 0);
}

TEST_CASE("a stream of several processes ends with the last of them") {
  Net net;
  Pipe out;
  Owner first, second;
  auto& home = net.home;
  REQUIRE(
      home.export_fd(1, StreamDirection::kGuestWrites, std::move(out.writer), first.pidfd()).ok());
  REQUIRE(home.add_owner(1, second.pidfd()).ok());
  CHECK(home.add_owner(2, second.pidfd()).error().code() == ErrorCode::kGone);
  REQUIRE(first.end());
  CHECK_FALSE(comes_within(*out.reader, POLLIN, 50));
  CHECK(home.has(1));
  REQUIRE(second.end());
  CHECK(read_to_end(*out.reader).empty());
  CHECK(home.size() == 0);
}

TEST_CASE("home's carrier is restarted and exports again: the guest goes on") {
  Pipe at_home, from_home;
  auto net = std::make_unique<Net>();
  std::atomic<Net*> now{net.get()};
  const StreamTarget::Dial dial = [&]() -> Result<std::unique_ptr<Channel>> {
    Net* here = now;
    if (here == nullptr) return Error("down");
    return here->dial()();
  };
  const auto export_both = [&] {
    REQUIRE(net->home.export_fd(1, StreamDirection::kGuestWrites, duplicate(at_home.writer)).ok());
    REQUIRE(net->home.export_fd(2, StreamDirection::kGuestReads, duplicate(from_home.reader)).ok());
  };
  export_both();
  StreamTarget target;
  auto out = target.attach({1, 1, StreamDirection::kGuestWrites, 0, dial});
  auto in = target.attach({2, 1, StreamDirection::kGuestReads, 0, dial});
  REQUIRE(out.ok());
  REQUIRE(in.ok());
  REQUIRE(target.start(1).ok());
  REQUIRE(target.start(2).ok());
  for (int round = 0; round < 3; ++round) {
    REQUIRE(write_all(**out, "there"));
    CHECK(read_exactly(*at_home.reader, 5) == "there");
    REQUIRE(write_all(*from_home.writer, "back"));
    CHECK(read_exactly(**in, 4) == "back");
    now = nullptr;
    net.reset();
    net = std::make_unique<Net>();
    now = net.get();
    std::this_thread::sleep_for(
        std::chrono::milliseconds(round * 50));  // home's ssid is not that quick
    export_both();
  }
  now = nullptr;
  target.stop();
}

TEST_CASE(
    "a stream that is over, and that home has let go, is not waited for when the guest leaves") {
  Net net;
  Pipe from_home;
  REQUIRE(net.home.export_fd(1, StreamDirection::kGuestReads, std::move(from_home.reader)).ok());
  StreamTarget target;
  auto in = target.attach({1, 1, StreamDirection::kGuestReads, 0, net.dial()});
  REQUIRE(in.ok());
  REQUIRE(target.start(1).ok());
  from_home.writer.reset();
  CHECK(read_to_end(**in).empty());
  REQUIRE(net.home.close(1, 0).ok());
  const auto since = std::chrono::steady_clock::now();
  const auto drained = target.drain(1, 60'000);
  REQUIRE(!drained.ok());
  CHECK(drained.error().code() == ErrorCode::kBusy);
  CHECK(std::chrono::steady_clock::now() - since < std::chrono::seconds(20));
}

TEST_CASE("rubbish ends a stream's connection, and nothing else") {
  Net net;
  Pipe at_home;
  REQUIRE(net.home.export_fd(1, StreamDirection::kGuestWrites, std::move(at_home.writer)).ok());
  const auto dial = net.dial();
  std::mt19937_64 random(11);
  for (int round = 0; round < 200; ++round) {
    auto channel = dial();
    REQUIRE(channel.ok());
    const StreamFrame attach{
        .type = StreamFrameType::kAttach, .a = 1, .b = 1, .c = StreamFrame::kFromHome};
    const auto bytes = [](const auto& value) {
      return ByteSpan(reinterpret_cast<const std::uint8_t*>(&value), sizeof(value));
    };
    if (round % 4 != 0) (void)(*channel)->send({bytes(attach)}).ok();
    for (int i = 0; i < 5; ++i) {
      StreamFrame frame{.type = static_cast<StreamFrameType>(random() % 10), .a = random() % 3 - 1};
      frame.b = random() % 2 ? random() : 0;
      frame.c = random() % 2 ? random() : 0;
      const std::uint64_t data = random();
      const ByteSpan some =
          bytes(data).first(frame.type == StreamFrameType::kEof ? 1 : random() % 8);
      if (!(*channel)
               ->send({bytes(frame).first(random() % 8 == 0 ? 17 : sizeof(frame)), some})
               .ok())
        break;
    }
    (*channel)->abort();
  }
  StreamTarget target;
  auto guest = target.attach({1, 2, StreamDirection::kGuestWrites, 0, net.dial()});
  CHECK(guest.ok());
}

TEST_CASE("before the start not a byte is taken from home's pipe") {
  Net net;
  Pipe at_home;
  REQUIRE(net.home.export_fd(1, StreamDirection::kGuestReads, duplicate(at_home.reader)).ok());
  REQUIRE(write_all(*at_home.writer, "later"));
  StreamTarget target;
  auto guest = target.attach({1, 1, StreamDirection::kGuestReads, 0, net.dial()});
  REQUIRE(guest.ok());
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  CHECK(unread_bytes(at_home) == 5);
  REQUIRE(target.start(1).ok());
  char bytes[6] = {};
  CHECK(::read(**guest, bytes, 5) == 5);
  CHECK(std::string(bytes) == "later");
}

TEST_CASE("on demand: the guest gets what it waits for, and the others at home the rest") {
  Net net;
  Pipe at_home;
  REQUIRE(net.home.export_fd(1, StreamDirection::kGuestReads, duplicate(at_home.reader)).ok());
  REQUIRE(write_all(*at_home.writer, "guestothers"));
  StreamTarget target;
  StreamTarget::Attach attach{1, 1, StreamDirection::kGuestReads, 0, net.dial()};
  attach.on_demand = true;
  auto guest = target.attach(std::move(attach));
  REQUIRE(guest.ok());
  REQUIRE(target.start(1).ok());
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  CHECK(unread_bytes(at_home) == 11);
  REQUIRE(target.demand(1, 5).ok());
  char bytes[16] = {};
  CHECK(::read(**guest, bytes, sizeof bytes) == 5);
  CHECK(std::string(bytes) == "guest");
  char rest[16] = {};
  CHECK(::read(*at_home.reader, rest, sizeof rest) == 6);
  CHECK(std::string(rest) == "others");
  // The end of the file is seen when the guest waits again.
  at_home.writer.reset();
  REQUIRE(target.demand(1, 5).ok());
  CHECK(::read(**guest, bytes, sizeof bytes) == 0);
}
