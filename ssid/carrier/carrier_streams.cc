// The carrier's streams, and the unix sockets whose clients become some: what its control socket
// asks.
#include <fcntl.h>
#include <sys/socket.h>

#include "ssid/carrier/carrier.h"

namespace ssi {
namespace {

template <typename T>
ByteSpan bytes_of(const T& value) {
  return {reinterpret_cast<const std::uint8_t*>(&value), sizeof(value)};
}

migrate::StreamDirection direction_of(CarrierDirection direction) {
  return static_cast<migrate::StreamDirection>(direction);
}
bool valid(CarrierDirection direction) {
  return direction == CarrierDirection::kGuestReads || direction == CarrierDirection::kGuestWrites;
}

Result<int> type_of(std::uint32_t socket_type) {
  if (socket_type != SOCK_STREAM && socket_type != SOCK_SEQPACKET && socket_type != SOCK_DGRAM) {
    return Error(ErrorCode::kUsage, "invalid type of a socket");
  }
  return static_cast<int>(socket_type);
}

}  // namespace

Result<> Carrier::export_stream(const ExportStream& wanted, UniqueFd fd, UniqueFd owner) {
  if (wanted.direction == CarrierDirection::kGuestAccepts) {
    return home_listeners_.export_socket(wanted.id, std::move(fd), std::move(owner));
  }
  if (!valid(wanted.direction)) return Error(ErrorCode::kUsage, "invalid direction");
  return homes_.export_fd(wanted.id, direction_of(wanted.direction), std::move(fd),
                          std::move(owner));
}

Result<> Carrier::own_stream(std::uint64_t id, UniqueFd owner) {
  if (home_listeners_.has(id)) return home_listeners_.add_owner(id, std::move(owner));
  return homes_.add_owner(id, std::move(owner));
}

Result<> Carrier::close_stream(const StreamRef& wanted) {
  if (home_listeners_.has(wanted.id)) {
    home_listeners_.take_back(wanted.id);
    return {};
  }
  return homes_.close(wanted.id, wanted.timeout_ms);
}

migrate::StreamTarget::Dial Carrier::dial_as(LinkKind kind, const CarrierPeer& home) {
  return [this, kind, home]() -> Result<std::unique_ptr<Channel>> {
    SSI_ASSIGN(auto channel, dial(home));
    LinkHello hello;
    hello.kind = kind;
    hello.node = tls_->self().value;
    hello.realm = home.node;
    SSI_TRY(channel->send({bytes_of(hello)}));
    FrameBuffer frame;
    SSI_TRY(channel->recv(frame));
    ByteReader reader(frame.span());
    const auto welcome = reader.get<LinkWelcome>();
    if (!reader.done() || welcome.magic != LinkHello::kMagic || welcome.error != 0) {
      return Error("home refused the connection");
    }
    return channel;
  };
}

Result<UniqueFd> Carrier::attach_stream(const AttachStream& wanted, UniqueFd network) {
  if (!valid(wanted.direction)) return Error(ErrorCode::kUsage, "invalid direction");
  migrate::StreamTarget::Attach attach;
  attach.id = wanted.id;
  attach.generation = wanted.generation;
  attach.direction = direction_of(wanted.direction);
  attach.capacity = wanted.capacity;
  attach.on_demand = wanted.on_demand;
  attach.terminal = wanted.terminal;
  attach.socket = wanted.socket;
  attach.peer = {wanted.peer_uid, wanted.peer_gid};
  SSI_ASSIGN(attach.socket_type, type_of(wanted.socket_type));
  attach.network = std::move(network);
  attach.dial = dial_as(LinkKind::kStreams, wanted.home);
  return targets_.attach(std::move(attach));
}

// Datagrams that are sent to home's go on to the guest's own socket.
Result<UniqueFd> Carrier::attach_datagrams(const AttachListener& wanted, UniqueFd network) {
  if (wanted.gives_itself) return homes_.duplicate(wanted.id);
  migrate::StreamTarget::Attach attach;
  attach.id = wanted.id;
  attach.generation = wanted.generation;
  attach.direction = migrate::StreamDirection::kGuestReads;
  attach.dial = dial_as(LinkKind::kStreams, wanted.home);
  attach.address = wanted.address;
  attach.root.reset(::open(wanted.root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!attach.root) return Error::from_errno("open " + wanted.root);
  attach.network = std::move(network);
  return targets_.attach(std::move(attach));
}

Result<UniqueFd> Carrier::attach_listener(const AttachListener& wanted, UniqueFd network) {
  if (wanted.address.empty()) return Error(ErrorCode::kUsage, "a socket without a name");
  if (wanted.socket_type == SOCK_DGRAM) return attach_datagrams(wanted, std::move(network));
  migrate::ListenerTarget::Attach attach;
  attach.id = wanted.id;
  attach.generation = wanted.generation;
  attach.dial = dial_as(LinkKind::kListeners, wanted.home);
  attach.dial_stream = dial_as(LinkKind::kStreams, wanted.home);
  attach.address = wanted.address;
  SSI_ASSIGN(attach.socket_type, type_of(wanted.socket_type));
  attach.root.reset(::open(wanted.root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!attach.root) return Error::from_errno("open " + wanted.root);
  attach.network = std::move(network);
  for (std::size_t i = 0; i + 1 < wanted.carried.size(); i += 2) {
    attach.carried.emplace_back(wanted.carried[i], wanted.carried[i + 1]);
  }
  UniqueFd itself;
  if (wanted.gives_itself) {
    SSI_ASSIGN(itself, home_listeners_.duplicate(wanted.id));
  }
  SSI_TRY(listeners_.attach(std::move(attach)));
  return itself;
}

Result<AcceptedConnections> Carrier::accepted_by(std::uint64_t listener) {
  SSI_ASSIGN(const auto accepted, listeners_.accepted(listener));
  AcceptedConnections all;
  for (const auto& c : accepted) {
    all.connections.push_back({c.out, c.in, c.peer.uid, c.peer.gid, c.socket});
  }
  return all;
}

Result<> Carrier::start_stream(const StartStream& wanted) {
  const std::uint64_t id = wanted.id;
  // A datagram socket that has come home.
  if (!listeners_.has(id) && !targets_.has(id) && homes_.has(id)) return homes_.hand_over(id);
  if (!listeners_.has(id)) return targets_.start(id);
  if (home_listeners_.has(id)) (void)home_listeners_.hand_over(id);  // it has come home
  return listeners_.start(id, wanted.socket);
}

Result<> Carrier::resume_stream(std::uint64_t id) {
  return listeners_.has(id) ? listeners_.resume(id) : targets_.resume(id);
}

Result<> Carrier::detach_stream(const DetachStream& m) {
  if (listeners_.has(m.id)) return listeners_.close(m.id, m.generation);
  return targets_.close(m.id, m.generation);
}

Result<> Carrier::demand_stream(const DemandStream& wanted) {
  return targets_.demand(wanted.id, wanted.bytes);
}

Result<> Carrier::drain_stream(const DrainStream& wanted) {
  if (listeners_.has(wanted.id)) return listeners_.pause(wanted.id, wanted.timeout_ms);
  if (wanted.written) return targets_.flush(wanted.id, wanted.timeout_ms);
  if (wanted.datagrams != DrainStream::kStayThere) {
    SSI_TRY(targets_.expect_datagrams(wanted.id, wanted.datagrams));
  }
  return targets_.drain(wanted.id, wanted.timeout_ms);
}

}  // namespace ssi
