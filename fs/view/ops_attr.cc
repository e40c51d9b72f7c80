// Attributes, extended attributes, free space.
#include <algorithm>
#include <cerrno>
#include <cstring>

#include "fs/view/criu_caller.h"
#include "fs/view/view_ops.h"
#include "ssid/wire/carrier/held_file.h"

namespace ssi::fs {

void ViewOps::reply_attr(fuse_req_t request, const Remote::Reply& reply, ViewNode& node) {
  ViewFs& fs = fs_of(request);
  ByteReader reader = reply.reader();
  const auto attr = reader.get<Attr>();
  if (!reader.done()) {
    fuse_reply_err(request, EIO);
    return;
  }
  fs.learn(node, attr, reply.changes());
  const struct stat st = fs.stat_of(attr);
  fuse_reply_attr(request, &st, fs.timeout_s());
}

void ViewOps::getattr(fuse_req_t request, fuse_ino_t ino, fuse_file_info* info) {
  ViewFs& fs = fs_of(request);
  const ViewNodePtr node = fs.nodes_.get(ino);
  if (!fs.is_known_at_home(*node) && told_setattr(request, node)) return;
  if (node->is_only_here()) {
    set_only_here(request, *node, {}, 0);
    return;
  }
  fs.watch_news_.note_caller(fuse_req_ctx(request)->pid);
  Attr known;
  if (const double left_s = fs.known(*node, known); left_s > 0) {
    const struct stat st = fs.stat_of(known);
    fuse_reply_attr(request, &st, left_s);
    return;
  }
  Remote::Request asked = ask(request, Op::kGetattr, node.get());
  if (info != nullptr && info->fh != 0) asked.handle = handle_of(info);
  Remote::Reply reply;
  if (const int error = fs.remote_.call(asked, {}, reply); error != 0) {
    fuse_reply_err(request, error);
    return;
  }
  reply_attr(request, reply, *node);
}

void ViewOps::setattr(fuse_req_t request, fuse_ino_t ino, struct stat* st, int valid,
                      fuse_file_info* info) {
  ViewFs& fs = fs_of(request);
  const ViewNodePtr node = fs.nodes_.get(ino);
  if (told_setattr(request, node)) return;
  if (node->is_only_here()) {
    set_only_here(request, *node, *st, valid);
    return;
  }
  SetattrBody body;
  const auto take = [&](int fuse_bit, std::uint32_t bit) {
    if ((valid & fuse_bit) != 0) body.valid |= bit;
  };
  take(FUSE_SET_ATTR_MODE, SetattrBody::kMode);
  take(FUSE_SET_ATTR_UID, SetattrBody::kUid);
  take(FUSE_SET_ATTR_GID, SetattrBody::kGid);
  take(FUSE_SET_ATTR_SIZE, SetattrBody::kSize);
  take(FUSE_SET_ATTR_ATIME, SetattrBody::kAtime);
  take(FUSE_SET_ATTR_MTIME, SetattrBody::kMtime);
  take(FUSE_SET_ATTR_ATIME_NOW, SetattrBody::kAtimeNow);
  take(FUSE_SET_ATTR_MTIME_NOW, SetattrBody::kMtimeNow);
  body.mode = st->st_mode;
  body.uid = st->st_uid;
  body.gid = st->st_gid;
  body.size = static_cast<std::uint64_t>(st->st_size);
  body.atime = {st->st_atim.tv_sec, st->st_atim.tv_nsec};
  body.mtime = {st->st_mtim.tv_sec, st->st_mtim.tv_nsec};
  Remote::Request asked = ask(request, Op::kSetattr, node.get());
  if (info != nullptr && info->fh != 0) asked.handle = handle_of(info);
  Remote::Reply reply;
  if (const int error = fs.remote_.call(asked, {bytes_of(body)}, reply); error != 0) {
    fuse_reply_err(request, error);
    return;
  }
  reply_attr(request, reply, *node);
}

void ViewOps::statfs(fuse_req_t request, fuse_ino_t ino) {
  ViewFs& fs = fs_of(request);
  const ViewNodePtr asked_of = fs.nodes_.get(ino);
  // It asks this of each file of each process, to see which kind of file system it is; which the
  // kernel adds.
  if (is_criu(fuse_req_ctx(request)->pid)) {
    const struct statvfs nothing {};
    fuse_reply_statfs(request, &nothing);
    return;
  }
  const ViewNodePtr& node = asked_of->is_only_here() ? fs.nodes_.root() : asked_of;
  Remote::Reply reply;
  const int error = fs.remote_.call(ask(request, Op::kStatfs, node.get()), {}, reply);
  StatfsReply told;  // of a home that is down: nothing, so that `df` shows the others
  if (error == 0) {
    ByteReader reader = reply.reader();
    told = reader.get<StatfsReply>();
    if (!reader.done()) {
      fuse_reply_err(request, EIO);
      return;
    }
  } else if (error != EHOSTDOWN) {
    fuse_reply_err(request, error);
    return;
  }
  struct statvfs st {};
  st.f_blocks = told.blocks;
  st.f_bfree = told.blocks_free;
  st.f_bavail = told.blocks_available;
  st.f_files = told.files;
  st.f_ffree = told.files_free;
  st.f_bsize = told.block_bytes;
  st.f_frsize = told.fragment_bytes;
  st.f_namemax = told.name_bytes_max;
  fuse_reply_statfs(request, &st);
}

void ViewOps::setxattr(fuse_req_t request, fuse_ino_t ino, const char* name, const char* value,
                       std::size_t size, int flags) {
  ViewFs& fs = fs_of(request);
  if (too_long(request, name)) return;
  const ViewNodePtr node = fs.nodes_.get(ino);
  if (node->is_only_here()) {
    fuse_reply_err(request, EOPNOTSUPP);
    return;
  }
  if (node->is_root && asks_for_held(request) && size == sizeof(ExpectOpening) &&
      std::string_view(name) == kExpectOpeningAttribute) {
    ExpectOpening wanted;
    std::memcpy(&wanted, value, sizeof wanted);
    expect_opening(request, wanted);
    return;
  }
  SetxattrBody body;
  body.name_bytes = static_cast<std::uint32_t>(std::strlen(name));
  body.value_bytes = static_cast<std::uint32_t>(size);
  body.flags = static_cast<std::uint32_t>(flags);
  {
    std::lock_guard lock(node->mutex);
    node->no_xattrs_until_ms = 0;
  }
  Remote::Reply reply;
  fuse_reply_err(request, fs.remote_.call(ask(request, Op::kSetxattr, node.get()),
                                          {bytes_of(body),
                                           bytes_of(std::string_view(name)),
                                           {reinterpret_cast<const std::uint8_t*>(value), size}},
                                          reply));
}

void ViewOps::reply_xattr(fuse_req_t request, int error, const Remote::Reply& reply,
                          std::size_t size) {
  if (error != 0) {
    fuse_reply_err(request, error);
    return;
  }
  if (size == 0) {
    ByteReader reader = reply.reader();
    const auto count = reader.get<CountReply>();
    if (!reader.done()) {
      fuse_reply_err(request, EIO);
    } else {
      fuse_reply_xattr(request, count.count);
    }
    return;
  }
  const ByteSpan value = reply.body();
  fuse_reply_buf(request, reinterpret_cast<const char*>(value.data()),
                 std::min(value.size(), size));
}

void ViewOps::getxattr(fuse_req_t request, fuse_ino_t ino, const char* name, std::size_t size) {
  ViewFs& fs = fs_of(request);
  if (too_long(request, name)) return;
  const ViewNodePtr node = fs.nodes_.get(ino);
  size = std::min<std::size_t>(size, 64 << 10);
  if (std::string_view(name) == kHoldAttribute && asks_for_held(request)) {
    hold_as_attribute(request, *node, size);
    return;
  }
  if (node->is_only_here() || fs.has_no_xattrs(request, node)) {
    fuse_reply_err(request, ENODATA);
    return;
  }
  const NameBody body = name_body(name, size);
  Remote::Reply reply;
  const int error = fs.remote_.call(ask(request, Op::kGetxattr, node.get()),
                                    {bytes_of(body), bytes_of(std::string_view(name))}, reply);
  reply_xattr(request, error, reply, size);
}

void ViewOps::listxattr(fuse_req_t request, fuse_ino_t ino, std::size_t size) {
  ViewFs& fs = fs_of(request);
  const ViewNodePtr node = fs.nodes_.get(ino);
  size = std::min<std::size_t>(size, 64 << 10);
  if (node->is_only_here() || fs.has_no_xattrs(request, node)) {
    if (size == 0) {
      fuse_reply_xattr(request, 0);
    } else {
      fuse_reply_buf(request, nullptr, 0);
    }
    return;
  }
  const NameBody body{0, static_cast<std::uint32_t>(size)};
  Remote::Reply reply;
  const int error =
      fs.remote_.call(ask(request, Op::kListxattr, node.get()), {bytes_of(body)}, reply);
  reply_xattr(request, error, reply, size);
}

void ViewOps::removexattr(fuse_req_t request, fuse_ino_t ino, const char* name) {
  ViewFs& fs = fs_of(request);
  if (too_long(request, name)) return;
  const ViewNodePtr node = fs.nodes_.get(ino);
  if (node->is_only_here()) {
    fuse_reply_err(request, ENODATA);
    return;
  }
  const NameBody body = name_body(name);
  Remote::Reply reply;
  fuse_reply_err(request,
                 fs.remote_.call(ask(request, Op::kRemovexattr, node.get()),
                                 {bytes_of(body), bytes_of(std::string_view(name))}, reply));
}

}  // namespace ssi::fs
