// Connected unix sockets of a carrier: the guest's own at home, and our end of what the guest got
// for it. Both directions use the same socket, each through a duplicate of its own, so that it is
// shut down rather than closed. Flags of an open file are shared with whoever holds it: O_NONBLOCK
// is never set. Only for socket_device.cc and message_device.cc.
#pragma once

#include <sys/socket.h>

#include <optional>

#include "migrate/fds/unix_socket.h"
#include "migrate/streams/stream_device.h"

namespace ssi::migrate {

class SocketDevice : public StreamDevice {
 public:
  // What is written is sent in that one's name, for who asks with each message who has sent it;
  // else the kernel would say that ssid has, which is root.
  explicit SocketDevice(std::optional<ucred> sender = {}) : sender_(sender) {}

  ssize_t read(int fd, char* to, std::size_t size) override;
  ssize_t write(int fd, const char* from, std::size_t size) override;
  void end_writing(int fd) override { ::shutdown(fd, SHUT_WR); }
  void end_reading(int fd) override { ::shutdown(fd, SHUT_RD); }
  bool unreadable(short events) const override;
  bool writers_gone(int fd) const override;
  std::uint64_t unread(int) override { return 0; }
  std::uint64_t take_back(int) override { return 0; }

 protected:
  // One recvmsg(2). A descriptor that came along can't be passed on: it ends the connection.
  static ssize_t receive(int fd, char* to, std::size_t size);

 private:
  const std::optional<ucred> sender_;
};

// What waits to be read by the guest, who has the other end of `ours`.
class GuestQueue {
 public:
  GuestQueue(fds::SocketInode ours, UniqueFd diag) : ours_(ours), diag_(std::move(diag)) {}
  // Bytes. None: it has not accepted the connection yet, or nobody has it any more.
  std::optional<std::uint64_t> waiting();

 private:
  const fds::SocketInode ours_;
  UniqueFd diag_;
  fds::SocketInode guests_ = 0;  // 0: not known yet
};

// For sockets of messages (seqpacket), and for datagram sockets that others reach by their names.
std::unique_ptr<StreamDevice> home_messages(std::optional<ucred> sender);
std::unique_ptr<StreamDevice> home_datagrams(std::optional<ucred> sender);
std::unique_ptr<StreamDevice> guest_messages(ucred sender, GuestQueue queue);

}  // namespace ssi::migrate
