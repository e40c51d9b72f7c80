// A Channel over a stream socket without encryption: each frame is a 32 bit length and its bytes.
// For socket pairs inside one machine (tests, and a home that views its own files); never between
// machines.
#pragma once

#include "ssid/base/unique_fd.h"
#include "ssid/wire/carrier/channel.h"

namespace ssi {

class SocketChannel final : public Channel {
 public:
  explicit SocketChannel(UniqueFd socket) : socket_(std::move(socket)) {}

  Result<> send(std::initializer_list<ByteSpan> parts) override;
  Result<> recv(FrameBuffer& frame) override;
  void abort() override;

 private:
  UniqueFd socket_;
};

}  // namespace ssi
