#include "ssid/daemon/carrier_streams.h"

#include <optional>

#include "migrate/fds/socket_link.h"
#include "ssid/base/log.h"
#include "ssid/base/process_handle.h"
#include "ssid/wire/carrier/carrier_client.h"

namespace ssi {
namespace {

constexpr std::int32_t kDrainTimeoutMs = 5000;
constexpr std::int32_t kLingerMs = 30'000;
constexpr std::int32_t kRefreshTimeoutMs = 1000;

CarrierDirection direction(const migrate::StreamRef& s) {
  if (s.listens()) return CarrierDirection::kGuestAccepts;
  return s.write_end ? CarrierDirection::kGuestWrites : CarrierDirection::kGuestReads;
}

}  // namespace

Result<> CarrierStreams::export_at_home(const migrate::StreamRef& stream, int fd,
                                        const std::vector<pid_t>& pids) {
  SSI_ASSIGN(const auto first, ProcessHandle::open(pids.at(0)));
  SSI_ASSIGN(auto carrier, CarrierClient::connect());
  SSI_TRY(carrier.export_stream(stream.id, direction(stream), fd, first.pidfd()));
  for (std::size_t i = 1; i < pids.size(); ++i) {
    SSI_ASSIGN(const auto other, ProcessHandle::open(pids[i]));
    SSI_TRY(carrier.own_stream(stream.id, other.pidfd()));
  }
  return {};
}

Result<UniqueFd> CarrierStreams::attach(NodeId home, const migrate::StreamRef& stream) {
  SSI_ASSIGN(auto peer, peer_of_(home));
  SSI_ASSIGN(auto carrier, CarrierClient::connect());
  return carrier.attach_stream({.id = stream.id,
                                .generation = stream.generation,
                                .direction = direction(stream),
                                .capacity = stream.capacity,
                                .home = std::move(peer),
                                .on_demand = stream.on_demand,
                                .terminal = stream.terminal});
}

Result<UniqueFd> CarrierStreams::attach_socket(NodeId home, const migrate::StreamRef& stream,
                                               int network) {
  SSI_ASSIGN(auto peer, peer_of_(home));
  SSI_ASSIGN(auto carrier, CarrierClient::connect());
  return carrier.attach_stream({.id = stream.id,
                                .generation = stream.generation,
                                .direction = direction(stream),
                                .home = std::move(peer),
                                .socket = stream.socket,
                                .peer_uid = stream.peer_uid,
                                .peer_gid = stream.peer_gid,
                                .socket_type = stream.socket_type},
                               network);
}

Result<UniqueFd> CarrierStreams::attach_named(NodeId home, const migrate::StreamRef& socket,
                                              int network,
                                              const std::vector<migrate::StreamRef>& streams) {
  std::vector<std::uint64_t> carried;
  for (const migrate::StreamRef& s : streams) {
    if (s.socket == 0 || s.write_end) continue;
    carried.insert(carried.end(), {s.socket, s.id});  // `socket` is the other direction's number
  }
  SSI_ASSIGN(auto peer, peer_of_(home));
  SSI_ASSIGN(auto carrier, CarrierClient::connect());
  return carrier.attach_listener({.id = socket.id,
                                  .generation = socket.generation,
                                  .home = std::move(peer),
                                  .address = socket.address,
                                  .root = home == self_ ? "/" : root_of_(home),
                                  .gives_itself = home == self_,
                                  .carried = std::move(carried),
                                  .socket_type = socket.socket_type},
                                 network);
}

Result<std::vector<migrate::StreamRef>> CarrierStreams::accepted_by(
    const migrate::StreamRef& listener) {
  SSI_ASSIGN(auto carrier, CarrierClient::connect());
  SSI_ASSIGN(const auto connections, carrier.accepted_by(listener.id));
  std::vector<migrate::StreamRef> streams;
  for (const AcceptedConnection& c : connections) {
    migrate::StreamRef out{.id = c.out,
                           .key = fds::socket_link(c.inode),
                           .write_end = true,
                           .generation = listener.generation,
                           .socket = c.out,
                           .peer_uid = c.peer_uid,
                           .peer_gid = c.peer_gid,
                           .socket_type = listener.socket_type};
    out.local_key = out.key;
    migrate::StreamRef in = out;
    in.id = c.in;
    in.write_end = false;
    streams.push_back(std::move(out));
    streams.push_back(std::move(in));
  }
  return streams;
}

Result<> CarrierStreams::start(const migrate::StreamRef& stream) {
  SSI_ASSIGN(auto carrier, CarrierClient::connect());
  const auto socket = stream.listens() ? fds::socket_inode(stream.local_key) : std::nullopt;
  return carrier.start_stream(stream.id, socket.value_or(0));
}

Result<> CarrierStreams::drain(const migrate::StreamRef& stream,
                               std::optional<std::uint32_t> datagrams) {
  SSI_ASSIGN(auto carrier, CarrierClient::connect());
  DrainStream wanted{.id = stream.id, .timeout_ms = kDrainTimeoutMs};
  if (datagrams) wanted.datagrams = *datagrams;
  return carrier.drain_stream(wanted);
}

Result<> CarrierStreams::resume(const migrate::StreamRef& stream) {
  SSI_ASSIGN(auto carrier, CarrierClient::connect());
  return carrier.resume_stream(stream.id);
}

void CarrierStreams::refresh_terminal(const migrate::StreamRef& stream) {
  auto carrier = CarrierClient::connect();
  if (carrier) (void)carrier->refresh_terminal(stream.id, kRefreshTimeoutMs);
}

void CarrierStreams::detach(const migrate::StreamRef& stream) {
  auto carrier = CarrierClient::connect();
  if (carrier) (void)carrier->detach_stream(stream.id, stream.generation);
}

void CarrierStreams::close_at_home(const migrate::StreamRef& stream) {
  auto carrier = CarrierClient::connect();
  if (carrier) (void)carrier->close_stream(stream.id, kLingerMs);
}

bool CarrierStreams::flush(const migrate::StreamRef& stream, std::chrono::milliseconds timeout) {
  auto carrier = CarrierClient::connect();
  if (!carrier) return false;
  auto done = carrier->drain_stream(
      {.id = stream.id, .timeout_ms = static_cast<std::int32_t>(timeout.count()), .written = true});
  return done || done.error().code() == ErrorCode::kGone;
}

}  // namespace ssi
