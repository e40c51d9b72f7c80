// Datagram sockets that others reach by their names. Home's keeps its queue: what is there is sent
// on while it stays, a few at a time, and taken out of it when the guest has read it. So whoever
// sends waits as ever if the guest does not read; and when the guest comes home, all that it has
// not read is there, in its order.
#include <fcntl.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <deque>
#include <map>
#include <utility>

#include "migrate/fds/relay_ends.h"
#include "migrate/streams/message_device.h"

namespace ssi::migrate {
namespace {

constexpr std::size_t kAtATime = 10;  // as many as the kernel lets wait (net.unix.max_dgram_qlen)

class HomeDatagrams final : public MessageSocket {
 public:
  using MessageSocket::MessageSocket;

  bool waits_for_reader() const override { return !waiting_.empty() && !holds_more(); }
  bool writers_gone(int) const override { return false; }
  bool unreadable(short) const override { return false; }

  void drop(int fd, std::uint64_t bytes) override {
    while (!waiting_.empty() && bytes >= waiting_.front() + kMessageHead) {
      bytes -= waiting_.front() + kMessageHead;
      waiting_.pop_front();
      (void)::recv(fd, nullptr, 0, MSG_DONTWAIT);
    }
  }

 private:
  ssize_t read_messages(int fd, std::string& stream) override {
    if (!waiting_.empty()) {
      errno = EAGAIN;
      return -1;
    }
    set_peek_offset(fd, 0);
    std::string message;
    while (waiting_.size() < kAtATime) {
      const ssize_t size = peek(fd, message);
      if (size < 0) break;
      append_message(stream, std::string_view(message).substr(0, static_cast<std::size_t>(size)));
      waiting_.push_back(static_cast<std::size_t>(size));
    }
    const int error = errno;
    set_peek_offset(fd, -1);
    errno = error;
    return stream.empty() ? -1 : static_cast<ssize_t>(stream.size());
  }

  static void set_peek_offset(int fd, int offset) {
    (void)::setsockopt(fd, SOL_SOCKET, SO_PEEK_OFF, &offset, sizeof offset);
  }
  // What does not fit is cut off, as a reader with so small a buffer would have it.
  static ssize_t peek(int fd, std::string& to) {
    to.resize(kMessageBytesMax);
    return ::recv(fd, to.data(), to.size(), MSG_PEEK | MSG_DONTWAIT);
  }

  std::deque<std::size_t> waiting_;  // in the socket's queue, on their way to the guest
};

// How much of its sender's memory a datagram takes until it is read; the kernel's own measure.
class Footprints {
 public:
  // 0: it can't be told.
  int of(std::size_t bytes) {
    const auto known = known_.find(bytes);
    if (known != known_.end()) return known->second;
    return known_[bytes] = measured(bytes);
  }

 private:
  static int measured(std::size_t bytes) {
    int pair[2];
    if (::socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0) return 0;
    const UniqueFd from(pair[0]), to(pair[1]);
    const int room = static_cast<int>(bytes + 4096);
    (void)::setsockopt(*from, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof room);
    const std::string message(bytes, '\0');
    int used = 0;
    if (::send(*from, message.data(), message.size(), 0) < 0) return 0;
    return ::ioctl(*from, SIOCOUTQ, &used) == 0 ? used : 0;
  }

  std::map<std::size_t, int> known_;
};

class GuestDatagrams final : public MessageSocket {
 public:
  GuestDatagrams(std::string address, UniqueFd root)
      : address_(std::move(address)), root_(std::move(root)) {}

  bool tells_what_is_read() const override { return true; }
  // Else they move on with the guest, in criu's hands.
  bool expect_messages(int fd, std::size_t waiting) override {
    goes_home_ = true;
    return waiting == unread_messages(fd);
  }
  // All are read, or none count as read.
  std::uint64_t unread(int fd) override {
    int used = 0;
    if (::ioctl(fd, SIOCOUTQ, &used) == 0 && used == 0) sizes_.clear();
    return bytes_of(sizes_.size()) + bytes_begun();
  }
  std::uint64_t take_back(int fd) override {
    const std::size_t count = std::exchange(goes_home_, false) ? unread_messages(fd) : 0;
    return bytes_of(count) + bytes_begun();
  }
  bool keeps_what_is_taken_back() const override { return true; }

 private:
  ssize_t send_one(int fd, std::string_view message) override {
    if (!connected_) {
      if (!fds::connect_datagrams(fd, *root_, address_)) {
        errno = ECONNREFUSED;
        return -1;
      }
      connected_ = true;
    }
    return MessageSocket::send_one(fd, message);
  }
  // Exact; the guest stands still.
  std::size_t unread_messages(int fd) {
    int used = 0;
    if (::ioctl(fd, SIOCOUTQ, &used) != 0) return 0;
    std::size_t count = 0;
    for (int found = 0; found < used && count < sizes_.size(); ++count) {
      const int footprint = footprints_.of(sizes_[sizes_.size() - 1 - count]);
      if (footprint == 0) break;
      found += footprint;
    }
    return count;
  }
  void sent(std::size_t message_bytes) override { sizes_.push_back(message_bytes); }
  // Of the newest.
  std::uint64_t bytes_of(std::size_t count) const {
    std::uint64_t bytes = 0;
    for (std::size_t i = 0; i < count; ++i) bytes += kMessageHead + sizes_[sizes_.size() - 1 - i];
    return bytes;
  }

  const std::string address_;
  const UniqueFd root_;
  bool connected_ = false;
  bool goes_home_ = false;
  std::deque<std::size_t> sizes_;  // since all were read
  Footprints footprints_;
};

}  // namespace

std::unique_ptr<StreamDevice> home_datagrams(std::optional<ucred> sender) {
  return std::make_unique<HomeDatagrams>(sender);
}

std::unique_ptr<StreamDevice> guest_datagrams(std::string address, UniqueFd root) {
  return std::make_unique<GuestDatagrams>(std::move(address), std::move(root));
}

}  // namespace ssi::migrate
