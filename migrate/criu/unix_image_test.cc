#include "migrate/criu/unix_image.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <cstring>

#include "criu_images.pb.h"
#include "ssid/base/unique_fd.h"

using namespace ssi;
using namespace ssi::migrate;

namespace {

std::string framed(const std::string& bytes) {
  const auto size = static_cast<std::uint32_t>(bytes.size());
  std::string text(sizeof size, '\0');
  std::memcpy(text.data(), &size, sizeof size);
  return text + bytes;
}

image::file_entry socket(int type, int state) {
  image::file_entry file;
  auto& s = *file.mutable_usk();
  s.set_type(static_cast<unsigned>(type));
  s.set_state(static_cast<unsigned>(state));
  s.set_peer(9);
  s.set_name("/run/x.sock");
  s.set_name_dir("/");
  s.set_deleted(true);
  s.set_file_perms("perms");
  return file;
}

std::string changed(const image::file_entry& file) {
  const auto image = without_names("magic123" + framed(file.SerializeAsString()));
  REQUIRE(image.ok());
  return image->substr(12);
}

}  // namespace

TEST_CASE("so does one that criu is given as it is, and no other that listens") {
  image::file_entry file = socket(SOCK_STREAM, TCP_LISTEN);
  file.mutable_usk()->set_ino(44);
  const std::string image = "magic123" + framed(file.SerializeAsString());
  image::file_entry read;
  REQUIRE(read.ParseFromString(without_names(image, {"socket:[44]"})->substr(12)));
  CHECK(read.usk().name().empty());
  REQUIRE(read.ParseFromString(without_names(image, {"socket:[45]"})->substr(12)));
  CHECK(read.usk().name() == "/run/x.sock");
}

TEST_CASE("a connection loses its name") {
  const std::string unknown = "\x70\x05";  // of the file: a field that we do not know
  image::file_entry file = socket(SOCK_STREAM, TCP_ESTABLISHED);
  REQUIRE(file.MergeFromString(unknown));
  const std::string bytes = changed(file);
  image::file_entry read;
  REQUIRE(read.ParseFromString(bytes));
  CHECK(read.usk().has_name());
  CHECK(read.usk().name().empty());
  CHECK(!read.usk().has_name_dir());
  CHECK(!read.usk().has_deleted());
  CHECK(!read.usk().has_file_perms());
  CHECK(bytes.find(unknown) != std::string::npos);
}

TEST_CASE("who listens or takes datagrams keeps it, and other files are left alone") {
  for (const auto& file : {socket(SOCK_STREAM, TCP_LISTEN), socket(SOCK_DGRAM, TCP_ESTABLISHED),
                           socket(SOCK_SEQPACKET, TCP_CLOSE), image::file_entry()}) {
    CHECK(changed(file) == file.SerializeAsString());
  }
}

