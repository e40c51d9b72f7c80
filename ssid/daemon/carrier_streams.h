// The movers' StreamPort, spoken to this node's carrier. Thread-safe: a connection for each call
// (the carrier is on this node; a call costs some tens of microseconds).
#pragma once

#include <chrono>
#include <functional>

#include "migrate/move/environment.h"
#include "ssid/wire/carrier/carrier_messages.h"

namespace ssi {

class CarrierStreams : public migrate::StreamPort {
 public:
  // Any thread: how the carrier of a node is reached.
  using PeerOf = std::function<Result<CarrierPeer>(NodeId)>;

  // Any thread: where a home's files are seen on this node.
  using RootOf = std::function<std::string(NodeId)>;

  CarrierStreams(NodeId self, PeerOf peer_of, RootOf root_of)
      : self_(self), peer_of_(std::move(peer_of)), root_of_(std::move(root_of)) {}

  Result<> export_at_home(const migrate::StreamRef& stream, int fd,
                          const std::vector<pid_t>& pids) override;
  Result<UniqueFd> attach(NodeId home, const migrate::StreamRef& stream) override;
  Result<UniqueFd> attach_socket(NodeId home, const migrate::StreamRef& stream,
                                 int network) override;
  Result<UniqueFd> attach_named(NodeId home, const migrate::StreamRef& socket, int network,
                                const std::vector<migrate::StreamRef>& streams) override;
  Result<std::vector<migrate::StreamRef>> accepted_by(const migrate::StreamRef& listener) override;
  Result<> start(const migrate::StreamRef& stream) override;
  Result<> drain(const migrate::StreamRef& stream, std::optional<std::uint32_t> datagrams) override;
  Result<> resume(const migrate::StreamRef& stream) override;
  void detach(const migrate::StreamRef& stream) override;
  void close_at_home(const migrate::StreamRef& stream) override;

  // Where the guest runs, a terminal's reading direction: size and settings are home's again.
  // Blocks for at most a second.
  void refresh_terminal(const migrate::StreamRef& stream);
  // Where a guest has ended: whether everything it wrote is in the pipe at home, within the time.
  bool flush(const migrate::StreamRef& stream, std::chrono::milliseconds timeout);

 private:
  const NodeId self_;
  const PeerOf peer_of_;
  const RootOf root_of_;
};

}  // namespace ssi
