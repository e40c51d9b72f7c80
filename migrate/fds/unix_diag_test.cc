#include "migrate/fds/unix_diag.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>

#include "migrate/fds/unix_socket_state.h"
#include "ssid/base/unique_fd.h"

namespace ssi::fds {
namespace {

SocketInode inode_of(int fd) {
  struct stat st {};
  REQUIRE(::fstat(fd, &st) == 0);
  return st.st_ino;
}

UnixTable all() {
  auto table = read_unix_sockets(::getpid());
  REQUIRE(table);
  return std::move(*table);
}

struct Pair {
  UniqueFd a, b;
  explicit Pair(int type) {
    int fds[2];
    REQUIRE(::socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, fds) == 0);
    a = UniqueFd(fds[0]);
    b = UniqueFd(fds[1]);
  }
};

socklen_t address(sockaddr_un& a, const std::string& name) {
  a.sun_family = AF_UNIX;
  std::memcpy(a.sun_path, name.data(), name.size());
  return static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
}

}  // namespace

TEST_CASE("both ends of a pair, and what is in them") {
  const Pair pair(SOCK_SEQPACKET);
  REQUIRE(::write(*pair.a, "hello", 5) == 5);
  const auto table = all();
  const UnixSocket a = table.at(inode_of(*pair.a)), b = table.at(inode_of(*pair.b));
  CHECK(a.peer == b.inode);
  CHECK(b.peer == a.inode);
  CHECK(a.type == UnixSocket::Type::kSeqpacket);
  CHECK(a.state == UnixSocket::State::kConnected);
  CHECK(b.unread_bytes == 5);
  CHECK(a.name.empty());
}

TEST_CASE("a listener, its name, and who waits there") {
  const std::string name = std::string("\0ssid-test-", 11) + std::to_string(::getpid());
  sockaddr_un where{};
  const socklen_t size = address(where, name);
  const UniqueFd listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  REQUIRE(::bind(*listener, reinterpret_cast<sockaddr*>(&where), size) == 0);
  REQUIRE(::listen(*listener, 3) == 0);
  const UniqueFd client(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  REQUIRE(::connect(*client, reinterpret_cast<sockaddr*>(&where), size) == 0);
  const auto table = all();
  const UnixSocket l = table.at(inode_of(*listener)), c = table.at(inode_of(*client));
  CHECK(l.state == UnixSocket::State::kListening);
  CHECK(l.name == name);
  CHECK(l.waiting == std::vector<SocketInode>{c.inode});
  CHECK(c.peer == 0);
  CHECK(c.state == UnixSocket::State::kConnected);
}

TEST_CASE("a file's name leads to its socket until it is deleted") {
  char dir[] = "/tmp/ssid-fds-XXXXXX";
  REQUIRE(::mkdtemp(dir) != nullptr);
  const std::string name = std::string(dir) + "/s";
  sockaddr_un where{};
  const socklen_t size = address(where, name);
  const UniqueFd fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  REQUIRE(::bind(*fd, reinterpret_cast<sockaddr*>(&where), size) == 0);
  CHECK(all().at(inode_of(*fd)).name == name);
  CHECK(!read_state(*fd).name_deleted);
  REQUIRE(::unlink(name.c_str()) == 0);
  CHECK(read_state(*fd).name_deleted);
  CHECK(read_state(*fd).former_path == name);
  CHECK(read_state(*fd).path.empty());
  const UniqueFd second(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  REQUIRE(::bind(*second, reinterpret_cast<sockaddr*>(&where), size) == 0);
  CHECK(read_state(*fd).former_path == name);
  CHECK(!read_state(*second).name_deleted);
  REQUIRE(::unlink(name.c_str()) == 0);
  REQUIRE(::rmdir(dir) == 0);
}

TEST_CASE("descriptors in a queue are seen, and stay there") {
  for (const int type : {SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET}) {
    const Pair pair(type), sent(SOCK_STREAM);
    for (int i = 0; i < 3; ++i) {
      char byte = 'x';
      iovec data{&byte, 1};
      alignas(cmsghdr) char control[CMSG_SPACE(2 * sizeof(int))] = {};
      msghdr message{};
      message.msg_iov = &data;
      message.msg_iovlen = 1;
      message.msg_control = control;
      message.msg_controllen = sizeof control;
      cmsghdr* c = CMSG_FIRSTHDR(&message);
      c->cmsg_level = SOL_SOCKET;
      c->cmsg_type = SCM_RIGHTS;
      c->cmsg_len = CMSG_LEN(2 * sizeof(int));
      const int fds[2] = {*sent.a, *sent.b};
      std::memcpy(CMSG_DATA(c), fds, sizeof fds);
      REQUIRE(::sendmsg(*pair.a, &message, 0) == 1);
    }
    for (int again = 0; again < 2; ++again) {
      const auto seen = peek_descriptors(*pair.b, 6);
      REQUIRE(seen);
      REQUIRE(seen->size() == 6);
      CHECK(inode_of(*(*seen)[0]) == inode_of(*sent.a));
      CHECK(inode_of(*(*seen)[5]) == inode_of(*sent.b));
    }
    CHECK(!peek_descriptors(*pair.b, 7));
    char bytes[3];
    CHECK(::recv(*pair.b, bytes, sizeof bytes, MSG_DONTWAIT) >= 1);
  }
}

TEST_CASE("credentials are asked for") {
  const Pair pair(SOCK_DGRAM);
  CHECK(!read_state(*pair.a).labels_messages);
  const int on = 1;
  REQUIRE(::setsockopt(*pair.a, SOL_SOCKET, SO_PASSCRED, &on, sizeof on) == 0);
  CHECK(read_state(*pair.a).labels_messages);
  CHECK(!read_state(*pair.b).labels_messages);
}

TEST_CASE("what the kernel refuses is an error, and what is cut short, too") {
  struct {
    nlmsghdr head;
    nlmsgerr error;
  } refused{};
  refused.head.nlmsg_len = sizeof refused;
  refused.head.nlmsg_type = NLMSG_ERROR;
  refused.error.error = -EPERM;
  UnixTable table;
  const auto answer = add_unix_diag(table, std::as_bytes(std::span(&refused, 1)));
  REQUIRE(!answer);
  CHECK(answer.error().message().find("not permitted") != std::string::npos);
  refused.head.nlmsg_len = sizeof refused.head;
  CHECK(!add_unix_diag(table, std::as_bytes(std::span(&refused, 1))));
}

}  // namespace ssi::fds
