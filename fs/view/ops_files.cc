// Open files: their contents and their ends.
#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "fs/view/view_ops.h"

namespace ssi::fs {

// 0, and `info` is what the kernel is to be told, or an errno.
int ViewOps::open_at_home(fuse_req_t request, const ViewNodePtr& node, fuse_file_info& info) {
  ViewFs& fs = fs_of(request);
  const auto flags = static_cast<std::uint32_t>(info.flags);
  Remote::Request asked = ask(request, Op::kOpen, node.get());
  const OpenBody body{flags, 0};
  const OpenHeldBody of_held{fs.expected_opening(asked.caller, *node), flags, 0};
  const bool held = of_held.id != 0;
  if (!held && fs.open_for_criu(node, asked.caller, info)) return 0;
  if (held) asked.op = Op::kOpenHeld;
  if ((flags & O_TRUNC) != 0) fs.remote_.note_change();
  Remote::Reply reply;
  const int error = fs.remote_.call(asked, {held ? bytes_of(of_held) : bytes_of(body)}, reply);
  if (error != 0) return error;
  ByteReader reader = reply.reader();
  const auto opened = reader.get<OpenReply>();
  if (!reader.done()) return EIO;
  if ((flags & O_TRUNC) != 0) fs.remote_.note_change();
  fs.opened(node, flags, opened.attr, reply.changes(), info, held);
  Remote::bind(*handle_of(&info), reply.serial(), opened.handle);
  return 0;
}

void ViewOps::answer_open(fuse_req_t request, int error, const fuse_file_info& info) {
  if (error != 0) {
    fuse_reply_err(request, error);
  } else if (fuse_reply_open(request, &info) == -ENOENT) {
    fs_of(request).release(handle_of(&info));
  }
}

void ViewOps::open(fuse_req_t request, fuse_ino_t ino, fuse_file_info* info) {
  ViewFs& fs = fs_of(request);
  const ViewNodePtr node = fs.nodes_.get(ino);
  if (told_open(request, node, info)) return;
  // To break a lease, and there was none to be broken.
  if (fs.leases_.is_own(fuse_req_ctx(request)->pid)) {
    fuse_reply_err(request, ECANCELED);
    return;
  }
  fs.watch_news_.note_caller(fuse_req_ctx(request)->pid);
  const int error = open_at_home(request, node, *info);
  // Somebody has a lease of it at home, who was told just now.
  if (error == EAGAIN && ((info->flags & O_NONBLOCK) == 0 || fs.leases_.has_any(*node))) {
    fs.wait_to_open(request, *info, node);
  } else {
    answer_open(request, error, *info);
  }
}

void ViewOps::create(fuse_req_t request, fuse_ino_t parent_id, const char* name, mode_t mode,
                     fuse_file_info* info) {
  ViewFs& fs = fs_of(request);
  if (too_long(request, name)) return;
  const ViewNodePtr parent = fs.nodes_.get(parent_id);
  const auto flags = static_cast<std::uint32_t>(info->flags);
  MakeBody body;
  body.name_bytes = static_cast<std::uint32_t>(std::strlen(name));
  body.mode = mode;
  body.flags = flags;
  fuse_entry_param entry{};
  {
    Remote::Reply reply;
    const int error = fs.remote_.call(ask(request, Op::kCreate, parent.get()),
                                      {bytes_of(body), bytes_of(std::string_view(name))}, reply);
    ByteReader reader = reply.reader();
    CreateReply created;
    if (error == 0) created = reader.get<CreateReply>();
    if (error != 0 || !reader.done()) {
      fuse_reply_err(request, error != 0 ? error : EIO);
      return;
    }
    entry = fs.entry_of(reply, parent, name, created.node, created.attr);
    fs.opened(fs.nodes_.get(entry.ino), flags, created.attr, reply.changes(), *info);
    Remote::bind(*handle_of(info), reply.serial(), created.handle);
  }
  if (fuse_reply_create(request, &entry, info) == -ENOENT) {
    fs.release(handle_of(info));
    fs.nodes_.forget(entry.ino, 1);
  }
}

void ViewOps::read(fuse_req_t request, fuse_ino_t, std::size_t size, off_t offset,
                   fuse_file_info* info) {
  ViewFs& fs = fs_of(request);
  ViewHandle* handle = handle_of(info);
  size = std::min<std::size_t>(size, kDataBytesMax);
  if (const auto twin = fs.twin_for(*handle)) {
    if (const int fd = twin->fd(fs.twins_.stat()); fd >= 0) {
      fuse_bufvec data = FUSE_BUFVEC_INIT(size);
      data.buf[0].flags = static_cast<fuse_buf_flags>(FUSE_BUF_IS_FD | FUSE_BUF_FD_SEEK);
      data.buf[0].fd = fd;
      data.buf[0].pos = offset;
      ++fs.twin_reads_;
      fs.twin_read_bytes_ += size;
      fuse_reply_data(request, &data, FUSE_BUF_NO_SPLICE);
      return;
    }
    std::lock_guard lock(handle->node->mutex);
    handle->node->twin.reset();
  }
  RangeBody body;
  body.offset = static_cast<std::uint64_t>(offset);
  body.size = size;
  Remote::Request asked = ask(request, Op::kRead, nullptr);
  asked.handle = handle;
  Remote::Reply reply;
  if (const int error = fs.remote_.call(asked, {bytes_of(body)}, reply); error != 0) {
    fuse_reply_err(request, error);
    return;
  }
  const ByteSpan data = reply.body();
  ++fs.reads_;
  fs.read_bytes_ += data.size();
  fuse_reply_buf(request, reinterpret_cast<const char*>(data.data()), std::min(data.size(), size));
}

void ViewOps::write(fuse_req_t request, fuse_ino_t, const char* buffer, std::size_t size,
                    off_t offset, fuse_file_info* info) {
  ViewFs& fs = fs_of(request);
  if (size > kDataBytesMax) {
    fuse_reply_err(request, EINVAL);
    return;
  }
  RangeBody body;
  body.offset = static_cast<std::uint64_t>(offset);
  body.size = size;
  body.mode = info->writepage ? 1 : 0;
  Remote::Request asked = ask(request, Op::kWrite, nullptr);
  asked.handle = handle_of(info);
  Remote::Reply reply;
  const int error = fs.remote_.call(
      asked, {bytes_of(body), {reinterpret_cast<const std::uint8_t*>(buffer), size}}, reply);
  ByteReader reader = reply.reader();
  CountReply written;
  if (error == 0) written = reader.get<CountReply>();
  if (error != 0 || !reader.done() || written.count > size) {
    fuse_reply_err(request, error != 0 ? error : EIO);
    return;
  }
  ++fs.writes_;
  fs.write_bytes_ += written.count;
  ViewHandle* handle = handle_of(info);
  const ViewNodePtr node = handle->node;
  const bool appended = (handle->flags & O_APPEND) != 0 && !info->writepage;
  const bool direct = (handle->flags & O_ACCMODE) == O_WRONLY;  // see ViewFs::opened
  if (appended && direct) fs.drop_pages(*node, static_cast<std::uint64_t>(offset));
  fuse_reply_write(request, written.count);
  // These pages are locked until then.
  if (appended && !direct) fs.drop_pages(*node, static_cast<std::uint64_t>(offset));
}

void ViewOps::flush(fuse_req_t request, fuse_ino_t ino, fuse_file_info* info) {
  // Writes have been at home since they returned. What is left of a close are the owner's record
  // locks.
  ViewFs& fs = fs_of(request);
  const ViewNodePtr node = fs.nodes_.get(ino);
  bool locked = false;
  {
    std::lock_guard lock(node->mutex);
    locked = node->record_locks.erase(info->lock_owner) > 0;
  }
  int error = 0;
  if (locked) {
    LockBody body;
    body.owner = info->lock_owner;
    Remote::Reply reply;
    error = fs.remote_.call(ask(request, Op::kUnlockOwner, node.get()), {bytes_of(body)}, reply);
    if (error == EHOSTDOWN) {
      Remote::Request later;
      later.op = Op::kUnlockOwner;
      std::lock_guard lock(node->mutex);
      later.session = node->store_serial;
      later.node_id = node->store_id;
      fs.remote_.tell_later(later, body);
    }
  }
  fuse_reply_err(request, error);
}

void ViewOps::release(fuse_req_t request, fuse_ino_t, fuse_file_info* info) {
  ViewFs& fs = fs_of(request);
  fs.release(handle_of(info));
  fuse_reply_err(request, 0);
}

void ViewOps::fsync(fuse_req_t request, fuse_ino_t, int datasync, fuse_file_info* info) {
  RangeBody body;
  body.mode = datasync != 0 ? 1 : 0;
  Remote::Request asked = ask(request, Op::kFsync, nullptr);
  asked.handle = handle_of(info);
  Remote::Reply reply;
  fuse_reply_err(request, fs_of(request).remote_.call(asked, {bytes_of(body)}, reply));
}

void ViewOps::fallocate(fuse_req_t request, fuse_ino_t, int mode, off_t offset, off_t length,
                        fuse_file_info* info) {
  RangeBody body;
  body.offset = static_cast<std::uint64_t>(offset);
  body.size = static_cast<std::uint64_t>(length);
  body.mode = static_cast<std::uint32_t>(mode);
  Remote::Request asked = ask(request, Op::kFallocate, nullptr);
  asked.handle = handle_of(info);
  Remote::Reply reply;
  fuse_reply_err(request, fs_of(request).remote_.call(asked, {bytes_of(body)}, reply));
}

void ViewOps::lseek(fuse_req_t request, fuse_ino_t, off_t offset, int whence,
                    fuse_file_info* info) {
  RangeBody body;
  body.offset = static_cast<std::uint64_t>(offset);
  body.mode = static_cast<std::uint32_t>(whence);
  Remote::Request asked = ask(request, Op::kLseek, nullptr);
  asked.handle = handle_of(info);
  Remote::Reply reply;
  const int error = fs_of(request).remote_.call(asked, {bytes_of(body)}, reply);
  ByteReader reader = reply.reader();
  CountReply found;
  if (error == 0) found = reader.get<CountReply>();
  if (error != 0 || !reader.done()) {
    fuse_reply_err(request, error != 0 ? error : EIO);
    return;
  }
  fuse_reply_lseek(request, static_cast<off_t>(found.count));
}

void ViewOps::copy_file_range(fuse_req_t request, fuse_ino_t, off_t offset_in, fuse_file_info* in,
                              fuse_ino_t, off_t offset_out, fuse_file_info* out, std::size_t size,
                              int flags) {
  CopyBody body;
  body.offset_in = static_cast<std::uint64_t>(offset_in);
  body.offset_out = static_cast<std::uint64_t>(offset_out);
  body.size = size;
  body.flags = static_cast<std::uint32_t>(flags);
  Remote::Request asked = ask(request, Op::kCopyRange, nullptr);
  asked.handle = handle_of(in);
  asked.handle2 = handle_of(out);
  Remote::Reply reply;
  const int error = fs_of(request).remote_.call(asked, {bytes_of(body)}, reply);
  ByteReader reader = reply.reader();
  CountReply copied;
  if (error == 0) copied = reader.get<CountReply>();
  if (error != 0 || !reader.done()) {
    fuse_reply_err(request, error != 0 ? error : EIO);
    return;
  }
  fuse_reply_write(request, copied.count);
}

}  // namespace ssi::fs
