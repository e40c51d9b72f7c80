#include "fs/store/call.h"

#include <sys/stat.h>

namespace ssi::fs {
namespace {

struct Entry {
  Op op;
  Handler handler;
  bool may_be_repeated;
};

constexpr Entry kOps[] = {
    {Op::kLookup, on_lookup, true},
    {Op::kForget, on_forget, false},
    {Op::kGetattr, on_getattr, true},
    {Op::kSetattr, on_setattr, false},
    {Op::kReadlink, on_readlink, true},
    {Op::kMknod, on_mknod, false},
    {Op::kMkdir, on_mkdir, false},
    {Op::kUnlink, on_unlink, false},
    {Op::kRmdir, on_rmdir, false},
    {Op::kSymlink, on_symlink, false},
    {Op::kRename, on_rename, false},
    {Op::kLink, on_link, false},
    {Op::kOpen, on_open, false},
    {Op::kCreate, on_create, false},
    {Op::kRead, on_read, true},
    {Op::kWrite, on_write, false},
    {Op::kOpendir, on_opendir, false},
    {Op::kReaddir, on_readdir, true},
    {Op::kRelease, on_release, false},
    {Op::kStatfs, on_statfs, true},
    {Op::kFsync, on_fsync, true},
    {Op::kGetxattr, on_getxattr, true},
    {Op::kListxattr, on_listxattr, true},
    {Op::kSetxattr, on_setxattr, false},
    {Op::kRemovexattr, on_removexattr, false},
    {Op::kFallocate, on_fallocate, false},
    {Op::kLseek, on_lseek, true},
    {Op::kCopyRange, on_copy_range, false},
    {Op::kSetlk, on_setlk, false},
    {Op::kGetlk, on_getlk, true},
    {Op::kFlock, on_flock, false},
    {Op::kUnlockOwner, on_unlock_owner, false},
    {Op::kDigest, on_digest, true},
    {Op::kGoodbye, on_goodbye, false},
    {Op::kHold, on_hold, false},
    {Op::kHeld, on_held, true},
    {Op::kUnhold, on_unhold, true},
    {Op::kAdopt, on_adopt, true},
    {Op::kHoldLocks, on_hold_locks, false},
    {Op::kAdoptLocks, on_adopt_locks, true},
    {Op::kOpenHeld, on_open_held, false},
    {Op::kLease, on_lease, true},
    {Op::kWatch, on_watch, true},
    {Op::kNews, on_news, false},
};

const Entry* entry_of(Op op) {
  for (const Entry& entry : kOps) {
    if (entry.op == op) return &entry;
  }
  return nullptr;
}

}  // namespace

Handler handler_of(Op op) {
  const Entry* entry = entry_of(op);
  return entry == nullptr ? nullptr : entry->handler;
}

bool is_same_file(int one, int other) {
  struct stat a {
  }, b{};
  return ::fstat(one, &a) == 0 && ::fstat(other, &b) == 0 && a.st_dev == b.st_dev &&
         a.st_ino == b.st_ino;
}

bool may_be_repeated(Op op) {
  const Entry* entry = entry_of(op);
  return entry != nullptr && entry->may_be_repeated;
}

bool Call::is_name(std::string_view name) {
  return !name.empty() && name.size() <= kNameBytesMax && name != "." && name != ".." &&
         name.find_first_of(std::string_view("/\0", 2)) == std::string_view::npos;
}

std::string Call::name(std::uint32_t bytes, bool& ok) {
  const std::string_view text = bytes <= kNameBytesMax ? body.text(bytes) : std::string_view();
  if (!is_name(text)) ok = false;
  return std::string(text);
}

}  // namespace ssi::fs
