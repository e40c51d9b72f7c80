// A Channel over a TLS link between two nodes.
#pragma once

#include "ssid/wire/carrier/channel.h"
#include "ssid/wire/tls_link.h"

namespace ssi {

class TlsChannel final : public Channel {
 public:
  explicit TlsChannel(std::unique_ptr<TlsLink> link) : link_(std::move(link)) {}

  Result<> send(std::initializer_list<ByteSpan> parts) override;
  Result<> recv(FrameBuffer& frame) override;
  void abort() override { link_->abort(); }

  NodeId peer() const { return link_->peer(); }

 private:
  std::unique_ptr<TlsLink> link_;
};

}  // namespace ssi
