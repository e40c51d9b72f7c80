// What a thread finds that rebuilds a socket whose name was deleted: see socket_rebuilds.h. The
// file of such a socket is only in this view, and so is the directory by which the thread says that
// it is about to bind one.
#include <sys/stat.h>

#include <atomic>
#include <cerrno>
#include <ctime>

#include "fs/view/view_ops.h"
#include "ssid/wire/carrier/deleted_socket.h"

namespace ssi::fs {
namespace {

using What = SocketRebuilds::Deleted::What;

FileKey new_key() {
  static std::atomic<std::uint64_t> last{0};
  return {ViewNode::kDevOfView, ++last, 0};
}

Attr attributes_of(const FileKey& key, mode_t mode, const Caller& caller) {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  Attr attr;
  attr.key = key;
  attr.mode = mode;
  attr.nlink = S_ISDIR(mode) ? 2 : 1;
  attr.uid = caller.uid;
  attr.gid = caller.gid;
  attr.block_bytes = 4096;
  attr.flags = Attr::kNoXattrs;
  attr.atime = attr.mtime = attr.ctime = {now.tv_sec, now.tv_nsec};
  return attr;
}

}  // namespace

std::optional<SocketRebuilds::Id> ViewOps::announced_rebuild(fuse_req_t request) {
  const SocketRebuilds& rebuilds = fs_of(request).socket_rebuilds_;
  const pid_t thread = fuse_req_ctx(request)->pid;
  if (rebuilds.none() || !rebuilds.has_announced(thread)) return {};
  return rebuilds.of(thread);
}

bool ViewOps::lookup_announcement(fuse_req_t request, const ViewNodePtr& parent, const char* name) {
  SocketRebuilds& rebuilds = fs_of(request).socket_rebuilds_;
  if (rebuilds.none() || !parent->is_root) return false;
  const auto leaf = deleted_socket_leaf(name);
  if (!leaf && name != kNamedSocket) return false;
  const pid_t thread = fuse_req_ctx(request)->pid;
  const auto rebuild = rebuilds.of(thread);
  if (!rebuild) return false;
  if (leaf) {
    rebuilds.announce_deleted(*rebuild, thread, *leaf);
  } else {
    rebuilds.announce_named(*rebuild, thread);
  }
  const Attr attr = attributes_of(new_key(), S_IFDIR | 0755, {});
  reply_only_here(request, parent, name, attr.key, &attr);
  return true;
}

void ViewOps::reply_only_here(fuse_req_t request, const ViewNodePtr& parent, const char* name,
                              const FileKey& key, const Attr* fresh) {
  ViewFs& fs = fs_of(request);
  const ViewNodePtr node = fs.nodes_.found(parent, name, key, true);
  fuse_entry_param entry{};
  {
    std::lock_guard lock(node->mutex);
    if (fresh != nullptr) node->known = *fresh;
    entry.attr = fs.stat_of(node->known);
  }
  entry.ino = fs.nodes_.kernel_id(*node);
  entry.attr_timeout = fs.timeout_s();
  if (fuse_reply_entry(request, &entry) == -ENOENT) fs.nodes_.forget(entry.ino, 1);
}

bool ViewOps::lookup_for_deleted(fuse_req_t request, const ViewNodePtr& parent, const char* name) {
  if (lookup_announcement(request, parent, name)) return true;
  const auto rebuild = announced_rebuild(request);
  if (!rebuild) return false;
  const SocketRebuilds& rebuilds = fs_of(request).socket_rebuilds_;
  const auto found =
      rebuilds.deleted_at(*rebuild, fuse_req_ctx(request)->pid, name_of(*parent, name));
  switch (found.what) {
    case What::kNothing:
      return false;
    case What::kFree:
      fuse_reply_err(request, ENOENT);
      return true;
    case What::kMade:
      reply_only_here(request, parent, name, found.key, nullptr);
      return true;
    case What::kAtHome:
    case What::kAside:
      break;
  }
  const std::string_view at_home = found.what == What::kAside ? found.original.name.c_str() : name;
  const NameBody body = name_body(at_home);
  Remote::Reply reply;
  if (const int error = fs_of(request).remote_.call(ask(request, Op::kLookup, parent.get()),
                                                    {bytes_of(body), bytes_of(at_home)}, reply);
      error != 0) {
    fuse_reply_err(request, error);
  } else {
    reply_entry(request, reply, parent, name, found.what == What::kAside);
  }
  return true;
}

bool ViewOps::make_deleted_socket(fuse_req_t request, fuse_ino_t parent_id, const char* name,
                                  mode_t mode) {
  const auto rebuild = S_ISSOCK(mode) ? announced_rebuild(request) : std::nullopt;
  if (!rebuild) return false;
  const ViewNodePtr parent = fs_of(request).nodes_.get(parent_id);
  const Caller caller = ViewFs::caller_of(request);
  const Attr attr = attributes_of(new_key(), mode & ~caller.umask, caller);
  if (!fs_of(request).socket_rebuilds_.make_deleted(*rebuild, fuse_req_ctx(request)->pid,
                                                    name_of(*parent, name), attr.key)) {
    return false;
  }
  reply_only_here(request, parent, name, attr.key, &attr);
  return true;
}

bool ViewOps::unlink_deleted_socket(fuse_req_t request, fuse_ino_t parent_id, const char* name) {
  const auto rebuild = announced_rebuild(request);
  if (!rebuild) return false;
  ViewFs& fs = fs_of(request);
  const ViewNodePtr parent = fs.nodes_.get(parent_id);
  const pid_t thread = fuse_req_ctx(request)->pid;
  const SocketRebuilds::Name removed = name_of(*parent, name);
  const auto found = fs.socket_rebuilds_.deleted_at(*rebuild, thread, removed);
  const auto unlink = fs.socket_rebuilds_.unlink_deleted(*rebuild, thread, removed);
  if (unlink == SocketRebuilds::Unlink::kAtHome) return false;
  if (unlink == SocketRebuilds::Unlink::kDone) {
    const ViewNodePtr node = fs.nodes_.found(parent, name, found.key, false);
    std::lock_guard lock(node->mutex);
    node->known.nlink = 0;
  }
  fuse_reply_err(request, unlink == SocketRebuilds::Unlink::kDone     ? 0
                          : unlink == SocketRebuilds::Unlink::kAbsent ? ENOENT
                                                                      : EBUSY);
  return true;
}

bool ViewOps::move_for_deleted(fuse_req_t request, const ViewNode& from, const char* name,
                               const ViewNode& to, const char* name2) {
  const auto rebuild = announced_rebuild(request);
  if (!rebuild) return false;
  if (!fs_of(request).socket_rebuilds_.move_deleted(*rebuild, fuse_req_ctx(request)->pid,
                                                    name_of(from, name), name_of(to, name2))) {
    return false;
  }
  fuse_reply_err(request, 0);  // the kernel calls it so from now on
  return true;
}

void ViewOps::set_only_here(fuse_req_t request, ViewNode& node, const struct stat& wanted,
                            int valid) {
  ViewFs& fs = fs_of(request);
  struct stat st {};
  {
    std::lock_guard lock(node.mutex);
    Attr& attr = node.known;
    if ((valid & FUSE_SET_ATTR_MODE) != 0) {
      attr.mode = (attr.mode & S_IFMT) | (wanted.st_mode & ~static_cast<mode_t>(S_IFMT));
    }
    if ((valid & FUSE_SET_ATTR_UID) != 0) attr.uid = wanted.st_uid;
    if ((valid & FUSE_SET_ATTR_GID) != 0) attr.gid = wanted.st_gid;
    st = fs.stat_of(attr);
  }
  fuse_reply_attr(request, &st, fs.timeout_s());
}

}  // namespace ssi::fs
