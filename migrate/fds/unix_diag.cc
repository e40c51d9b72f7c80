#include "migrate/fds/unix_diag.h"

#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <array>
#include <cstring>
#include <thread>
#include <vector>

#include "ssid/base/unique_fd.h"

namespace ssi::fds {
namespace {

constexpr std::size_t kAnswerBytes = 256 << 10;
constexpr timeval kPatience{.tv_sec = 5, .tv_usec = 0};

struct Request {
  nlmsghdr head;
  unix_diag_req body;
};

// A netlink socket stays in the namespace in which it was made; a thread may go there alone.
Result<UniqueFd> open_in(pid_t pid) {
  const std::string path = "/proc/" + std::to_string(pid) + "/ns/net";
  const UniqueFd there(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!there && errno == ENOENT) return Error(ErrorCode::kGone, path + ": No such process");
  if (!there) return Error::from_errno(path);
  struct stat theirs {};
  struct stat ours {};
  if (::fstat(*there, &theirs) == 0 && ::stat("/proc/self/ns/net", &ours) == 0 &&
      theirs.st_ino == ours.st_ino) {
    return open_unix_diag();
  }
  Result<UniqueFd> opened = Error("not opened");
  std::thread([&] {
    opened =
        ::setns(*there, CLONE_NEWNET) == 0 ? open_unix_diag() : Error::from_errno("enter " + path);
  }).join();
  return opened;
}

// inode 0: all.
Result<> ask(int fd, SocketInode inode) {
  Request request{};
  request.head.nlmsg_len = sizeof request;
  request.head.nlmsg_type = SOCK_DIAG_BY_FAMILY;
  request.head.nlmsg_flags =
      static_cast<std::uint16_t>(inode == 0 ? NLM_F_REQUEST | NLM_F_DUMP : NLM_F_REQUEST);
  request.body.udiag_ino = static_cast<std::uint32_t>(inode);
  request.body.udiag_cookie[0] = request.body.udiag_cookie[1] = ~0U;  // none
  request.body.sdiag_family = AF_UNIX;
  request.body.udiag_states = ~0U;
  request.body.udiag_show = UDIAG_SHOW_NAME | UDIAG_SHOW_PEER | UDIAG_SHOW_ICONS | UDIAG_SHOW_RQLEN;
  if (::send(fd, &request, sizeof request, 0) != static_cast<ssize_t>(sizeof request)) {
    return Error::from_errno("ask for unix sockets");
  }
  return {};
}

UnixSocket::Type type_of(unsigned kind) {
  if (kind == SOCK_DGRAM) return UnixSocket::Type::kDatagram;
  return kind == SOCK_SEQPACKET ? UnixSocket::Type::kSeqpacket : UnixSocket::Type::kStream;
}

UnixSocket::State state_of(unsigned state) {
  if (state == TCP_LISTEN) return UnixSocket::State::kListening;
  return state == TCP_ESTABLISHED ? UnixSocket::State::kConnected : UnixSocket::State::kOpen;
}

void take_attribute(UnixSocket& s, const rtattr* attribute) {
  const auto* data = static_cast<const char*>(RTA_DATA(attribute));
  const std::size_t size = RTA_PAYLOAD(attribute);
  std::uint32_t number = 0;
  switch (attribute->rta_type) {
    case UNIX_DIAG_NAME:
      s.name.assign(data, size);
      // The kernel's name of a file ends with a zero byte if it was bound so.
      while (!s.name.empty() && s.name.front() != '\0' && s.name.back() == '\0') s.name.pop_back();
      break;
    case UNIX_DIAG_PEER:
      if (size < sizeof number) break;
      std::memcpy(&number, data, sizeof number);
      s.peer = number;
      break;
    case UNIX_DIAG_ICONS:
      for (std::size_t at = 0; at + sizeof number <= size; at += sizeof number) {
        std::memcpy(&number, data + at, sizeof number);
        s.waiting.push_back(number);
      }
      break;
    case UNIX_DIAG_RQLEN: {
      unix_diag_rqlen lengths{};
      if (size < sizeof lengths) break;
      std::memcpy(&lengths, data, sizeof lengths);
      s.unread_bytes = lengths.udiag_rqueue;
      s.unsent_bytes = lengths.udiag_wqueue;
      break;
    }
    default:
      break;
  }
}

Result<> add_socket(UnixTable& table, const nlmsghdr* head) {
  unix_diag_msg message{};
  if (head->nlmsg_len < NLMSG_LENGTH(sizeof message)) return Error("a unix socket cut short");
  std::memcpy(&message, NLMSG_DATA(head), sizeof message);
  UnixSocket s{.inode = message.udiag_ino,
               .type = type_of(message.udiag_type),
               .state = state_of(message.udiag_state)};
  std::size_t left = head->nlmsg_len - NLMSG_LENGTH(sizeof message);
  const auto* attribute = reinterpret_cast<const rtattr*>(
      static_cast<const char*>(NLMSG_DATA(head)) + NLMSG_ALIGN(sizeof message));
  for (; RTA_OK(attribute, left); attribute = RTA_NEXT(attribute, left)) {
    take_attribute(s, attribute);
  }
  table[s.inode] = std::move(s);
  return {};
}

}  // namespace

Result<UniqueFd> open_unix_diag() {
  UniqueFd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
  if (!fd) return Error::from_errno("ask for unix sockets");
  ::setsockopt(*fd, SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof kPatience);
  return fd;
}

std::optional<UnixSocket> ask_unix_socket(int diag, SocketInode inode) {
  if (inode == 0 || !ask(diag, inode)) return {};
  std::array<std::byte, 8 << 10> answer;
  const ssize_t size = ::recv(diag, answer.data(), answer.size(), 0);
  UnixTable table;
  if (size <= 0 || !add_unix_diag(table, {answer.data(), static_cast<std::size_t>(size)}))
    return {};
  const auto found = table.find(inode);
  if (found == table.end()) return {};
  return std::move(found->second);
}

Result<bool> add_unix_diag(UnixTable& table, std::span<const std::byte> answer) {
  const auto* head = reinterpret_cast<const nlmsghdr*>(answer.data());
  std::size_t left = answer.size();
  for (; NLMSG_OK(head, left); head = NLMSG_NEXT(head, left)) {
    if (head->nlmsg_type == NLMSG_DONE) return true;
    if (head->nlmsg_type == NLMSG_ERROR) {
      nlmsgerr failed{};
      if (head->nlmsg_len < NLMSG_LENGTH(sizeof failed)) return Error("an error cut short");
      std::memcpy(&failed, NLMSG_DATA(head), sizeof failed);
      return Error::from_errno("list unix sockets", -failed.error);
    }
    if (head->nlmsg_type == SOCK_DIAG_BY_FAMILY) SSI_TRY(add_socket(table, head));
  }
  return false;
}

Result<UnixTable> read_unix_sockets(pid_t pid) {
  SSI_ASSIGN(const UniqueFd fd, open_in(pid));
  SSI_TRY(ask(*fd, 0));
  UnixTable table;
  std::vector<std::byte> answer(kAnswerBytes);
  for (;;) {
    const ssize_t size = ::recv(*fd, answer.data(), answer.size(), 0);
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) return Error::from_errno("list unix sockets");
    SSI_ASSIGN(const bool last,
               add_unix_diag(table, {answer.data(), static_cast<std::size_t>(size)}));
    if (last) return table;
  }
}

}  // namespace ssi::fds
