#include "migrate/streams/message_device.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace ssi::migrate {
namespace {

class GuestMessages final : public MessageSocket {
 public:
  GuestMessages(ucred sender, GuestQueue queue) : MessageSocket(sender), queue_(std::move(queue)) {}

  std::uint64_t unread(int) override { return waiting() + bytes_begun(); }
  std::uint64_t take_back(int fd) override { return unread(fd); }
  bool keeps_what_is_taken_back() const override { return true; }

 private:
  void sent(std::size_t message_bytes) override { unread_.written(message_bytes); }
  std::uint64_t waiting() {
    const auto bytes = queue_.waiting();
    return bytes ? unread_.stream_bytes(*bytes) : unread_.stream_bytes_of_all();
  }

  GuestQueue queue_;
  UnreadMessages unread_;
};

}  // namespace

ssize_t MessageSocket::read(int fd, char* to, std::size_t size) {
  if (read_.empty()) {
    const ssize_t got = read_messages(fd, read_);
    if (got <= 0) return got;
  }
  const std::size_t given = std::min(size, read_.size());
  std::memcpy(to, read_.data(), given);
  read_.erase(0, given);
  return static_cast<ssize_t>(given);
}

ssize_t MessageSocket::write(int fd, const char* from, std::size_t size) {
  std::string_view left(from, size);
  while (!left.empty()) {
    const auto piece = left.substr(0, message_.wanted(left));
    message_.take(piece);
    if (message_.broken()) {
      errno = EBADMSG;
      return -1;
    }
    if (message_.complete()) {
      if (send_one(fd, message_.message()) < 0) {
        message_.untake(piece.size());
        break;
      }
      sent(message_.message().size());
      message_.next();
    }
    left.remove_prefix(piece.size());
  }
  const std::size_t written = size - left.size();
  return written == 0 && size > 0 ? -1 : static_cast<ssize_t>(written);
}

ssize_t MessageSocket::read_messages(int fd, std::string& stream) {
  // If it was shut before, nothing comes any more.
  const bool shut = writers_gone(fd);
  const ssize_t size = ::recv(fd, nullptr, 0, MSG_PEEK | MSG_TRUNC | MSG_DONTWAIT);
  if (size < 0) return -1;
  if (size == 0 && shut) return 0;
  std::string message(static_cast<std::size_t>(size), '\0');
  if (message.size() > kMessageBytesMax) {
    ::shutdown(fd, SHUT_RDWR);  // as for a descriptor
    return 0;
  }
  const ssize_t got = receive(fd, message.data(), message.size());
  if (got < 0) return -1;
  if (got < size) return 0;  // it had a descriptor
  append_message(stream, message);
  return static_cast<ssize_t>(stream.size());
}

ssize_t MessageSocket::send_one(int fd, std::string_view message) {
  const ssize_t put = SocketDevice::write(fd, message.data(), message.size());
  if (put >= 0 || errno != EMSGSIZE) return put;
  // Its sender had a larger buffer. The kernel takes twice what it is told.
  const int bytes = static_cast<int>(message.size() + 4096);
  ::setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof bytes);
  return SocketDevice::write(fd, message.data(), message.size());
}

std::unique_ptr<StreamDevice> home_messages(std::optional<ucred> sender) {
  return std::make_unique<MessageSocket>(sender);
}

std::unique_ptr<StreamDevice> guest_messages(ucred sender, GuestQueue queue) {
  return std::make_unique<GuestMessages>(sender, std::move(queue));
}

}  // namespace ssi::migrate
