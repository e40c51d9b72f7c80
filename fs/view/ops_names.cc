// Names and what they stand for: lookup, forget, making, removing, moving.
#include <sys/stat.h>

#include <cstring>

#include "fs/view/view_ops.h"
#include "ssid/wire/carrier/held_file.h"

namespace ssi::fs {

void ViewOps::lookup(fuse_req_t request, fuse_ino_t parent_id, const char* name) {
  ViewFs& fs = fs_of(request);
  if (too_long(request, name)) return;
  if (told_lookup(request, parent_id, name)) return;
  fs.watch_news_.note_caller(fuse_req_ctx(request)->pid);
  const ViewNodePtr parent = fs.nodes_.get(parent_id);
  if (const auto id = held_of(request, *parent, name, kHeldNamePrefix)) {
    lookup_held(request, parent, name, *id);
    return;
  }
  if (const auto id = held_of(request, *parent, name, kReleaseNamePrefix)) {
    release_held(request, *id);
    return;
  }
  if (parent->is_only_here()) {
    fuse_reply_err(request, ENOENT);
    return;
  }
  if (lookup_for_deleted(request, parent, name)) return;
  Remote::Reply reply;
  const NameBody body = name_body(name);
  const int error = fs.remote_.call(ask(request, Op::kLookup, parent.get()),
                                    {bytes_of(body), bytes_of(std::string_view(name))}, reply);
  if (error != 0) {
    fuse_reply_err(request, error);
    return;
  }
  if (hides_socket(request, *parent, name, reply)) {
    fuse_reply_err(request, ENOENT);
    return;
  }
  reply_entry(request, reply, parent, name);
}

void ViewOps::forget(fuse_req_t request, fuse_ino_t ino, std::uint64_t lookups) {
  fs_of(request).nodes_.forget(ino, lookups);
  fuse_reply_none(request);
}

void ViewOps::forget_multi(fuse_req_t request, std::size_t count, fuse_forget_data* forgets) {
  for (std::size_t i = 0; i < count; ++i) {
    fs_of(request).nodes_.forget(forgets[i].ino, forgets[i].nlookup);
  }
  fuse_reply_none(request);
}

void ViewOps::readlink(fuse_req_t request, fuse_ino_t ino) {
  ViewFs& fs = fs_of(request);
  const ViewNodePtr node = fs.nodes_.get(ino);
  Remote::Reply reply;
  if (const int error = fs.remote_.call(ask(request, Op::kReadlink, node.get()), {}, reply);
      error != 0) {
    fuse_reply_err(request, error);
    return;
  }
  const std::string target(reinterpret_cast<const char*>(reply.body().data()), reply.body().size());
  fuse_reply_readlink(request, target.c_str());
}

int ViewOps::make_at_home(fuse_req_t request, Op op, ViewNode& parent, const char* name,
                          mode_t mode, dev_t rdev, Remote::Reply& reply) {
  MakeBody body;
  body.name_bytes = static_cast<std::uint32_t>(std::strlen(name));
  body.mode = mode;
  body.rdev = rdev;
  return fs_of(request).remote_.call(ask(request, op, &parent),
                                     {bytes_of(body), bytes_of(std::string_view(name))}, reply);
}

void ViewOps::make(fuse_req_t request, Op op, fuse_ino_t parent_id, const char* name, mode_t mode,
                   dev_t rdev) {
  if (too_long(request, name)) return;
  const ViewNodePtr parent = fs_of(request).nodes_.get(parent_id);
  Remote::Reply reply;
  if (const int error = make_at_home(request, op, *parent, name, mode, rdev, reply); error != 0) {
    fuse_reply_err(request, error);
    return;
  }
  reply_entry(request, reply, parent, name);
}

void ViewOps::mknod(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode,
                    dev_t rdev) {
  if (told_make(request, parent, name, mode)) return;
  if (make_deleted_socket(request, parent, name, mode)) return;
  if (make_rebuilt_socket(request, parent, name, mode)) return;
  make(request, Op::kMknod, parent, name, mode, rdev);
}

void ViewOps::mkdir(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode) {
  if (told_make(request, parent, name, S_IFDIR | mode)) return;
  make(request, Op::kMkdir, parent, name, mode, 0);
}

int ViewOps::remove_at_home(fuse_req_t request, Op op, ViewNode& parent, const char* name) {
  Remote::Reply reply;
  const NameBody body = name_body(name);
  return fs_of(request).remote_.call(ask(request, op, &parent),
                                     {bytes_of(body), bytes_of(std::string_view(name))}, reply);
}

void ViewOps::remove(fuse_req_t request, Op op, fuse_ino_t parent_id, const char* name) {
  if (too_long(request, name)) return;
  const ViewNodePtr parent = fs_of(request).nodes_.get(parent_id);
  fuse_reply_err(request, remove_at_home(request, op, *parent, name));
}

void ViewOps::unlink(fuse_req_t request, fuse_ino_t parent, const char* name) {
  if (told_done(request)) return;
  if (unlink_deleted_socket(request, parent, name)) return;
  if (unlink_rebuilt_socket(request, parent, name)) return;
  remove(request, Op::kUnlink, parent, name);
}

void ViewOps::rmdir(fuse_req_t request, fuse_ino_t parent, const char* name) {
  if (told_done(request)) return;
  remove(request, Op::kRmdir, parent, name);
}

void ViewOps::symlink(fuse_req_t request, const char* target, fuse_ino_t parent_id,
                      const char* name) {
  ViewFs& fs = fs_of(request);
  if (too_long(request, name)) return;
  const ViewNodePtr parent = fs.nodes_.get(parent_id);
  TwoNamesBody body;
  body.name_bytes = static_cast<std::uint32_t>(std::strlen(name));
  body.name2_bytes = static_cast<std::uint32_t>(std::strlen(target));
  Remote::Reply reply;
  const int error = fs.remote_.call(
      ask(request, Op::kSymlink, parent.get()),
      {bytes_of(body), bytes_of(std::string_view(name)), bytes_of(std::string_view(target))},
      reply);
  if (error != 0) {
    fuse_reply_err(request, error);
    return;
  }
  reply_entry(request, reply, parent, name);
}

void ViewOps::rename(fuse_req_t request, fuse_ino_t parent_id, const char* name,
                     fuse_ino_t parent2_id, const char* name2, unsigned int flags) {
  ViewFs& fs = fs_of(request);
  if (told_done(request)) return;
  if (too_long(request, name) || too_long(request, name2)) return;
  const ViewNodePtr parent = fs.nodes_.get(parent_id);
  const ViewNodePtr parent2 = fs.nodes_.get(parent2_id);
  if (held_of(request, *parent, name, kHeldNamePrefix)) {
    fuse_reply_err(request, 0);  // the kernel calls it so from now on
    return;
  }
  if (move_for_deleted(request, *parent, name, *parent2, name2)) return;
  if (is_found_socket(request, *parent, name) || is_found_socket(request, *parent2, name2)) {
    fuse_reply_err(request, EBUSY);  // it would move home's
    return;
  }
  TwoNamesBody body;
  body.name_bytes = static_cast<std::uint32_t>(std::strlen(name));
  body.name2_bytes = static_cast<std::uint32_t>(std::strlen(name2));
  body.flags = flags;
  Remote::Request asked = ask(request, Op::kRename, parent.get());
  asked.node2 = parent2.get();
  Remote::Reply reply;
  const int error = fs.remote_.call(
      asked, {bytes_of(body), bytes_of(std::string_view(name)), bytes_of(std::string_view(name2))},
      reply);
  if (error == 0) {
    ByteReader reader = reply.reader();
    const auto moved = reader.get<Attr>();
    if (reader.ok()) fs.nodes_.moved(moved.key, parent2, name2);
    const auto exchanged = reader.get<Attr>();
    if (reader.ok()) fs.nodes_.moved(exchanged.key, parent, name);
  }
  fuse_reply_err(request, error);
}

void ViewOps::link(fuse_req_t request, fuse_ino_t ino, fuse_ino_t parent_id, const char* name) {
  ViewFs& fs = fs_of(request);
  if (too_long(request, name)) return;
  const ViewNodePtr node = fs.nodes_.get(ino);
  if (node->is_only_here()) {
    fuse_reply_err(request, EPERM);
    return;
  }
  const ViewNodePtr parent = fs.nodes_.get(parent_id);
  TwoNamesBody body;
  body.name2_bytes = static_cast<std::uint32_t>(std::strlen(name));
  Remote::Request asked = ask(request, Op::kLink, node.get());
  asked.node2 = parent.get();
  Remote::Reply reply;
  const int error =
      fs.remote_.call(asked, {bytes_of(body), bytes_of(std::string_view(name))}, reply);
  if (error != 0) {
    fuse_reply_err(request, error);
    return;
  }
  reply_entry(request, reply, parent, name);
}

}  // namespace ssi::fs
