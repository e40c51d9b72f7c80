// The control protocol of ssid-carrier: SEQPACKET messages on a unix socket of root, one request,
// one reply, descriptors beside them. A request is an op number and the op's message; a reply is an
// error code, its text, and the op's answer if there was no error. Integers little-endian, texts
// and lists with their length in front. Pure.
#pragma once

#include <sys/socket.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "ssid/base/result.h"

namespace ssi {

inline constexpr const char* kCarrierSocket = "/run/ssid/carrier.sock";
inline constexpr const char* kNodeViewsSocket = "/run/ssid/nodes.sock";  // kShowNodes, kStats
inline constexpr std::uint16_t kCarrierPort = 7789;
inline constexpr std::size_t kCarrierMessageBytesMax = 64 << 10;

enum class CarrierOp : std::uint32_t {
  kStats = 1,
  kMountView = 2,
  kUnmountView = 3,
  kListViews = 4,
  kRefreshView = 5,
  kShowNodes = 6,
  kExportStream = 10,
  kAttachStream = 11,
  kStartStream = 12,
  kDrainStream = 13,
  kResumeStream = 14,
  kDetachStream = 15,
  kCloseStream = 16,
  kDemandStream = 17,
  kRefreshTerminal = 18,
  kOwnStream = 19,  // with a pidfd of another process that the stream belongs to
  kHoldFile = 20,
  kOpenHeldFile = 21,
  kReleaseFile = 22,
  kRebuildSockets = 23,
  kAttachListener = 24,
  kAcceptedBy = 25,
  kHoldLocks = 26,  // with the file
  kTellWatchers = 27,
};

enum class CarrierDirection : std::uint32_t {
  kGuestWrites = 1,   // guest -> home, e.g. stdout
  kGuestReads = 2,    // home -> guest, e.g. stdin
  kGuestAccepts = 3,  // a unix socket that listens: its clients
};

// Where a home's carrier is reached.
struct CarrierPeer {
  std::uint32_t node = 0;
  std::vector<std::string> addresses;  // tried in this order
  std::uint16_t port = kCarrierPort;
  bool operator==(const CarrierPeer&) const = default;
};

struct MountView {
  CarrierPeer home;
  std::string mountpoint;  // an existing directory
};
struct NodeView {
  CarrierPeer node;
  bool up = false;
  bool operator==(const NodeView&) const = default;
};
// The whole of it, whenever something of it changes, and now and then for a carrier that was
// restarted.
struct ShowNodes {
  std::string directory;  // has a directory for each node, named by its number
  std::vector<NodeView> nodes;
  bool operator==(const ShowNodes&) const = default;
};
struct UnmountView {
  std::string mountpoint;
  bool force = false;  // also while it is in use; users get EIO
};
// While it is on, the processes in a cgroup may bind to names at which home has sockets already.
struct RebuildSockets {
  std::string mountpoint;
  std::string cgroup;  // its directory
  bool on = false;
  bool operator==(const RebuildSockets&) const = default;
};
// Who watches files in the view, and that process at any rate, is told of what happened until now.
struct TellWatchers {
  std::string mountpoint;
  std::int32_t pid = 0;
  bool operator==(const TellWatchers&) const = default;
};
struct ViewInfo {
  std::uint32_t home_node = 0;
  std::string mountpoint;
  std::uint64_t device = 0;
  bool connected = false;
};
struct ExportStream {  // with two descriptors: the pipe, and a pidfd of the process it belongs to
  std::uint64_t id = 0;
  CarrierDirection direction{};
};
struct AttachStream {  // a socket: with one descriptor, its network; answered with one
  std::uint64_t id = 0;
  std::uint64_t generation = 0;
  CarrierDirection direction{};
  std::uint32_t capacity = 0;  // F_GETPIPE_SZ of home's pipe; 0: default
  CarrierPeer home;
  bool on_demand = false;      // kGuestReads: others at home read the same pipe
  std::uint64_t terminal = 0;  // not 0: the same for both directions of a terminal
  std::uint64_t socket = 0;    // not 0: the same for both directions of a unix socket
  std::uint32_t peer_uid = 0;  // of that: who is at its other end
  std::uint32_t peer_gid = 0;
  std::uint32_t socket_type = SOCK_STREAM;  // or another
};
struct StartStream {
  std::uint64_t id = 0;
  std::uint64_t socket = 0;  // one that listens: its inode number, as the guest has it now
};
struct DemandStream {
  std::uint64_t id = 0;
  std::uint64_t bytes = 0;
};
struct DrainStream {
  std::uint64_t id = 0;
  std::int32_t timeout_ms = 10'000;
  bool written = false;
  // Of a datagram socket whose process goes home: how many wait in its queue; else:
  std::uint32_t datagrams = kStayThere;
  static constexpr std::uint32_t kStayThere = ~0U;
};
struct DetachStream {  // that attachment, and no later one
  std::uint64_t id = 0;
  std::uint64_t generation = 0;
};
struct StreamRef {
  std::uint64_t id = 0;
  std::int32_t timeout_ms = 0;  // kCloseStream: what is under way may take so long
};
// A unix socket that listens; then the ops of streams are for it, too. With one descriptor, its
// network; answered with one if it gives the socket itself.
struct AttachListener {  // also a datagram socket that others reach by its name
  std::uint64_t id = 0;
  std::uint64_t generation = 0;
  CarrierPeer home;
  std::string address;        // a path, or an abstract name
  std::string root;           // of the guest's files, here
  bool gives_itself = false;  // at home
  // The streams of connections that have come along with the guest: out, in, out, in, ..
  std::vector<std::uint64_t> carried;
  std::uint32_t socket_type = SOCK_STREAM;  // or another
};
// A connection that the guest has accepted.
struct AcceptedConnection {
  std::uint64_t out = 0;  // its streams, seen from the guest
  std::uint64_t in = 0;
  std::uint32_t peer_uid = 0;
  std::uint32_t peer_gid = 0;
  std::uint64_t inode = 0;  // of the guest's socket
};
struct AcceptedConnections {
  std::vector<AcceptedConnection> connections;
};
// Record locks that their owner keeps when it becomes a deputy.
struct HoldLocksOf {
  std::int32_t pid = 0;
  std::int32_t number = -1;             // its descriptor of that file
  std::vector<std::uint64_t> ranges{};  // of each: start, end, type
};
struct HeldFileRef {
  std::uint64_t id = 0;
};
struct CarrierStats {
  std::vector<std::pair<std::string, std::uint64_t>> counters;
};
struct ViewList {
  std::vector<ViewInfo> views;
};

using CarrierBytes = std::vector<std::byte>;

// Requests.
template <typename T>
CarrierBytes encode_request(CarrierOp op, const T& message);
CarrierBytes encode_request(CarrierOp op);
// Splits the op off. Errors: too short.
Result<CarrierOp> decode_op(std::span<const std::byte> request, std::span<const std::byte>& rest);
// The whole rest must be a T.
template <typename T>
Result<T> decode_message(std::span<const std::byte> bytes);

// Replies.
CarrierBytes encode_error(const Error& error);
CarrierBytes encode_ok();
template <typename T>
CarrierBytes encode_ok(const T& answer);
// The rest of a good reply, or the error it carries.
Result<std::span<const std::byte>> decode_carrier_reply(std::span<const std::byte> reply);

}  // namespace ssi
