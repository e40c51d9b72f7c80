// Files that home holds for processes on their way (held_file.h): what the movers ask for, of a
// view of guests only. At /cluster/node such names and requests are like any others.
#include <cerrno>
#include <cstring>

#include "fs/view/view_ops.h"
#include "ssid/wire/carrier/held_file.h"

namespace ssi::fs {
namespace {

// 0 or an errno: home holds what is asked for, by that number.
int hold_at_home(Remote& remote, const Remote::Request& asked, std::uint64_t& id) {
  Remote::Reply reply;
  if (const int error = remote.call(asked, {}, reply); error != 0) return error;
  ByteReader reader = reply.reader();
  id = reader.get<HeldBody>().id;
  return reader.done() ? 0 : EIO;
}

}  // namespace

bool ViewOps::asks_for_held(fuse_req_t request) {
  return fs_of(request).is_for_guests() && fuse_req_ctx(request)->uid == 0;
}

std::optional<std::uint64_t> ViewOps::held_of(fuse_req_t request, const ViewNode& parent,
                                              std::string_view name, std::string_view prefix) {
  if (!parent.is_root || !asks_for_held(request)) return {};
  return held_id(name, prefix);
}

void ViewOps::lookup_held(fuse_req_t request, const ViewNodePtr& parent, const std::string& name,
                          std::uint64_t id) {
  Remote::Reply reply;
  const HeldBody body{id};
  const int error =
      fs_of(request).remote_.call(ask(request, Op::kHeld, nullptr), {bytes_of(body)}, reply);
  if (error != 0) {
    fuse_reply_err(request, error);
    return;
  }
  reply_entry(request, reply, parent, name, true);
}

void ViewOps::expect_opening(fuse_req_t request, const ExpectOpening& wanted) {
  ViewFs& fs = fs_of(request);
  Remote::Reply reply;
  const HeldBody body{wanted.id};
  const int error = fs.remote_.call(ask(request, Op::kHeld, nullptr), {bytes_of(body)}, reply);
  ByteReader reader = reply.reader();
  EntryReply entry;
  if (error == 0) entry = reader.get<EntryReply>();
  if (error != 0 || !reader.done()) {
    fuse_reply_err(request, error != 0 ? error : EIO);
    return;
  }
  fs.expect_opening({wanted.id, entry.attr.key, wanted.pid});
  fs.remote_.forget(reply.serial(), entry.node, 1);
  fuse_reply_err(request, 0);
}

void ViewOps::release_held(fuse_req_t request, std::uint64_t id) {
  Remote::Reply reply;
  const HeldBody body{id};
  fs_of(request).expect_no_more(id);
  const int error =
      fs_of(request).remote_.call(ask(request, Op::kUnhold, nullptr), {bytes_of(body)}, reply);
  fuse_reply_err(request, error != 0 ? error : ENOENT);
}

void ViewOps::hold_as_attribute(fuse_req_t request, ViewNode& node, std::size_t size) {
  std::uint64_t id = 0;
  const int error = hold_at_home(fs_of(request).remote_, ask(request, Op::kHold, &node), id);
  const std::string value = std::to_string(id);
  if (error != 0) {
    fuse_reply_err(request, error);
  } else if (size < value.size()) {
    fuse_reply_err(request, ERANGE);
  } else {
    fuse_reply_buf(request, value.data(), value.size());
  }
}

void ViewOps::ioctl(fuse_req_t request, fuse_ino_t ino, unsigned int command, void*,
                    fuse_file_info* info, unsigned int, const void* in, std::size_t in_bytes,
                    std::size_t) {
  const ViewNodePtr node = fs_of(request).nodes_.get(ino);
  ViewHandle* handle = handle_of(info);
  if (command == kHoldFile && asks_for_held(request)) {
    hold(request, *node, *handle);
  } else if (command == kAdoptFile && in_bytes == sizeof(AdoptFile) && asks_for_held(request)) {
    AdoptFile wanted;
    std::memcpy(&wanted, in, sizeof wanted);
    if (wanted.ranges > kLockRangesMax) {
      fuse_reply_err(request, EINVAL);
      return;
    }
    adopt(request, *node, *handle, wanted);
  } else if (command == kHoldLocks && in_bytes == sizeof(HoldLocks) && asks_for_held(request)) {
    HoldLocks wanted;
    std::memcpy(&wanted, in, sizeof wanted);
    hold_locks(request, *node, wanted.pid);
  } else if (command == kExpectLocks && in_bytes == sizeof(ExpectLocks) && asks_for_held(request)) {
    ExpectLocks wanted;
    std::memcpy(&wanted, in, sizeof wanted);
    fs_of(request).expect_locks({wanted.id, node->key, wanted.pid});
    fuse_reply_ioctl(request, 0, nullptr, 0);
  } else if (command == kAskLocks && in_bytes == sizeof(FileLocks) &&
             fuse_req_ctx(request)->uid == 0) {
    FileLocks asked;
    std::memcpy(&asked, in, sizeof asked);
    tell_locks(request, *node, *handle, asked);
  } else {
    fuse_reply_err(request, ENOTTY);
  }
}

void ViewOps::hold(fuse_req_t request, ViewNode& node, ViewHandle& handle) {
  Remote::Request asked = ask(request, Op::kHold, nullptr);
  // Home knows nothing of a directory that was only opened.
  if (handle.directory) {
    asked.node = &node;
  } else {
    asked.handle = &handle;
  }
  HoldFile answer;
  if (const int error = hold_at_home(fs_of(request).remote_, asked, answer.id); error != 0) {
    fuse_reply_err(request, error);
    return;
  }
  fuse_reply_ioctl(request, 0, &answer, sizeof answer);
}

void ViewOps::adopt(fuse_req_t request, ViewNode& node, ViewHandle& handle,
                    const AdoptFile& wanted) {
  ViewFs& fs = fs_of(request);
  Remote::Request asked = ask(request, Op::kAdopt, nullptr);
  asked.handle = &handle;
  const HeldBody held{wanted.id};
  Remote::Reply reply;
  const int error = fs.remote_.call(asked, {bytes_of(held)}, reply);
  if (error != 0) {
    fuse_reply_err(request, error);
    return;
  }
  {
    std::lock_guard lock(handle.mutex);
    // For a store that forgets them.
    handle.flock = wanted.flock;
    handle.file_locks.clear();
    for (std::uint32_t i = 0; i < wanted.ranges; ++i) {
      const LockRange& range = wanted.range[i];
      handle.file_locks.push_back({range.start, range.end, range.type});
    }
  }
  // As with any lock that was got: what was written under it elsewhere is to be seen.
  fs.remote_.note_change();
  fs.drop_pages(node, 0);
  if (wanted.lease.any()) fs.leases_.watch(handle, wanted.lease, wanted.pid, wanted.number);
  fuse_reply_ioctl(request, 0, nullptr, 0);
}

// A process is one owner to the kernel.
void ViewOps::hold_locks(fuse_req_t request, ViewNode& node, pid_t process) {
  LockBody body;
  {
    std::lock_guard lock(node.mutex);
    for (const auto& [owner, held] : node.record_locks) {
      if (held.process == process) body.owner = owner;
    }
  }
  if (body.owner == 0) {
    fuse_reply_err(request, ENOENT);
    return;
  }
  Remote::Reply reply;
  const int error =
      fs_of(request).remote_.call(ask(request, Op::kHoldLocks, &node), {bytes_of(body)}, reply);
  ByteReader reader = reply.reader();
  HoldLocks answer;
  answer.pid = process;
  if (error == 0) answer.id = reader.get<HeldBody>().id;
  if (error != 0 || !reader.done()) {
    fuse_reply_err(request, error != 0 ? error : EIO);
    return;
  }
  fuse_reply_ioctl(request, 0, &answer, sizeof answer);
}

namespace {

void tell_ranges(const std::vector<RecordLock>& held, std::uint32_t& count, LockRange* told) {
  for (const RecordLock& range : held) {
    if (count < kLockRangesMax) told[count] = {range.start, range.end, range.type, 0};
    ++count;
  }
}

}  // namespace

// Also at /cluster/node: a process of this node that uses such a file may move, with its locks.
void ViewOps::tell_locks(fuse_req_t request, ViewNode& node, ViewHandle& handle,
                         const FileLocks& asked) {
  ViewFs& fs = fs_of(request);
  FileLocks locks;
  locks.pid = asked.pid;
  locks.number = asked.number;
  if (fs.is_for_guests()) {
    locks.for_guests = 1;
    if (asked.leased != 0) fs.leases_.heed(handle, asked.pid, asked.number);
    locks.leased = fs.leases_.is_at_home(handle) ? 1 : 0;
  }
  {
    std::lock_guard lock(handle.mutex);
    locks.flock = handle.flock;
    tell_ranges(handle.file_locks, locks.ranges, locks.range);
  }
  {
    std::lock_guard lock(node.mutex);
    for (const auto& [owner, held] : node.record_locks) {
      if (held.process == asked.pid) {
        tell_ranges(held.ranges, locks.process_ranges, locks.process_range);
      }
    }
  }
  fuse_reply_ioctl(request, 0, &locks, sizeof locks);
}

}  // namespace ssi::fs
