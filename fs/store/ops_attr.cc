#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>

#include "fs/store/call.h"

namespace ssi::fs {
namespace {

// Most calls on attributes want a path; the link in /proc leads from an O_PATH descriptor to the
// file itself, also if it has no name any more.
std::string path_of(const NodeTable::Node& node) {
  return "/proc/self/fd/" + std::to_string(**node.fd);
}

timespec timespec_of(const Time& time) { return {time.s, time.ns}; }

bool is_xattr_name(std::string_view name) {
  return !name.empty() && name.size() <= kNameBytesMax && name.find('\0') == std::string_view::npos;
}

// Symbolic links take no attributes of users, and the way through /proc can't name them.
int xattr_node(Call& call, NodeTable::Node& node) {
  if (const int error = call.session.nodes().get(call.head.node, node); error != 0) return error;
  return node.type == S_IFLNK || node.hidden ? EOPNOTSUPP : 0;
}

}  // namespace

int on_getattr(Call& call) {
  if (!call.body.done()) return kMalformed;
  Attr attr;
  if (call.head.handle != 0) {
    const auto file = call.session.handle(call.head.handle);
    if (!file) return EBADF;
    FileStat& stat = call.session.stat();
    if (const int error = file->hidden ? stat.describe_hidden(**file->fd, "", attr)
                                       : stat.describe(**file->fd, "", attr);
        error != 0) {
      return error;
    }
  } else {
    NodeTable::Node node;
    if (const int error = call.session.nodes().get(call.head.node, node); error != 0) return error;
    FileStat& stat = call.session.stat();
    if (const int error = node.hidden ? stat.describe_hidden(**node.fd, "", attr)
                                      : stat.describe(**node.fd, "", attr);
        error != 0) {
      return error;
    }
  }
  call.reply.append(attr);
  return 0;
}

int on_setattr(Call& call) {
  const auto body = call.body.get<SetattrBody>();
  if (!call.body.done() || (body.valid & ~SetattrBody::kAll) != 0) return kMalformed;
  NodeTable::Node node;
  if (const int error = call.session.nodes().get(call.head.node, node); error != 0) return error;
  if (node.hidden) return EACCES;
  const std::string path = path_of(node);
  const auto file = call.head.handle != 0 ? call.session.handle(call.head.handle) : nullptr;
  if (call.head.handle != 0 && !file) return EBADF;

  if ((body.valid & SetattrBody::kMode) != 0) {
    if (node.type == S_IFLNK) return EOPNOTSUPP;
    if (::chmod(path.c_str(), body.mode & 07777) != 0) return errno;
  }
  if ((body.valid & (SetattrBody::kUid | SetattrBody::kGid)) != 0) {
    const uid_t uid = (body.valid & SetattrBody::kUid) != 0 ? body.uid : static_cast<uid_t>(-1);
    const gid_t gid = (body.valid & SetattrBody::kGid) != 0 ? body.gid : static_cast<gid_t>(-1);
    if (::fchownat(**node.fd, "", uid, gid, AT_EMPTY_PATH) != 0) return errno;
  }
  if ((body.valid & SetattrBody::kSize) != 0) {
    if (body.size > INT64_MAX) return EINVAL;
    if (node.type != S_IFREG) return EINVAL;
    const auto size = static_cast<off_t>(body.size);
    const bool by_handle = file && (file->flags & O_ACCMODE) != O_RDONLY;
    if ((by_handle ? ::ftruncate(**file->fd, size) : ::truncate(path.c_str(), size)) != 0)
      return errno;
  }
  constexpr std::uint32_t kTimes =
      SetattrBody::kAtime | SetattrBody::kMtime | SetattrBody::kAtimeNow | SetattrBody::kMtimeNow;
  if ((body.valid & kTimes) != 0) {
    timespec times[2] = {{0, UTIME_OMIT}, {0, UTIME_OMIT}};
    if ((body.valid & SetattrBody::kAtime) != 0) times[0] = timespec_of(body.atime);
    if ((body.valid & SetattrBody::kMtime) != 0) times[1] = timespec_of(body.mtime);
    if ((body.valid & SetattrBody::kAtimeNow) != 0) times[0].tv_nsec = UTIME_NOW;
    if ((body.valid & SetattrBody::kMtimeNow) != 0) times[1].tv_nsec = UTIME_NOW;
    const int result = node.type == S_IFLNK
                           ? ::utimensat(**node.fd, "", times, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW)
                           : ::utimensat(AT_FDCWD, path.c_str(), times, 0);
    if (result != 0) return errno;
  }
  Attr attr;
  if (const int error = call.session.stat().describe(**node.fd, "", attr); error != 0) return error;
  call.reply.append(attr);
  return 0;
}

int on_statfs(Call& call) {
  if (!call.body.done()) return kMalformed;
  NodeTable::Node node;
  if (const int error = call.session.nodes().get(call.head.node, node); error != 0) return error;
  if (node.hidden) {
    if (const int error = call.session.nodes().get(kRootNode, node); error != 0) return error;
  }
  struct statvfs fs {};
  if (::fstatvfs(**node.fd, &fs) != 0) return errno;
  StatfsReply reply;
  reply.blocks = fs.f_blocks;
  reply.blocks_free = fs.f_bfree;
  reply.blocks_available = fs.f_bavail;
  reply.files = fs.f_files;
  reply.files_free = fs.f_ffree;
  reply.block_bytes = static_cast<std::uint32_t>(fs.f_bsize);
  reply.fragment_bytes = static_cast<std::uint32_t>(fs.f_frsize);
  reply.name_bytes_max = static_cast<std::uint32_t>(fs.f_namemax);
  call.reply.append(reply);
  return 0;
}

int on_getxattr(Call& call) {
  const auto body = call.body.get<NameBody>();
  const std::string name(call.body.text(body.name_bytes));
  if (!call.body.done() || !is_xattr_name(name) || body.size > (64u << 10)) return kMalformed;
  NodeTable::Node node;
  if (const int error = xattr_node(call, node); error != 0) return error;
  if (body.size == 0) {
    const ssize_t size = ::getxattr(path_of(node).c_str(), name.c_str(), nullptr, 0);
    if (size < 0) return errno;
    call.reply.append(CountReply{static_cast<std::uint64_t>(size)});
    return 0;
  }
  call.reply.resize(sizeof(ReplyHead) + body.size);
  const ssize_t size = ::getxattr(path_of(node).c_str(), name.c_str(),
                                  call.reply.data() + sizeof(ReplyHead), body.size);
  if (size < 0) return errno;
  call.reply.resize(sizeof(ReplyHead) + static_cast<std::size_t>(size));
  return 0;
}

int on_listxattr(Call& call) {
  const auto body = call.body.get<NameBody>();
  if (!call.body.done() || body.name_bytes != 0 || body.size > (64u << 10)) return kMalformed;
  NodeTable::Node node;
  if (const int error = xattr_node(call, node); error != 0) return error;
  if (body.size == 0) {
    const ssize_t size = ::listxattr(path_of(node).c_str(), nullptr, 0);
    if (size < 0) return errno;
    call.reply.append(CountReply{static_cast<std::uint64_t>(size)});
    return 0;
  }
  call.reply.resize(sizeof(ReplyHead) + body.size);
  const ssize_t size =
      ::listxattr(path_of(node).c_str(),
                  reinterpret_cast<char*>(call.reply.data() + sizeof(ReplyHead)), body.size);
  if (size < 0) return errno;
  call.reply.resize(sizeof(ReplyHead) + static_cast<std::size_t>(size));
  return 0;
}

int on_setxattr(Call& call) {
  const auto body = call.body.get<SetxattrBody>();
  const std::string name(call.body.text(body.name_bytes));
  const ByteSpan value = call.body.take(body.value_bytes);
  if (!call.body.done() || !is_xattr_name(name)) return kMalformed;
  NodeTable::Node node;
  if (const int error = xattr_node(call, node); error != 0) return error;
  if (node.hidden) return EACCES;
  return ::setxattr(path_of(node).c_str(), name.c_str(), value.data(), value.size(),
                    static_cast<int>(body.flags)) == 0
             ? 0
             : errno;
}

int on_removexattr(Call& call) {
  const auto body = call.body.get<NameBody>();
  const std::string name(call.body.text(body.name_bytes));
  if (!call.body.done() || !is_xattr_name(name)) return kMalformed;
  NodeTable::Node node;
  if (const int error = xattr_node(call, node); error != 0) return error;
  if (node.hidden) return EACCES;
  if (::removexattr(path_of(node).c_str(), name.c_str()) == 0) return 0;
  return errno == ENODATA && (call.head.flags & RequestHead::kAgain) != 0 ? 0 : errno;
}

}  // namespace ssi::fs
