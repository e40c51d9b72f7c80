#include "ssid/daemon/outer_ends.h"

#include <fcntl.h>
#include <sys/socket.h>

#include <algorithm>
#include <random>

#include "migrate/fds/descriptor.h"
#include "migrate/fds/relay_ends.h"
#include "migrate/fds/unix_socket_state.h"

namespace ssi {
namespace {

using check::FdFact;
using check::FdKind;
using migrate::StreamRef;

std::uint32_t type_of(int socket) {
  int type = SOCK_STREAM;
  socklen_t size = sizeof type;
  (void)::getsockopt(socket, SOL_SOCKET, SO_TYPE, &type, &size);
  return static_cast<std::uint32_t>(type);
}

}  // namespace

Error just_ended(pid_t pid) {
  return Error(ErrorCode::kBusy, "process " + std::to_string(pid) + " has just ended");
}

Result<UniqueFd> taken(const OuterEnd& end) {
  auto held = fds::descriptor_of(end.holder, end.fd->number);
  if (!held && held.error().code() == ErrorCode::kGone) return just_ended(end.holder);
  return held;
}

OuterEnds outer_ends(const check::Tree& tree) {
  OuterEnds ends;
  for (const check::ProcessFacts& facts : tree) {
    for (const FdFact& fd : facts.fds) {
      if (fd.in_flight) continue;  // both ends move, or neither
      const bool outer =
          (fd.kind == FdKind::kTty && !fd.pty_inside) || fd.relayed() || !fd.named_at.empty() ||
          (fd.kind == FdKind::kPipe && !fd.other_end_inside) ||
          (fd.kind == FdKind::kFifo && fds::way_of(check::fifo_of(fd)) == fds::FifoWay::kStream);
      if (outer) ends.emplace(fd.key, OuterEnd{&fd, facts.name.pid});
    }
  }
  return ends;
}

std::string also_key(const check::Tree& tree, const std::string& key) {
  for (const check::ProcessFacts& facts : tree) {
    const auto same = std::ranges::find(facts.fds, key, &FdFact::same_as);
    if (same != facts.fds.end()) return same->key;
  }
  return "";
}

std::set<std::string> keys(const check::Tree& tree) {
  std::set<std::string> all;
  for (const auto& [key, end] : outer_ends(tree)) all.merge(std::set{key, also_key(tree, key)});
  return all;
}

std::set<std::string> keys_of_connections(const check::Tree& tree) {
  std::set<std::string> connections;
  for (const auto& [key, end] : outer_ends(tree)) {
    if (end.fd->kind == FdKind::kUnixSocket && end.fd->relayed()) connections.insert(key);
  }
  return connections;
}

std::uint64_t random_id() {
  std::random_device random;
  return (std::uint64_t{random()} << 32) | random();
}

std::vector<StreamRef> streams_of(const FdFact& fd, int held) {
  const int pipe_bytes = ::fcntl(held, F_GETPIPE_SZ);
  const auto capacity = static_cast<std::uint32_t>(pipe_bytes > 0 ? pipe_bytes : 65536);
  StreamRef stream{.id = random_id(),
                   .key = fd.key,
                   .write_end = may_write(fd),
                   .capacity = capacity,
                   .on_demand = !may_write(fd) && !fd.readers.empty(),
                   .fifo_mode = fd.kind == FdKind::kFifo ? fd.mode : 0U};
  if (!fd.named_at.empty()) {
    stream.address = fd.named_at;
    stream.number = fd.number;
    stream.write_end = false;
    stream.socket_type = type_of(held);
    return {stream};
  }
  if (fd.kind == FdKind::kUnixSocket) {
    const auto peer = fds::peer_identity(held);
    stream.peer_uid = peer.uid;
    stream.peer_gid = peer.gid;
    stream.socket_type = type_of(held);
    stream.socket = stream.id;
    stream.write_end = true;
    if (stream.socket_type == SOCK_DGRAM) return {stream};  // nothing comes
    StreamRef input = stream;
    input.id = random_id();
    input.write_end = false;
    return {stream, input};
  }
  if (fd.kind != FdKind::kTty) return {stream};
  // Others at home read it, or may: nothing is taken from it that the process does not wait for.
  StreamRef input = stream;
  stream.write_end = true;
  stream.on_demand = false;
  input.id = random_id();
  input.write_end = false;
  input.on_demand = true;
  stream.terminal = input.terminal = stream.id;
  return {stream, input};
}

}  // namespace ssi
