#include "ssid/carrier/control_server.h"

#include <sys/socket.h>

#include "ssid/base/log.h"

namespace ssi {
namespace {

constexpr std::int64_t kAcceptTickMs = 200;
constexpr std::int64_t kReplyTimeoutMs = 10'000;

CarrierBytes reply_to(const Result<>& result) {
  return result.ok() ? encode_ok() : encode_error(result.error());
}

}  // namespace

Result<std::unique_ptr<ControlServer>> ControlServer::start(const std::string& path,
                                                            Carrier& carrier) {
  SSI_ASSIGN(UnixListener listener, UnixListener::listen(path, UnixType::kSeqPacket, 0600));
  return std::unique_ptr<ControlServer>(new ControlServer(std::move(listener), carrier));
}

ControlServer::ControlServer(UnixListener listener, Carrier& carrier)
    : listener_(std::move(listener)),
      carrier_(carrier),
      accept_thread_([this] { accept_loop(); }) {}

ControlServer::~ControlServer() {
  stopping_ = true;
  accept_thread_.join();
  for (Connection& connection : connections_) {
    ::shutdown(*connection.socket, SHUT_RDWR);
    connection.thread.join();
  }
}

void ControlServer::accept_loop() {
  while (!stopping_) {
    auto accepted = listener_.accept(kAcceptTickMs);
    carrier_.drop_old_holds();
    for (auto it = connections_.begin(); it != connections_.end();) {
      if (it->done) {
        it->thread.join();
        it = connections_.erase(it);
      } else {
        ++it;
      }
    }
    if (!accepted) {
      if (accepted.error().code() != ErrorCode::kTimeout) {
        log_warning("control socket: {}", accepted.error().message());
        std::this_thread::sleep_for(std::chrono::milliseconds(kAcceptTickMs));
      }
      continue;
    }
    Connection& connection = connections_.emplace_back();
    connection.socket = std::move(accepted).value();
    connection.thread = std::thread([this, &connection] {
      serve(*connection.socket);
      connection.done = true;
    });
  }
}

void ControlServer::serve(int socket) {
  const auto caller = caller_of(socket);
  if (!caller || caller->uid != 0) return;  // the socket's mode says so, too
  for (;;) {
    auto request = unix_recv(socket, kCarrierMessageBytesMax, 4, 0);
    if (!request) return;
    UniqueFd fd;
    const CarrierBytes reply = answer(*request, fd);
    const int raw = *fd;
    const std::span<const int> descriptors =
        fd ? std::span<const int>(&raw, 1) : std::span<const int>();
    if (!unix_send(socket, reply, descriptors, kReplyTimeoutMs).ok()) return;
  }
}

CarrierBytes ControlServer::answer(UnixMessage& request, UniqueFd& fd) {
  std::span<const std::byte> rest;
  const auto op = decode_op(request.bytes, rest);
  if (!op) return encode_error(op.error());

  // Decodes the op's message and gives it to `act`.
  const auto with = [&]<typename T>(T*, auto act) -> CarrierBytes {
    const auto message = decode_message<T>(rest);
    if (!message) return encode_error(message.error());
    return act(*message);
  };
  const auto plain = [&]<typename T>(T* type, auto act) -> CarrierBytes {
    return with(type, [&](const T& message) { return reply_to(act(message)); });
  };

  switch (*op) {
    case CarrierOp::kStats:
      return encode_ok(carrier_.stats());
    case CarrierOp::kListViews:
      return encode_ok(carrier_.list_views());
    case CarrierOp::kMountView:
      return plain(static_cast<MountView*>(nullptr),
                   [&](const MountView& m) { return carrier_.mount_view(m); });
    case CarrierOp::kShowNodes:
      return plain(static_cast<ShowNodes*>(nullptr),
                   [&](const ShowNodes& m) { return carrier_.show_nodes(m); });
    case CarrierOp::kUnmountView:
      return plain(static_cast<UnmountView*>(nullptr),
                   [&](const UnmountView& m) { return carrier_.unmount_view(m); });
    case CarrierOp::kRefreshView:
      return plain(static_cast<UnmountView*>(nullptr),
                   [&](const UnmountView& m) { return carrier_.refresh_view(m.mountpoint); });
    case CarrierOp::kRebuildSockets:
      return plain(static_cast<RebuildSockets*>(nullptr),
                   [&](const RebuildSockets& m) { return carrier_.rebuild_sockets(m); });
    case CarrierOp::kTellWatchers:
      return plain(static_cast<TellWatchers*>(nullptr),
                   [&](const TellWatchers& m) { return carrier_.tell_watchers(m); });
    case CarrierOp::kExportStream:
      return plain(static_cast<ExportStream*>(nullptr), [&](const ExportStream& m) -> Result<> {
        if (request.descriptors.size() != 2)
          return Error(ErrorCode::kUsage, "two descriptors expected");
        return carrier_.export_stream(m, std::move(request.descriptors[0]),
                                      std::move(request.descriptors[1]));
      });
    case CarrierOp::kOwnStream:
      return plain(static_cast<StreamRef*>(nullptr), [&](const StreamRef& m) -> Result<> {
        if (request.descriptors.size() != 1)
          return Error(ErrorCode::kUsage, "one descriptor expected");
        return carrier_.own_stream(m.id, std::move(request.descriptors[0]));
      });
    case CarrierOp::kAttachStream:
      return plain(static_cast<AttachStream*>(nullptr), [&](const AttachStream& m) -> Result<> {
        if (request.descriptors.size() != (m.socket != 0 ? 1U : 0U))
          return Error(ErrorCode::kUsage, "the network of a socket expected, and nothing else");
        UniqueFd network;
        if (m.socket != 0) network = std::move(request.descriptors[0]);
        SSI_ASSIGN(fd, carrier_.attach_stream(m, std::move(network)));
        return {};
      });
    case CarrierOp::kAttachListener:
      return plain(static_cast<AttachListener*>(nullptr), [&](const AttachListener& m) -> Result<> {
        if (request.descriptors.size() != 1)
          return Error(ErrorCode::kUsage, "the network of a socket expected");
        SSI_ASSIGN(fd, carrier_.attach_listener(m, std::move(request.descriptors[0])));
        return {};
      });
    case CarrierOp::kAcceptedBy:
      return with(static_cast<StreamRef*>(nullptr), [&](const StreamRef& m) {
        const auto accepted = carrier_.accepted_by(m.id);
        return accepted ? encode_ok(*accepted) : encode_error(accepted.error());
      });
    case CarrierOp::kStartStream:
      return plain(static_cast<StartStream*>(nullptr),
                   [&](const StartStream& m) { return carrier_.start_stream(m); });
    case CarrierOp::kDemandStream:
      return plain(static_cast<DemandStream*>(nullptr),
                   [&](const DemandStream& m) { return carrier_.demand_stream(m); });
    case CarrierOp::kDrainStream:
      return plain(static_cast<DrainStream*>(nullptr),
                   [&](const DrainStream& m) { return carrier_.drain_stream(m); });
    case CarrierOp::kResumeStream:
      return plain(static_cast<StreamRef*>(nullptr),
                   [&](const StreamRef& m) { return carrier_.resume_stream(m.id); });
    case CarrierOp::kRefreshTerminal:
      return plain(static_cast<StreamRef*>(nullptr),
                   [&](const StreamRef& m) { return carrier_.refresh_terminal(m); });
    case CarrierOp::kDetachStream:
      return plain(static_cast<DetachStream*>(nullptr),
                   [&](const DetachStream& m) { return carrier_.detach_stream(m); });
    case CarrierOp::kHoldFile:
      if (request.descriptors.size() != 1) {
        return encode_error(Error(ErrorCode::kUsage, "a descriptor expected"));
      }
      if (const auto id = carrier_.hold_file(std::move(request.descriptors[0]))) {
        return encode_ok(HeldFileRef{*id});
      } else {
        return encode_error(id.error());
      }
    case CarrierOp::kHoldLocks:
      return with(static_cast<HoldLocksOf*>(nullptr), [&](const HoldLocksOf& m) {
        if (request.descriptors.size() != 1) {
          return encode_error(Error(ErrorCode::kUsage, "a descriptor expected"));
        }
        const auto id = carrier_.hold_locks(std::move(request.descriptors[0]), m);
        return id ? encode_ok(HeldFileRef{*id}) : encode_error(id.error());
      });
    case CarrierOp::kOpenHeldFile:
      return plain(static_cast<HeldFileRef*>(nullptr), [&](const HeldFileRef& m) -> Result<> {
        SSI_ASSIGN(fd, carrier_.open_held_file(m.id));
        return {};
      });
    case CarrierOp::kReleaseFile:
      return plain(static_cast<HeldFileRef*>(nullptr), [&](const HeldFileRef& m) -> Result<> {
        carrier_.release_file(m.id);
        return {};
      });
    case CarrierOp::kCloseStream:
      return plain(static_cast<StreamRef*>(nullptr),
                   [&](const StreamRef& m) { return carrier_.close_stream(m); });
  }
  return encode_error(Error(ErrorCode::kUsage, "unknown op"));
}

}  // namespace ssi
