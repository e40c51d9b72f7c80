// A move's link over TLS between two nodes.
#pragma once

#include <memory>

#include "migrate/move/move_link.h"
#include "ssid/wire/tls_link.h"

namespace ssi {

class TlsMoveLink : public migrate::MoveLink {
 public:
  explicit TlsMoveLink(std::unique_ptr<TlsLink> link) : link_(std::move(link)) {}

  Result<> send(migrate::MoveFrame type, std::span<const std::uint8_t> payload) override;
  Result<Frame> receive() override;
  void abort() override { link_->abort(); }
  NodeId peer() const { return link_->peer(); }

 private:
  std::unique_ptr<TlsLink> link_;
  std::vector<std::uint8_t> buffer_;
};

}  // namespace ssi
