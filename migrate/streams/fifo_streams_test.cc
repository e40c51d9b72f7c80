// Named pipes of which a guest has both ends: each is a stream to home's pipe.
#include <sys/stat.h>

#include "migrate/streams/test_net.h"

using namespace ssi;
using namespace ssi::migrate;

namespace {

class NamedPipe {
 public:
  NamedPipe() {
    REQUIRE(::mkdtemp(dir_) != nullptr);
    path_ = std::string(dir_) + "/fifo";
    REQUIRE(::mkfifo(path_.c_str(), 0600) == 0);
    reader = open(O_RDONLY | O_NONBLOCK);
    writer = open(O_WRONLY);
    REQUIRE(::fcntl(*reader, F_SETFL, 0) == 0);
  }
  ~NamedPipe() {
    ::unlink(path_.c_str());
    ::rmdir(dir_);
  }
  UniqueFd open(int flags) const {
    UniqueFd fd(::open(path_.c_str(), flags | O_CLOEXEC));
    REQUIRE(fd);
    return fd;
  }
  UniqueFd reader, writer;  // the process's own

 private:
  char dir_[32] = "/tmp/fifo_streams.XXXXXX";
  std::string path_;
};

constexpr StreamId kIn = 1, kOut = 2;

// Both ends where the guest runs.
struct GuestEnds {
  UniqueFd in, out;
};
GuestEnds move_to(StreamTarget& node, Net& net, std::uint64_t generation) {
  auto in = node.attach({kIn, generation, StreamDirection::kGuestReads, 65536, net.dial()});
  auto out = node.attach({kOut, generation, StreamDirection::kGuestWrites, 65536, net.dial()});
  REQUIRE(in.ok());
  REQUIRE(out.ok());
  REQUIRE(node.start(kIn).ok());
  REQUIRE(node.start(kOut).ok());
  return {std::move(*in), std::move(*out)};
}

// The original becomes the deputy, which has neither.
void export_both(Net& net, NamedPipe& fifo) {
  REQUIRE(net.home.export_fd(kIn, StreamDirection::kGuestReads, std::move(fifo.reader)).ok());
  REQUIRE(net.home.export_fd(kOut, StreamDirection::kGuestWrites, std::move(fifo.writer)).ok());
}

}  // namespace

TEST_CASE("a guest with both ends of a named pipe reads what it and others have written") {
  Net net;
  NamedPipe fifo;
  REQUIRE(write_all(*fifo.writer, "before"));
  export_both(net, fifo);
  StreamTarget node;
  GuestEnds guest = move_to(node, net, 1);
  CHECK(read_exactly(*guest.in, 6) == "before");
  REQUIRE(write_all(*guest.out, "to itself"));
  CHECK(read_exactly(*guest.in, 9) == "to itself");
  UniqueFd other = fifo.open(O_WRONLY);  // at home
  REQUIRE(write_all(*other, "from home"));
  CHECK(read_exactly(*guest.in, 9) == "from home");
}

TEST_CASE("its end comes when the last writer has gone, inside or at home") {
  Net net;
  NamedPipe fifo;
  UniqueFd other = fifo.open(O_WRONLY);
  export_both(net, fifo);
  StreamTarget node;
  GuestEnds guest = move_to(node, net, 1);
  REQUIRE(write_all(*guest.out, "last words"));
  guest.out.reset();
  CHECK(read_exactly(*guest.in, 10) == "last words");
  CHECK_FALSE(comes_within(*guest.in, POLLIN, 100));
  REQUIRE(write_all(*other, "more"));
  CHECK(read_exactly(*guest.in, 4) == "more");
  SUBCASE("at home") { other.reset(); }
  SUBCASE("at home, after a move") {
    REQUIRE(node.drain(kIn, 5000).ok());
    REQUIRE(node.close(kIn, 1).ok());
    auto in = node.attach({kIn, 2, StreamDirection::kGuestReads, 65536, net.dial()});
    REQUIRE(in.ok());
    REQUIRE(node.start(kIn).ok());
    guest.in = std::move(*in);
    REQUIRE(write_all(*other, "still"));
    CHECK(read_exactly(*guest.in, 5) == "still");
    other.reset();
  }
  REQUIRE(comes_within(*guest.in, POLLIN, 5000));
  CHECK(read_to_end(*guest.in).empty());
}

