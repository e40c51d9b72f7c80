// Leases of guests' files (migrate/fds/lease.h): of an open file that came from who had one, and is
// a handle's now. Home's kernel keeps it; the view asks here how it stands, and lets go here what
// the guest has let go. Nobody is told of its breaking: whose handle it is asks.
#include <fcntl.h>

#include <cerrno>
#include <fstream>
#include <sstream>

#include "fs/store/call.h"
#include "ssid/base/lease.h"

namespace ssi::fs {
namespace {

Lease lease_of(int fd) {
  std::ostringstream text;
  text << std::ifstream("/proc/self/fdinfo/" + std::to_string(fd)).rdbuf();
  return parse_lease(text.str());
}

// Taking one names us as whom to tell, by a signal that does nothing here (SIGIO, see main.cc).
int set_lease(int fd, std::uint32_t type) {
  if (type == F_UNLCK) return ::fcntl(fd, F_SETLEASE, F_UNLCK) == 0 ? 0 : errno;
  if (::fcntl(fd, F_SETSIG, 0) != 0) return errno;
  const int error = ::fcntl(fd, F_SETLEASE, static_cast<int>(type)) == 0 ? 0 : errno;
  (void)::fcntl(fd, F_SETOWN, 0);
  return error;
}

}  // namespace

int on_open_held(Call& call) {
  const auto body = call.body.get<OpenHeldBody>();
  if (!call.body.done()) return kMalformed;
  if (call.session.client() != FileStat::Client::kGuests) return EPERM;
  NodeTable::Node node;
  if (const int error = call.session.nodes().get(call.head.node, node); error != 0) return error;
  auto fd = call.session.held().find(body.id);
  if (!fd) return ENOENT;
  if (!is_same_file(**fd, **node.fd)) return EINVAL;
  const int flags = ::fcntl(**fd, F_GETFL);
  if (flags < 0 || ((static_cast<std::uint32_t>(flags) ^ body.flags) & O_ACCMODE) != 0) {
    return EINVAL;
  }
  OpenReply reply;
  if (const int error = call.session.stat().describe(**fd, "", reply.attr); error != 0) {
    return error;
  }
  reply.handle = call.session.add_handle(call.head.node, std::move(fd), body.flags, node.fd);
  call.reply.append(reply);
  return 0;
}

int on_lease(Call& call) {
  const auto body = call.body.get<LeaseBody>();
  if (!call.body.done()) return kMalformed;
  const auto file = call.session.handle(call.head.handle);
  if (!file) return EBADF;
  if (body.set != 0) {
    int error = set_lease(**file->fd, body.type);
    // A descriptor for writing can't have one for reading: then it has none.
    if (error == EAGAIN && body.type == F_RDLCK && lease_strength(lease_of(**file->fd).type) > 0) {
      error = set_lease(**file->fd, F_UNLCK);
    }
    if (error != 0) return error;
  }
  const Lease lease = lease_of(**file->fd);
  call.reply.append(LeaseBody{lease.type, lease.breaking, 0, 0});
  return 0;
}

}  // namespace ssi::fs
