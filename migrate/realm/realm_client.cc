#include "migrate/realm/realm_client.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <array>
#include <cstring>

#include "ssid/wire/unix_socket.h"

namespace ssi::migrate {
namespace {

constexpr int kOpenedTimeoutMs = 1000;  // it was sent before the answer

}  // namespace

Result<RealmClient> RealmClient::connect(const std::string& socket_path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (socket_path.size() >= sizeof address.sun_path) return Error("socket path is too long");
  std::memcpy(address.sun_path, socket_path.data(), socket_path.size());
  UniqueFd fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (!fd) return Error::from_errno("socket");
  if (::connect(*fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    return Error::from_errno("connect to the realm at " + socket_path);
  }
  return RealmClient(std::move(fd));
}

Result<> RealmClient::send(RealmOp op, pid_t pid, int value, std::span<const int> fds) {
  RealmMessage message{static_cast<std::uint32_t>(op), pid, value, 0};
  iovec iov{&message, sizeof message};
  msghdr header{};
  header.msg_iov = &iov;
  header.msg_iovlen = 1;
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * kRealmMaxFds)> control{};
  if (fds.size() > static_cast<std::size_t>(kRealmMaxFds)) return Error("too many descriptors");
  if (!fds.empty()) {
    header.msg_control = control.data();
    header.msg_controllen = CMSG_SPACE(fds.size_bytes());
    cmsghdr* c = CMSG_FIRSTHDR(&header);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(fds.size_bytes());
    std::memcpy(CMSG_DATA(c), fds.data(), fds.size_bytes());
  }
  if (::sendmsg(*socket_, &header, MSG_NOSIGNAL) != sizeof message) {
    return Error::from_errno("ask the realm");
  }
  return {};
}

Result<RealmMessage> RealmClient::call(RealmOp op, pid_t pid, int value, std::span<const int> fds) {
  SSI_TRY(send(op, pid, value, fds));
  for (;;) {
    RealmMessage answer;
    const ssize_t n = ::recv(*socket_, &answer, sizeof answer, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Error::from_errno("answer of the realm");
    if (n != sizeof answer) return Error("the realm is gone");
    if (answer.op != static_cast<std::uint32_t>(RealmOp::kReply))
      continue;  // end of an earlier criu
    if (answer.error != 0) return Error::from_errno("realm", answer.error);
    return answer;
  }
}

Result<UniqueFd> RealmClient::network() { return open(RealmOp::kNetwork); }

Result<UniqueFd> RealmClient::shared_memory() { return open(RealmOp::kSharedMemory); }

Result<UniqueFd> RealmClient::open(RealmOp op) {
  SSI_ASSIGN(UnixPair pair, unix_pair(UnixType::kSeqPacket));
  const int fds[] = {*pair.second};
  SSI_TRY(call(op, 0, 0, fds));
  SSI_ASSIGN(UnixMessage sent, unix_recv(*pair.first, 1, 1, kOpenedTimeoutMs));
  if (sent.descriptors.size() != 1) return Error("the realm did not send what it has opened");
  return std::move(sent.descriptors[0]);
}

Result<> RealmClient::subscribe() { return send(RealmOp::kSubscribe, 0, 0, {}); }

Result<std::optional<RealmMessage>> RealmClient::receive_now() {
  RealmMessage message;
  const ssize_t n = ::recv(*socket_, &message, sizeof message, MSG_DONTWAIT);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return std::optional<RealmMessage>();
  if (n < 0) return Error::from_errno("receive from the realm");
  if (n != sizeof message) return Error("the realm is gone");
  return std::optional<RealmMessage>(message);
}

}  // namespace ssi::migrate