TEST_CASE("what was dumped of a socket is set on the one in its place") {
  image::file_entry file = socket(SOCK_STREAM, TCP_ESTABLISHED);
  file.mutable_usk()->set_ino(4711);
  file.mutable_usk()->set_flags(O_RDWR | O_NONBLOCK);
  file.mutable_usk()->set_shutdown(2);
  file.mutable_usk()->mutable_opts()->set_so_rcv_tmo_sec(3);
  file.mutable_usk()->mutable_opts()->set_so_rcv_tmo_usec(500'000);
  const auto states = socket_states("magic123" + framed(file.SerializeAsString()));
  REQUIRE(states.ok());
  REQUIRE(states->contains("socket:[4711]"));
  const SocketState state = states->at("socket:[4711]");
  CHECK(state.receive_timeout_us == 3'500'000);
  CHECK(state.send_timeout_us == 0);

  int pair[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
  const UniqueFd ours(pair[0]), other(pair[1]);
  REQUIRE(apply(state, *ours).ok());
  CHECK((::fcntl(*ours, F_GETFL) & O_NONBLOCK) != 0);
  timeval timeout{};
  socklen_t size = sizeof timeout;
  REQUIRE(::getsockopt(*ours, SOL_SOCKET, SO_RCVTIMEO, &timeout, &size) == 0);
  CHECK(timeout.tv_sec == 3);
  char byte;
  CHECK(::read(*other, &byte, 1) == 0);  // it has nothing to say any more
  CHECK(::send(*other, "x", 1, MSG_NOSIGNAL) == 1);
}

TEST_CASE("a datagram socket that criu is given is none to it") {
  auto file = socket(SOCK_DGRAM, TCP_CLOSE);
  file.mutable_usk()->set_ino(44);
  const auto image = "magic123" + framed(file.SerializeAsString());
  image::file_entry read;
  REQUIRE(read.ParseFromString(without_names(image, {"socket:[44]"})->substr(12)));
  CHECK(read.usk().type() == SOCK_STREAM);
  CHECK(read.usk().state() == TCP_LISTEN);
  CHECK(read.usk().peer() == 0);
  CHECK(read.usk().name().empty());
  REQUIRE(read.ParseFromString(without_names(image)->substr(12)));
  CHECK(read.usk().type() == SOCK_DGRAM);
}

TEST_CASE("what waits in a socket is taken out of criu's image") {
  auto one = socket(SOCK_DGRAM, TCP_CLOSE), other = one;
  one.mutable_usk()->set_ino(44);
  one.mutable_usk()->set_id(7);
  other.mutable_usk()->set_ino(45);
  other.mutable_usk()->set_id(8);
  const auto files =
      "magic123" + framed(one.SerializeAsString()) + framed(other.SerializeAsString());
  const auto numbers = socket_numbers(files, {"socket:[44]", "socket:[46]"});
  REQUIRE(numbers.ok());
  CHECK(*numbers == std::set<std::uint32_t>{7});
  const auto message = [](std::uint32_t id, const std::string& bytes) {
    image::sk_packet_entry packet;
    packet.set_id_for(id);
    packet.set_length(static_cast<std::uint32_t>(bytes.size()));
    return framed(packet.SerializeAsString()) + bytes;
  };
  const std::string image =
      "magic123" + message(7, "taken out") + message(8, "stays") + message(7, "") + message(8, "");
  const auto changed = without_messages(image, *numbers);
  REQUIRE(changed.ok());
  CHECK(*changed == "magic123" + message(8, "stays") + message(8, ""));
  const std::string cut = image + message(7, "cut off");
  CHECK_FALSE(without_messages(cut.substr(0, cut.size() - 1), *numbers).ok());
}

namespace {

image::unix_sk_entry after(const Result<std::string>& image) {
  REQUIRE(image.ok());
  image::file_entry file;
  REQUIRE(file.ParseFromString(image->substr(12)));
  return file.usk();
}

}  // namespace

TEST_CASE("a name that was deleted is told so, and criu's bind to it is announced") {
  image::file_entry file = socket(SOCK_STREAM, TCP_LISTEN);
  auto& s = *file.mutable_usk();
  s.set_ino(44);
  s.set_deleted(false);
  s.clear_name_dir();
  s.set_name(std::string("/run/x.sock\0", 12));
  const std::string image = "magic123" + framed(file.SerializeAsString());
  CHECK(deleted_names(image)->empty());
  CHECK(!after(with_deleted_names(image, {"socket:[45]"})).deleted());
  const auto deleted = with_deleted_names(image, {"socket:[44]"});
  CHECK(after(deleted).deleted());
  CHECK(*deleted_names(*deleted) == std::vector<std::string>{"/run/x.sock"});
  CHECK(after(with_announced_binds(*deleted)).name_dir() == "/.ssid-deleted-socket-x.sock/..");
  CHECK(after(with_announced_binds(*deleted)).name() == s.name());
  CHECK(after(with_announced_binds(image)).name_dir() == "/.ssid-named-socket/..");
}

TEST_CASE("one whose file was renamed has its new name") {
  image::file_entry file = socket(SOCK_STREAM, TCP_LISTEN);
  auto& s = *file.mutable_usk();
  s.set_ino(44);
  s.set_name(std::string("/run/x.tmp\0", 11));
  const std::string image = "magic123" + framed(file.SerializeAsString());
  CHECK(after(with_new_names(image, {{"socket:[44]", "/run/x"}})).name() ==
        std::string("/run/x\0", 7));
  CHECK(after(with_new_names(image, {{"socket:[45]", "/run/x"}})).name() == s.name());
}

TEST_CASE("a deleted name that is relative, and one that is abstract") {
  image::file_entry file = socket(SOCK_DGRAM, TCP_CLOSE);
  auto& s = *file.mutable_usk();
  s.set_ino(44);
  s.set_name("d/s");
  s.set_name_dir("/tmp/dir");
  const std::string image = "magic123" + framed(file.SerializeAsString());
  CHECK(*deleted_names(image) == std::vector<std::string>{"/tmp/dir/d/s"});
  CHECK(after(with_announced_binds(image)).name_dir() == "/.ssid-deleted-socket-s/../tmp/dir");
  s.set_name(std::string("\0s", 2));
  s.set_deleted(false);
  s.clear_name_dir();
  const std::string abstract = "magic123" + framed(file.SerializeAsString());
  CHECK(!after(with_deleted_names(abstract, {"socket:[44]"})).deleted());
  CHECK(after(with_announced_binds(abstract)).name_dir().empty());
}
