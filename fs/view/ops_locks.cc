// Record locks and flock(2).
#include <fcntl.h>
#include <sys/file.h>

#include <algorithm>
#include <cerrno>

#include "fs/view/lock_owner.h"
#include "fs/view/view_ops.h"

namespace ssi::fs {

LockBody ViewOps::lock_body(std::uint64_t owner, const struct flock& lock) {
  LockBody body;
  body.owner = owner;
  body.start = static_cast<std::uint64_t>(lock.l_start);
  body.length = static_cast<std::uint64_t>(lock.l_len);
  body.type = static_cast<std::uint32_t>(lock.l_type);
  body.pid = lock.l_pid;
  return body;
}

// An open file and its handle live equally long, so what was seen once stays right.
Remote::Request ViewOps::ask_record(fuse_req_t request, Op op, ViewNode& node,
                                    const fuse_file_info& info) {
  ViewHandle* handle = handle_of(&info);
  const std::uint64_t owner = info.lock_owner;
  bool known = false;
  bool of_file = false;
  {
    std::lock_guard lock(handle->mutex);
    of_file = owner == handle->file_owner;
    known = of_file || owner == handle->process_owner;
  }
  if (!known) {
    of_file = lock_owner_of(fuse_req_ctx(request)->pid) == LockOwner::kOpenFile;
    std::lock_guard lock(handle->mutex);
    (of_file ? handle->file_owner : handle->process_owner) = owner;
  }
  Remote::Request asked = ask(request, op, of_file ? nullptr : &node);
  if (of_file) asked.handle = handle;
  return asked;
}

namespace {

// Home knows its own processes, and an open file that holds it for a guest. If it is a guest of
// this view, it is known here, under a number that the kernel can tell.
pid_t holder_here(ViewNode& node, std::uint64_t asker, const LockBody& held) {
  const std::uint64_t end = held.length == 0 ? INT64_MAX : held.start + held.length - 1;
  std::lock_guard lock(node.mutex);
  for (const auto& [owner, locks] : node.record_locks) {
    const bool has = owner != asker && std::ranges::any_of(locks.ranges, [&](const RecordLock& r) {
                       return r.start <= held.start && r.end >= end && r.type == held.type;
                     });
    if (has) return locks.process;
  }
  return 0;
}

}  // namespace

void ViewOps::getlk(fuse_req_t request, fuse_ino_t ino, fuse_file_info* info, struct flock* lock) {
  ViewFs& fs = fs_of(request);
  const ViewNodePtr node = fs.nodes_.get(ino);
  const LockBody body = lock_body(info->lock_owner, *lock);
  Remote::Reply reply;
  const int error =
      fs.remote_.call(ask_record(request, Op::kGetlk, *node, *info), {bytes_of(body)}, reply);
  ByteReader reader = reply.reader();
  LockBody held;
  if (error == 0) held = reader.get<LockBody>();
  if (error != 0 || !reader.done()) {
    fuse_reply_err(request, error != 0 ? error : EIO);
    return;
  }
  lock->l_type = static_cast<short>(held.type);
  lock->l_whence = SEEK_SET;
  lock->l_start = static_cast<off_t>(held.start);
  lock->l_len = static_cast<off_t>(held.length);
  const pid_t guest = held.type == F_UNLCK ? 0 : holder_here(*node, info->lock_owner, held);
  lock->l_pid = guest != 0 ? guest : std::max(held.pid, 0);
  fuse_reply_lock(request, lock);
}

void ViewOps::setlk(fuse_req_t request, fuse_ino_t ino, fuse_file_info* info, struct flock* lock,
                    int sleep) {
  ViewFs& fs = fs_of(request);
  const ViewNodePtr node = fs.nodes_.get(ino);
  const Remote::Request asked = ask_record(request, Op::kSetlk, *node, *info);
  const LockBody body = lock_body(info->lock_owner, *lock);
  if (asked.handle == nullptr) {
    if (const int error = fs.adopt_expected(asked.caller, *node, body); error != 0) {
      fuse_reply_err(request, error);
      return;
    }
  }
  fs.ask_lock(request, asked, body, node, sleep != 0);
}

void ViewOps::flock(fuse_req_t request, fuse_ino_t ino, fuse_file_info* info, int operation) {
  ViewFs& fs = fs_of(request);
  LockBody body;
  body.type = static_cast<std::uint32_t>(operation & ~LOCK_NB);
  Remote::Request asked = ask(request, Op::kFlock, nullptr);
  asked.handle = handle_of(info);
  fs.ask_lock(request, asked, body, fs.nodes_.get(ino), (operation & LOCK_NB) == 0);
}

}  // namespace ssi::fs
