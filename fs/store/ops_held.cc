// Files held for processes that are being moved: the source's view has them held, the target's
// opens them, wherever the two are. Those are views of guests: a view of a node's users
// (/cluster/node) has nothing held, and gets nothing that is.
#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <string>

#include "fs/store/call.h"

namespace ssi::fs {
namespace {

bool is_for_guests(const Call& call) { return call.session.client() == FileStat::Client::kGuests; }

}  // namespace

int on_hold(Call& call) {
  if (!call.body.done()) return kMalformed;
  if (!is_for_guests(call)) return EPERM;
  HeldFiles::SharedFd fd;
  if (call.head.handle != 0) {
    const auto file = call.session.handle(call.head.handle);
    if (!file) return EBADF;
    if (file->hidden) return EACCES;  // it would be found by its number with its contents
    fd = file->fd;
  } else {
    NodeTable::Node node;
    if (const int error = call.session.nodes().get(call.head.node, node); error != 0) return error;
    if (node.hidden) return EACCES;
    fd = node.fd;
  }
  call.reply.append(HeldBody{call.session.held().hold(std::move(fd))});
  return 0;
}

int on_held(Call& call) {
  const auto body = call.body.get<HeldBody>();
  if (!call.body.done()) return kMalformed;
  if (!is_for_guests(call)) return EPERM;
  const auto fd = call.session.held().find(body.id);
  if (!fd) return ENOENT;
  EntryReply entry;
  if (const int error = call.session.stat().describe(**fd, "", entry.attr); error != 0) {
    return error;
  }
  // Not what is held itself: the node may be known for longer than a lock is to last.
  const std::string path = "/proc/self/fd/" + std::to_string(**fd);
  UniqueFd handle(::open(path.c_str(), O_PATH | O_CLOEXEC));
  if (!handle) return errno;
  entry.node = call.session.nodes().found_open(std::make_shared<const UniqueFd>(std::move(handle)),
                                               entry.attr);
  call.reply.append(entry);
  return 0;
}

int on_unhold(Call& call) {
  const auto body = call.body.get<HeldBody>();
  if (!call.body.done()) return kMalformed;
  if (!is_for_guests(call)) return EPERM;
  call.session.held().release(body.id);
  return 0;
}

int on_adopt(Call& call) {
  const auto body = call.body.get<HeldBody>();
  if (!call.body.done()) return kMalformed;
  if (!is_for_guests(call)) return EPERM;
  auto fd = call.session.held().find(body.id);
  if (!fd) return ENOENT;
  const auto file = call.session.handle(call.head.handle);
  if (!file) return EBADF;
  if (!is_same_file(**fd, **file->fd)) return EINVAL;
  auto adopted = std::make_shared<OpenFile>();
  adopted->node = file->node;
  adopted->fd = std::move(fd);
  adopted->flags = file->flags;
  adopted->hidden = file->hidden;
  return call.session.replace_handle(call.head.handle, std::move(adopted)) ? 0 : EBADF;
}

int on_hold_locks(Call& call) {
  const auto body = call.body.get<LockBody>();
  if (!call.body.done()) return kMalformed;
  if (!is_for_guests(call)) return EPERM;
  auto fd = call.session.lock_file(call.head.node, body.owner, false);
  if (!fd) return errno;
  auto deputy = call.session.lock_deputy(call.head.node, body.owner);
  call.reply.append(HeldBody{call.session.held().hold(std::move(fd), std::move(deputy))});
  return 0;
}

int on_adopt_locks(Call& call) {
  const auto body = call.body.get<AdoptLocksBody>();
  if (!call.body.done()) return kMalformed;
  if (!is_for_guests(call)) return EPERM;
  auto fd = call.session.held().find(body.id);
  if (!fd) return ENOENT;
  NodeTable::Node node;
  if (const int error = call.session.nodes().get(call.head.node, node); error != 0) return error;
  if (!is_same_file(**fd, **node.fd)) return EINVAL;
  call.session.set_lock_file(call.head.node, body.owner, std::move(fd),
                             call.session.held().find_deputy(body.id));
  return 0;
}

}  // namespace ssi::fs
