// The answers to the calls by which watchers are told (watch_teller.h): as if they were done, and
// home hears nothing of them.
#include <sys/stat.h>

#include <cerrno>

#include "fs/view/view_ops.h"

namespace ssi::fs {
namespace {

// Nobody is to believe in it for any time.
void reply_passing(fuse_req_t request, NodeIndex& nodes, const ViewNodePtr& node, struct stat st) {
  fuse_entry_param entry{};
  entry.ino = nodes.kernel_id(*node);
  entry.attr = st;
  if (fuse_reply_entry(request, &entry) == -ENOENT) nodes.forget(entry.ino, 1);
}

}  // namespace

bool ViewOps::is_told(fuse_req_t request) {
  return fs_of(request).teller_.is_me(fuse_req_ctx(request)->pid);
}

void ViewOps::reply_ghost(fuse_req_t request, fuse_ino_t parent_id, const char* name, mode_t mode) {
  ViewFs& fs = fs_of(request);
  const ViewNodePtr node =
      fs.nodes_.found(fs.nodes_.get(parent_id), name, fs.teller_.next_ghost(), true);
  fs.teller_.note_told(fs.nodes_.kernel_id(*node));
  Attr attr;
  attr.key = node->key;
  attr.mode = mode;
  attr.nlink = 1;
  {
    std::lock_guard lock(node->mutex);
    node->known = attr;
  }
  reply_passing(request, fs.nodes_, node, fs.stat_of(attr));
}

bool ViewOps::told_lookup(fuse_req_t request, fuse_ino_t parent_id, const char* name) {
  using Kind = WatchTeller::Answer::Kind;
  if (!is_told(request)) return false;
  ViewFs& fs = fs_of(request);
  const WatchTeller::Answer answer = fs.teller_.answer_to_lookup(parent_id, name);
  switch (answer.kind) {
    case Kind::kAbsent:
      fuse_reply_err(request, ENOENT);
      return true;
    case Kind::kGhost:
      reply_ghost(request, parent_id, name, S_IFREG | 0600);
      return true;
    case Kind::kDirectory:
      reply_ghost(request, parent_id, name, S_IFDIR | 0700);
      return true;
    case Kind::kMoved:
    case Kind::kDeleted: {
      const auto [parent, known_as] = fs.nodes_.place(*answer.node);
      // Another one, should the kernel have forgotten it: then nobody watches it.
      const ViewNodePtr node = fs.nodes_.found(parent, known_as, answer.node->key, true, true);
      Attr attr;
      {
        std::lock_guard lock(answer.node->mutex);
        attr = answer.node->known;
      }
      struct stat st = fs.stat_of(attr);
      // The kernel says that a file is deleted when it has no name left; of a directory, always.
      if (answer.kind == Kind::kDeleted && !S_ISDIR(st.st_mode)) st.st_nlink = 0;
      reply_passing(request, fs.nodes_, node, st);
      return true;
    }
    case Kind::kAsUsual:
      break;
  }
  Remote::Reply reply;
  const NameBody body = name_body(name);
  const ViewNodePtr parent = fs.nodes_.get(parent_id);
  const int error = fs.remote_.call(ask(request, Op::kLookup, parent.get()),
                                    {bytes_of(body), bytes_of(std::string_view(name))}, reply);
  if (error == 0) {
    reply_entry(request, reply, parent, name);
  } else {
    reply_ghost(request, parent_id, name, S_IFREG | 0600);
  }
  return true;
}

bool ViewOps::told_make(fuse_req_t request, fuse_ino_t parent_id, const char* name, mode_t mode) {
  if (!is_told(request)) return false;
  reply_ghost(request, parent_id, name, mode);
  return true;
}

bool ViewOps::told_done(fuse_req_t request) {
  if (!is_told(request)) return false;
  fuse_reply_err(request, 0);
  return true;
}

// What it is like now, whatever was to be set; a ghost as it was made.
bool ViewOps::told_setattr(fuse_req_t request, const ViewNodePtr& node) {
  if (!is_told(request)) return false;
  ViewFs& fs = fs_of(request);
  fs.teller_.note_told(fs.nodes_.kernel_id(*node));
  Remote::Reply reply;
  const bool known_at_home = fs.is_known_at_home(*node);
  if (known_at_home && fs.remote_.call(ask(request, Op::kGetattr, node.get()), {}, reply) == 0) {
    reply_attr(request, reply, *node);
    return true;
  }
  Attr attr;
  {
    std::lock_guard lock(node->mutex);
    attr = node->known;
  }
  const struct stat st = fs.stat_of(attr);
  fuse_reply_attr(request, &st, 0);
  return true;
}

// Home has no open file of it.
bool ViewOps::told_open(fuse_req_t request, const ViewNodePtr& node, fuse_file_info* info) {
  if (!is_told(request)) return false;
  ViewFs& fs = fs_of(request);
  fs.teller_.note_told(fs.nodes_.kernel_id(*node));
  info->fh = reinterpret_cast<std::uintptr_t>(
      fs.new_handle(node, static_cast<std::uint32_t>(info->flags), false));
  info->keep_cache = 1;
  if (fuse_reply_open(request, info) == -ENOENT) fs.release(handle_of(info));
  return true;
}

}  // namespace ssi::fs
