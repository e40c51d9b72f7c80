// A unix socket of messages: each is one in the stream, too (messages.h). Only for
// message_device.cc and datagram_device.cc.
#pragma once

#include <string>

#include "migrate/streams/messages.h"
#include "migrate/streams/socket_device.h"

namespace ssi::migrate {

class MessageSocket : public SocketDevice {
 public:
  using SocketDevice::SocketDevice;

  ssize_t read(int fd, char* to, std::size_t size) override;
  bool holds_more() const override { return !read_.empty(); }
  // What belongs to a message counts as written, but for its last bytes: these only with the
  // message.
  ssize_t write(int fd, const char* from, std::size_t size) override;

 protected:
  // Appends what there is to `stream`. 0: the end; -1 and errno: nothing now, or an error.
  virtual ssize_t read_messages(int fd, std::string& stream);
  // As send(2).
  virtual ssize_t send_one(int fd, std::string_view message);
  virtual void sent(std::size_t) {}
  std::size_t bytes_begun() const { return message_.bytes_begun(); }

 private:
  std::string read_;  // what is not given yet
  MessageAssembler message_;
};

}  // namespace ssi::migrate
