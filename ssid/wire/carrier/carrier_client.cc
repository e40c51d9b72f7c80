#include "ssid/wire/carrier/carrier_client.h"

#include "ssid/wire/unix_socket.h"

namespace ssi {
namespace {

// The carrier bounds each op itself; this is for a carrier that was stopped.
constexpr std::int64_t kReplyTimeoutMs = 120'000;

}  // namespace

Result<CarrierClient> CarrierClient::connect(const std::string& path) {
  SSI_ASSIGN(UniqueFd socket, unix_connect(path, UnixType::kSeqPacket).context("ssid-carrier"));
  return CarrierClient(std::move(socket));
}

// The bytes behind the reply's head.
Result<CarrierBytes> CarrierClient::ask(const CarrierBytes& request, std::span<const int> send_fds,
                                        UniqueFd* fd) {
  SSI_TRY(unix_send(*socket_, request, send_fds, kReplyTimeoutMs).context("ssid-carrier"));
  SSI_ASSIGN(
      UnixMessage reply,
      unix_recv(*socket_, kCarrierMessageBytesMax, 1, kReplyTimeoutMs).context("ssid-carrier"));
  SSI_ASSIGN(const auto rest, decode_carrier_reply(reply.bytes));
  if (fd != nullptr) {
    if (reply.descriptors.size() != 1) return Error("ssid-carrier: no descriptor in the reply");
    *fd = std::move(reply.descriptors.front());
  }
  return CarrierBytes(rest.begin(), rest.end());
}

Result<> CarrierClient::ask_plain(const CarrierBytes& request, std::span<const int> send_fds) {
  SSI_ASSIGN(const CarrierBytes rest, ask(request, send_fds));
  if (!rest.empty()) return Error("ssid-carrier: invalid reply");
  return {};
}

Result<> CarrierClient::mount_view(const MountView& view) {
  return ask_plain(encode_request(CarrierOp::kMountView, view));
}

Result<> CarrierClient::show_nodes(const ShowNodes& wanted) {
  return ask_plain(encode_request(CarrierOp::kShowNodes, wanted));
}

Result<> CarrierClient::unmount_view(const std::string& mountpoint, bool force) {
  return ask_plain(encode_request(CarrierOp::kUnmountView, UnmountView{mountpoint, force}));
}

Result<std::vector<ViewInfo>> CarrierClient::list_views() {
  SSI_ASSIGN(const CarrierBytes bytes, ask(encode_request(CarrierOp::kListViews)));
  SSI_ASSIGN(ViewList list, decode_message<ViewList>(bytes));
  return std::move(list.views);
}

Result<> CarrierClient::refresh_view(const std::string& mountpoint) {
  return ask_plain(encode_request(CarrierOp::kRefreshView, UnmountView{mountpoint, false}));
}

Result<> CarrierClient::tell_watchers(const TellWatchers& wanted) {
  return ask_plain(encode_request(CarrierOp::kTellWatchers, wanted));
}

Result<> CarrierClient::rebuild_sockets(const RebuildSockets& wanted) {
  return ask_plain(encode_request(CarrierOp::kRebuildSockets, wanted));
}

Result<> CarrierClient::export_stream(std::uint64_t id, CarrierDirection direction, int fd,
                                      int owner) {
  const int fds[] = {fd, owner};
  return ask_plain(encode_request(CarrierOp::kExportStream, ExportStream{id, direction}), fds);
}

Result<> CarrierClient::own_stream(std::uint64_t id, int owner) {
  const int fds[] = {owner};
  return ask_plain(encode_request(CarrierOp::kOwnStream, StreamRef{id, 0}), fds);
}

Result<> CarrierClient::close_stream(std::uint64_t id, std::int32_t linger_ms) {
  return ask_plain(encode_request(CarrierOp::kCloseStream, StreamRef{id, linger_ms}));
}

Result<UniqueFd> CarrierClient::attach_stream(const AttachStream& stream, int network) {
  UniqueFd fd;
  const std::span<const int> fds(&network, network >= 0 ? 1 : 0);
  SSI_ASSIGN(const CarrierBytes rest,
             ask(encode_request(CarrierOp::kAttachStream, stream), fds, &fd));
  if (!rest.empty()) return Error("ssid-carrier: invalid reply");
  return fd;
}

Result<UniqueFd> CarrierClient::attach_listener(const AttachListener& listener, int network) {
  UniqueFd fd;
  const int fds[] = {network};
  UniqueFd* const itself = listener.gives_itself ? &fd : nullptr;
  SSI_TRY(ask(encode_request(CarrierOp::kAttachListener, listener), fds, itself));
  return fd;
}

Result<std::vector<AcceptedConnection>> CarrierClient::accepted_by(std::uint64_t listener) {
  SSI_ASSIGN(const CarrierBytes bytes,
             ask(encode_request(CarrierOp::kAcceptedBy, StreamRef{listener, 0})));
  SSI_ASSIGN(auto accepted, decode_message<AcceptedConnections>(bytes));
  return std::move(accepted.connections);
}

Result<> CarrierClient::start_stream(std::uint64_t id, std::uint64_t socket) {
  return ask_plain(encode_request(CarrierOp::kStartStream, StartStream{id, socket}));
}

Result<> CarrierClient::demand_stream(std::uint64_t id, std::uint64_t bytes) {
  return ask_plain(encode_request(CarrierOp::kDemandStream, DemandStream{id, bytes}));
}

Result<> CarrierClient::drain_stream(const DrainStream& wanted) {
  return ask_plain(encode_request(CarrierOp::kDrainStream, wanted));
}

Result<> CarrierClient::resume_stream(std::uint64_t id) {
  return ask_plain(encode_request(CarrierOp::kResumeStream, StreamRef{id, 0}));
}

Result<> CarrierClient::refresh_terminal(std::uint64_t id, std::int32_t timeout_ms) {
  return ask_plain(encode_request(CarrierOp::kRefreshTerminal, StreamRef{id, timeout_ms}));
}

Result<> CarrierClient::detach_stream(std::uint64_t id, std::uint64_t generation) {
  return ask_plain(encode_request(CarrierOp::kDetachStream, DetachStream{id, generation}));
}

Result<std::uint64_t> CarrierClient::hold_file(int fd) {
  const int fds[] = {fd};
  SSI_ASSIGN(const CarrierBytes bytes, ask(encode_request(CarrierOp::kHoldFile), fds));
  SSI_ASSIGN(const auto held, decode_message<HeldFileRef>(bytes));
  return held.id;
}

Result<std::uint64_t> CarrierClient::hold_locks(int fd, const HoldLocksOf& locks) {
  const int fds[] = {fd};
  SSI_ASSIGN(const CarrierBytes bytes, ask(encode_request(CarrierOp::kHoldLocks, locks), fds));
  SSI_ASSIGN(const auto held, decode_message<HeldFileRef>(bytes));
  return held.id;
}

Result<UniqueFd> CarrierClient::open_held_file(std::uint64_t id) {
  UniqueFd fd;
  SSI_TRY(ask(encode_request(CarrierOp::kOpenHeldFile, HeldFileRef{id}), {}, &fd));
  return fd;
}

Result<> CarrierClient::release_file(std::uint64_t id) {
  return ask_plain(encode_request(CarrierOp::kReleaseFile, HeldFileRef{id}));
}

Result<CarrierStats> CarrierClient::stats() {
  SSI_ASSIGN(const CarrierBytes bytes, ask(encode_request(CarrierOp::kStats)));
  return decode_message<CarrierStats>(bytes);
}

}  // namespace ssi