TEST_CASE("it closes its reading end: its own writing breaks, unless others read at home") {
  ::signal(SIGPIPE, SIG_IGN);
  Net net;
  NamedPipe fifo;
  UniqueFd other = fifo.open(O_RDONLY);
  export_both(net, fifo);
  StreamTarget node;
  GuestEnds guest = move_to(node, net, 1);
  guest.in.reset();
  // Until home has heard of it, it reads for the guest.
  for (int i = 0; i < 5000 && !net.home.finished(kIn); ++i) ::usleep(1000);
  REQUIRE(net.home.finished(kIn));
  REQUIRE(write_all(*guest.out, "for others"));
  CHECK(read_exactly(*other, 10) == "for others");
  CHECK_FALSE(comes_within(*guest.out, 0, 100));
  other.reset();
  CHECK(comes_within(*guest.out, 0, 5000));  // POLLERR
  CHECK(::write(*guest.out, "x", 1) == -1);
}

TEST_CASE(
    "a guest that talks to itself moves on, again and again, and nothing is lost or doubled") {
  Net net;
  NamedPipe fifo;
  export_both(net, fifo);
  const std::string text = pattern(1 << 20);
  std::mt19937 random(5);
  StreamTarget nodes[3];
  std::string got;
  std::size_t at = 0;
  std::uint64_t generation = 0;
  while (got.size() < text.size()) {
    StreamTarget& node = nodes[generation % 3];
    GuestEnds guest = move_to(node, net, ++generation);
    const std::size_t put = std::min<std::size_t>(text.size() - at, random() % 50000);
    REQUIRE(write_all(*guest.out, std::string_view(text).substr(at, put)));
    at += put;
    if (generation % 4 == 0) net.cut();
    const std::size_t left = at - got.size();
    const std::size_t take = at == text.size() ? left : random() % (left + 1);
    got += read_exactly(*guest.in, take);
    for (const StreamId id : {kOut, kIn}) {
      REQUIRE(node.drain(id, 10000).ok());
      CHECK(node.close(id, generation).ok());
    }
  }
  CHECK(generation > 10);
  CHECK(got == text);
}

TEST_CASE("a move that comes to nothing leaves what was in it where it was") {
  Net net;
  NamedPipe fifo;
  REQUIRE(write_all(*fifo.writer, "unread"));
  for (const StreamId first : {StreamId{10}, StreamId{20}}) {
    REQUIRE(net.home.export_fd(first, StreamDirection::kGuestReads, UniqueFd(::dup(*fifo.reader)))
                .ok());
    REQUIRE(
        net.home.export_fd(first + 1, StreamDirection::kGuestWrites, UniqueFd(::dup(*fifo.writer)))
            .ok());
    REQUIRE(net.home.close(first, 0).ok());
    REQUIRE(net.home.close(first + 1, 0).ok());
  }
  CHECK(read_exactly(*fifo.reader, 6) == "unread");
  fifo.writer.reset();
  REQUIRE(comes_within(*fifo.reader, POLLIN, 5000));  // the carrier has let go
  CHECK(read_to_end(*fifo.reader).empty());
}

TEST_CASE("a named pipe whose writers were gone before the move: what is in it, then the end") {
  Net net;
  NamedPipe fifo;
  REQUIRE(write_all(*fifo.writer, "left"));
  fifo.writer.reset();
  REQUIRE(net.home.export_fd(kIn, StreamDirection::kGuestReads, std::move(fifo.reader)).ok());
  UniqueFd writer;
  SUBCASE("nobody comes any more") {}
  SUBCASE("somebody opens it again") {
    writer = fifo.open(O_WRONLY);
    REQUIRE(write_all(*writer, " and more"));
  }
  StreamTarget node;
  auto in = node.attach({kIn, 1, StreamDirection::kGuestReads, 65536, net.dial()});
  REQUIRE(in.ok());
  REQUIRE(node.start(kIn).ok());
  CHECK(read_exactly(**in, 4) == "left");
  if (writer) {
    CHECK(read_exactly(**in, 9) == " and more");
    CHECK_FALSE(comes_within(**in, POLLIN, 100));
    writer.reset();
  }
  REQUIRE(comes_within(**in, POLLIN, 5000));
  CHECK(read_to_end(**in).empty());
}
