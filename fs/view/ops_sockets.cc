// Socket files that processes being rebuilt here bind to: see socket_rebuilds.h. Home is asked what
// stands at a name; a node of it that the kernel is not told of is forgotten there again.
#include <sys/stat.h>

#include <cerrno>

#include "fs/view/view_ops.h"

namespace ssi::fs {
namespace {

using AtHome = SocketRebuilds::AtHome;

// 0 or an errno: whether anything stands there is no error.
int ask_home(Remote& remote, const Remote::Request& asked, std::string_view name,
             Remote::Reply& reply, EntryReply& entry, AtHome& at_home) {
  const NameBody body = name_body(name);
  const int error = remote.call(asked, {bytes_of(body), bytes_of(name)}, reply);
  at_home = AtHome::kNothing;
  if (error != 0) return error == ENOENT ? 0 : error;
  ByteReader reader = reply.reader();
  entry = reader.get<EntryReply>();
  if (!reader.done()) return EIO;
  at_home = S_ISSOCK(entry.attr.mode) ? AtHome::kSocket : AtHome::kOther;
  return 0;
}

}  // namespace

SocketRebuilds::Name ViewOps::name_of(const ViewNode& parent, const char* name) {
  return {parent.is_root ? FileKey{} : parent.key, name};
}

bool ViewOps::hides_socket(fuse_req_t request, const ViewNode& parent, const char* name,
                           const Remote::Reply& reply) {
  ViewFs& fs = fs_of(request);
  if (fs.socket_rebuilds_.none()) return false;
  ByteReader reader = reply.reader();
  const auto entry = reader.get<EntryReply>();
  if (!reader.done() || !S_ISSOCK(entry.attr.mode)) return false;
  const auto rebuild = fs.socket_rebuilds_.of(fuse_req_ctx(request)->pid);
  if (!rebuild || !fs.socket_rebuilds_.hides(*rebuild, name_of(parent, name))) return false;
  fs.remote_.forget(reply.serial(), entry.node, 1);
  return true;
}

bool ViewOps::make_rebuilt_socket(fuse_req_t request, fuse_ino_t parent_id, const char* name,
                                  mode_t mode) {
  ViewFs& fs = fs_of(request);
  SocketRebuilds& rebuilds = fs.socket_rebuilds_;
  if (!S_ISSOCK(mode) || rebuilds.none()) return false;
  const auto rebuild = rebuilds.of(fuse_req_ctx(request)->pid);
  if (!rebuild) return false;
  if (too_long(request, name)) return true;
  const ViewNodePtr parent = fs.nodes_.get(parent_id);
  const SocketRebuilds::Name made = name_of(*parent, name);
  {
    Remote::Reply reply;
    EntryReply entry;
    AtHome at_home{};
    if (const int error = ask_home(fs.remote_, ask(request, Op::kLookup, parent.get()), name, reply,
                                   entry, at_home);
        error != 0) {
      fuse_reply_err(request, error);
      return true;
    }
    const auto make = rebuilds.make(*rebuild, made, at_home);
    if (make == SocketRebuilds::Make::kFound) {
      reply_entry(request, reply, parent, name);
      return true;
    }
    if (at_home != AtHome::kNothing) fs.remote_.forget(reply.serial(), entry.node, 1);
    if (make != SocketRebuilds::Make::kAtHome) {
      fuse_reply_err(request, make == SocketRebuilds::Make::kExists ? EEXIST : ENOSPC);
      return true;
    }
  }
  Remote::Reply reply;
  if (const int error = make_at_home(request, Op::kMknod, *parent, name, mode, 0, reply);
      error != 0) {
    fuse_reply_err(request, error);
    return true;
  }
  rebuilds.made(*rebuild, made);  // before the kernel may ask for it
  reply_entry(request, reply, parent, name);
  return true;
}

bool ViewOps::unlink_rebuilt_socket(fuse_req_t request, fuse_ino_t parent_id, const char* name) {
  ViewFs& fs = fs_of(request);
  SocketRebuilds& rebuilds = fs.socket_rebuilds_;
  if (rebuilds.none()) return false;
  if (too_long(request, name)) return true;
  const ViewNodePtr parent = fs.nodes_.get(parent_id);
  AtHome at_home{};
  {
    Remote::Reply reply;
    EntryReply entry;
    if (const int error = ask_home(fs.remote_, ask(request, Op::kLookup, parent.get()), name, reply,
                                   entry, at_home);
        error != 0) {
      fuse_reply_err(request, error);
      return true;
    }
    if (at_home != AtHome::kNothing) fs.remote_.forget(reply.serial(), entry.node, 1);
  }
  if (at_home != AtHome::kSocket) return false;
  const auto rebuild = rebuilds.of(fuse_req_ctx(request)->pid);
  if (!rebuild) return false;
  const SocketRebuilds::Name removed = name_of(*parent, name);
  switch (rebuilds.remove(*rebuild, removed, at_home)) {
    case SocketRebuilds::Remove::kAbsent:
      fuse_reply_err(request, ENOENT);
      return true;
    case SocketRebuilds::Remove::kLeave:
      fuse_reply_err(request, 0);
      return true;
    case SocketRebuilds::Remove::kAtHome:
      break;
  }
  const int error = remove_at_home(request, Op::kUnlink, *parent, name);
  if (error == 0) rebuilds.removed(*rebuild, removed);
  fuse_reply_err(request, error);
  return true;
}

bool ViewOps::is_found_socket(fuse_req_t request, const ViewNode& parent, const char* name) {
  const SocketRebuilds& rebuilds = fs_of(request).socket_rebuilds_;
  return !rebuilds.none() && rebuilds.is_found(fuse_req_ctx(request)->pid, name_of(parent, name));
}

}  // namespace ssi::fs
