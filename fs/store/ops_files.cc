#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "fs/store/act_as.h"
#include "fs/store/call.h"

namespace ssi::fs {
namespace {

// O_DIRECT would ask for aligned buffers here; the guest's own kernel already bypasses its cache
// for it.
constexpr std::uint32_t kOpenFlags =
    O_ACCMODE | O_APPEND | O_TRUNC | O_NOATIME | O_SYNC | O_DSYNC | O_EXCL;

int open_node(const NodeTable::Node& node, std::uint32_t flags, UniqueFd& fd) {
  const std::string path = "/proc/self/fd/" + std::to_string(**node.fd);
  fd.reset(::open(path.c_str(), static_cast<int>(flags & kOpenFlags & ~std::uint32_t{O_EXCL}) |
                                    O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  return fd ? 0 : errno;
}

// Files that a program makes up when they are read.
bool is_unsized(int fd, const Attr& attr) {
  struct statfs fs {};
  return attr.size == 0 && ::fstatfs(fd, &fs) == 0 && fs.f_type == FUSE_SUPER_MAGIC;
}

bool valid_range(const RangeBody& body) {
  constexpr std::uint64_t kMax = INT64_MAX;
  return body.offset <= kMax && body.size <= kMax - body.offset;
}

}  // namespace

int on_open(Call& call) {
  const auto body = call.body.get<OpenBody>();
  if (!call.body.done()) return kMalformed;
  NodeTable::Node node;
  if (const int error = call.session.nodes().get(call.head.node, node); error != 0) return error;
  if (node.type != S_IFREG) return node.type == S_IFDIR ? EISDIR : ENXIO;
  UniqueFd fd;
  if (const int error = open_node(node, body.flags, fd); error != 0) return error;
  OpenReply reply;
  if (const int error = call.session.stat().describe(*fd, "", reply.attr); error != 0) return error;
  if (is_unsized(*fd, reply.attr)) reply.attr.flags |= Attr::kUnsized;
  reply.handle = call.session.add_handle(
      call.head.node, std::make_shared<const UniqueFd>(std::move(fd)), body.flags, node.fd);
  call.reply.append(reply);
  return 0;
}

int on_create(Call& call) {
  const auto body = call.body.get<MakeBody>();
  bool ok = true;
  const std::string name = call.name(body.name_bytes, ok);
  if (!ok || !call.body.done()) return kMalformed;
  NodeTable::Node dir;
  if (const int error = call.session.nodes().get(call.head.node, dir); error != 0) return error;
  if (dir.type != S_IFDIR) return ENOTDIR;
  if (dir.hidden) return EACCES;
  std::uint32_t flags = body.flags & kOpenFlags;
  if ((call.head.flags & RequestHead::kAgain) != 0) flags &= ~std::uint32_t{O_EXCL};
  UniqueFd fd;
  {
    const ActAs guest(call.head.uid, call.head.gid, call.head.umask);
    fd.reset(
        ::openat(**dir.fd, name.c_str(),
                 static_cast<int>(flags) | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY,
                 body.mode & 07777));
    if (!fd) return errno;
  }
  CreateReply reply;
  if (const int error = call.session.stat().describe(*fd, "", reply.attr); error != 0) return error;
  if (!S_ISREG(reply.attr.mode)) return ENXIO;
  reply.node = call.session.nodes().found(call.head.node, name, reply.attr);
  NodeTable::Node node;
  if (const int error = call.session.nodes().get(reply.node, node); error != 0) {
    call.session.nodes().forget(reply.node, 1);
    return error;
  }
  reply.handle = call.session.add_handle(
      reply.node, std::make_shared<const UniqueFd>(std::move(fd)), body.flags, node.fd);
  call.reply.append(reply);
  return 0;
}

int on_read(Call& call) {
  const auto body = call.body.get<RangeBody>();
  if (!call.body.done() || body.size > kDataBytesMax || !valid_range(body)) return kMalformed;
  const auto file = call.session.handle(call.head.handle);
  if (!file) return EBADF;
  call.reply.resize(sizeof(ReplyHead) + body.size);
  std::size_t filled = 0;
  while (filled < body.size) {
    const ssize_t got = ::pread(**file->fd, call.reply.data() + sizeof(ReplyHead) + filled,
                                body.size - filled, static_cast<off_t>(body.offset + filled));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return errno;
    if (got == 0) break;
    filled += static_cast<std::size_t>(got);
  }
  call.reply.resize(sizeof(ReplyHead) + filled);
  return 0;
}

namespace {

// Was this data appended by the store that died before it could say so?
bool is_there_already(const OpenFile& file, std::uint64_t offset, ByteSpan data) {
  // The guest's own opening may be for writing only.
  const UniqueFd fd(
      ::open(("/proc/self/fd/" + std::to_string(**file.fd)).c_str(), O_RDONLY | O_CLOEXEC));
  std::vector<std::uint8_t> there(data.size());
  return fd &&
         ::pread(*fd, there.data(), there.size(), static_cast<off_t>(offset)) ==
             static_cast<ssize_t>(data.size()) &&
         std::equal(data.begin(), data.end(), there.begin());
}

// Pages written back from a shared mapping go to their place, whatever the file was opened for.
int plain_fd(OpenFile& file) {
  std::lock_guard lock(file.mutex);
  if (!file.plain_fd) {
    const std::string path = "/proc/self/fd/" + std::to_string(**file.fd);
    file.plain_fd.reset(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  }
  return file.plain_fd.get();
}

}  // namespace

int on_write(Call& call) {
  const auto body = call.body.get<RangeBody>();
  const ByteSpan data = call.body.take(body.size);
  if (!call.body.done() || body.size > kDataBytesMax || !valid_range(body)) return kMalformed;
  const auto file = call.session.handle(call.head.handle);
  if (!file) return EBADF;
  int fd = **file->fd;
  const bool appends = (file->flags & O_APPEND) != 0;
  if (appends && body.mode == 1) {
    fd = plain_fd(*file);
    if (fd < 0) return errno;
  } else if (appends && (call.head.flags & RequestHead::kAgain) != 0 &&
             is_there_already(*file, body.offset, data)) {
    call.reply.append(CountReply{data.size()});
    return 0;
  }
  std::size_t written = 0;
  while (written < data.size()) {
    const ssize_t put = ::pwrite(fd, data.data() + written, data.size() - written,
                                 static_cast<off_t>(body.offset + written));
    if (put < 0 && errno == EINTR) continue;
    if (put < 0 && written > 0) break;
    if (put < 0) return errno;
    written += static_cast<std::size_t>(put);
  }
  call.reply.append(CountReply{written});
  return 0;
}

int on_release(Call& call) {
  if (!call.body.done()) return kMalformed;
  call.session.take_handle(call.head.handle);
  return 0;
}

int on_fsync(Call& call) {
  const auto body = call.body.get<RangeBody>();
  if (!call.body.done()) return kMalformed;
  const auto file = call.session.handle(call.head.handle);
  if (!file) return EBADF;
  const int result = body.mode == 1 ? ::fdatasync(**file->fd) : ::fsync(**file->fd);
  return result == 0 ? 0 : errno;
}

int on_fallocate(Call& call) {
  const auto body = call.body.get<RangeBody>();
  if (!call.body.done() || !valid_range(body)) return kMalformed;
  const auto file = call.session.handle(call.head.handle);
  if (!file) return EBADF;
  return ::fallocate(**file->fd, static_cast<int>(body.mode), static_cast<off_t>(body.offset),
                     static_cast<off_t>(body.size)) == 0
             ? 0
             : errno;
}

int on_lseek(Call& call) {
  const auto body = call.body.get<RangeBody>();
  if (!call.body.done()) return kMalformed;
  const auto file = call.session.handle(call.head.handle);
  if (!file) return EBADF;
  if (body.mode != SEEK_DATA && body.mode != SEEK_HOLE) return EINVAL;
  const off_t at =
      ::lseek(**file->fd, static_cast<off_t>(body.offset), static_cast<int>(body.mode));
  if (at < 0) return errno;
  call.reply.append(CountReply{static_cast<std::uint64_t>(at)});
  return 0;
}

int on_copy_range(Call& call) {
  const auto body = call.body.get<CopyBody>();
  if (!call.body.done()) return kMalformed;
  const auto in = call.session.handle(call.head.handle);
  const auto out = call.session.handle(call.head.handle2);
  if (!in || !out) return EBADF;
  auto offset_in = static_cast<off64_t>(body.offset_in);
  auto offset_out = static_cast<off64_t>(body.offset_out);
  // In slices, so that a copy of a large file doesn't look like a dead connection.
  const std::size_t size = std::min<std::uint64_t>(body.size, 64u << 20);
  const ssize_t copied =
      ::copy_file_range(**in->fd, &offset_in, **out->fd, &offset_out, size, body.flags);
  if (copied < 0) return errno;
  call.reply.append(CountReply{static_cast<std::uint64_t>(copied)});
  return 0;
}

int on_digest(Call& call) {
  if (!call.body.done()) return kMalformed;
  NodeTable::Node node;
  if (const int error = call.session.nodes().get(call.head.node, node); error != 0) return error;
  if (node.type != S_IFREG) return EINVAL;
  UniqueFd fd;
  if (const int error = open_node(node, O_RDONLY, fd); error != 0) return error;
  DigestReply reply;
  FileStat& stat = call.session.stat();
  if (const int error = stat.stat(*fd, "", reply.attr); error != 0) return error;
  Sha256Digest digest;
  const int error = call.session.digests().digest(
      *fd, reply.attr, [&](Attr& attr) { return stat.stat(*fd, "", attr); }, digest);
  if (error != 0) return error;
  std::copy(digest.begin(), digest.end(), reply.sha256);
  call.reply.append(reply);
  return 0;
}

}  // namespace ssi::fs
