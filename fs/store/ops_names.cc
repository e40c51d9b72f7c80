#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "fs/store/act_as.h"
#include "fs/store/call.h"

namespace ssi::fs {
namespace {

// The directory that a name is made in, removed from or looked up in.
int directory(Call& call, std::uint64_t id, NodeTable::Node& node) {
  if (const int error = call.session.nodes().get(id, node); error != 0) return error;
  return node.type == S_IFDIR ? 0 : ENOTDIR;
}
int directory_to_change(Call& call, std::uint64_t id, NodeTable::Node& node) {
  if (const int error = directory(call, id, node); error != 0) return error;
  return node.hidden ? EACCES : 0;
}

// Answers with the entry that stands at that name now.
int reply_entry(Call& call, int dir, std::uint64_t dir_id, const std::string& name) {
  EntryReply entry;
  if (const int error = call.session.describe(dir_id, dir, name, entry.attr); error != 0)
    return error;
  entry.node = call.session.nodes().found(dir_id, name, entry.attr);
  call.reply.append(entry);
  return 0;
}

bool again(const Call& call) { return (call.head.flags & RequestHead::kAgain) != 0; }

}  // namespace

int on_lookup(Call& call) {
  const auto body = call.body.get<NameBody>();
  bool ok = true;
  const std::string name = call.name(body.name_bytes, ok);
  if (!ok || !call.body.done()) return kMalformed;
  NodeTable::Node dir;
  if (const int error = directory(call, call.head.node, dir); error != 0) return error;
  if (dir.hidden) return ENOENT;
  return reply_entry(call, **dir.fd, call.head.node, name);
}

int on_forget(Call& call) {
  while (call.body.left() > 0) {
    const auto body = call.body.get<ForgetBody>();
    if (!call.body.ok()) return kMalformed;
    call.session.nodes().forget(body.node, body.lookups);
  }
  return 0;
}

int on_mknod(Call& call) {
  const auto body = call.body.get<MakeBody>();
  bool ok = true;
  const std::string name = call.name(body.name_bytes, ok);
  if (!ok || !call.body.done()) return kMalformed;
  NodeTable::Node dir;
  if (const int error = directory_to_change(call, call.head.node, dir); error != 0) return error;
  {
    const ActAs guest(call.head.uid, call.head.gid, call.head.umask);
    if (::mknodat(**dir.fd, name.c_str(), body.mode, body.rdev) != 0 &&
        !(errno == EEXIST && again(call))) {
      return errno;
    }
  }
  return reply_entry(call, **dir.fd, call.head.node, name);
}

int on_mkdir(Call& call) {
  const auto body = call.body.get<MakeBody>();
  bool ok = true;
  const std::string name = call.name(body.name_bytes, ok);
  if (!ok || !call.body.done()) return kMalformed;
  NodeTable::Node dir;
  if (const int error = directory_to_change(call, call.head.node, dir); error != 0) return error;
  {
    const ActAs guest(call.head.uid, call.head.gid, call.head.umask);
    if (::mkdirat(**dir.fd, name.c_str(), body.mode) != 0 && !(errno == EEXIST && again(call))) {
      return errno;
    }
  }
  return reply_entry(call, **dir.fd, call.head.node, name);
}

namespace {
int remove_name(Call& call, int flags) {
  const auto body = call.body.get<NameBody>();
  bool ok = true;
  const std::string name = call.name(body.name_bytes, ok);
  if (!ok || !call.body.done()) return kMalformed;
  NodeTable::Node dir;
  if (const int error = directory_to_change(call, call.head.node, dir); error != 0) return error;
  if (::unlinkat(**dir.fd, name.c_str(), flags) != 0 && !(errno == ENOENT && again(call)))
    return errno;
  return 0;
}
}  // namespace

int on_unlink(Call& call) { return remove_name(call, 0); }
int on_rmdir(Call& call) { return remove_name(call, AT_REMOVEDIR); }

int on_symlink(Call& call) {
  const auto body = call.body.get<TwoNamesBody>();
  bool ok = true;
  const std::string name = call.name(body.name_bytes, ok);
  const std::string target(call.body.text(body.name2_bytes));
  if (!ok || !call.body.done() || target.find('\0') != std::string::npos) return kMalformed;
  NodeTable::Node dir;
  if (const int error = directory_to_change(call, call.head.node, dir); error != 0) return error;
  {
    const ActAs guest(call.head.uid, call.head.gid, 0);
    if (::symlinkat(target.c_str(), **dir.fd, name.c_str()) != 0 &&
        !(errno == EEXIST && again(call))) {
      return errno;
    }
  }
  return reply_entry(call, **dir.fd, call.head.node, name);
}

int on_rename(Call& call) {
  const auto body = call.body.get<TwoNamesBody>();
  bool ok = true;
  const std::string name = call.name(body.name_bytes, ok);
  const std::string name2 = call.name(body.name2_bytes, ok);
  if (!ok || !call.body.done()) return kMalformed;
  NodeTable::Node dir, dir2;
  if (const int error = directory_to_change(call, call.head.node, dir); error != 0) return error;
  if (const int error = directory_to_change(call, call.head.node2, dir2); error != 0) return error;
  const unsigned int flags = body.flags & (RENAME_NOREPLACE | RENAME_EXCHANGE);
  if (flags != body.flags) return EINVAL;
  if (::renameat2(**dir.fd, name.c_str(), **dir2.fd, name2.c_str(), flags) != 0) {
    const int error = errno;
    Attr there;
    const bool done = error == ENOENT && again(call) &&
                      call.session.stat().stat(**dir2.fd, name2.c_str(), there) == 0;
    if (!done) return error;
  }
  // Answers with what stands at the new name now, and after an exchange also at the old one.
  Attr attr;
  if (call.session.stat().stat(**dir2.fd, name2.c_str(), attr) != 0) return 0;
  call.session.nodes().moved(attr.key, call.head.node2, name2);
  call.reply.append(attr);
  if ((flags & RENAME_EXCHANGE) == 0) return 0;
  if (call.session.stat().stat(**dir.fd, name.c_str(), attr) != 0) return 0;
  call.session.nodes().moved(attr.key, call.head.node, name);
  call.reply.append(attr);
  return 0;
}

int on_link(Call& call) {
  const auto body = call.body.get<TwoNamesBody>();
  bool ok = true;
  const std::string name = call.name(body.name2_bytes, ok);
  if (!ok || body.name_bytes != 0 || !call.body.done()) return kMalformed;
  NodeTable::Node file, dir;
  if (const int error = call.session.nodes().get(call.head.node, file); error != 0) return error;
  if (const int error = directory_to_change(call, call.head.node2, dir); error != 0) return error;
  const std::string path = "/proc/self/fd/" + std::to_string(**file.fd);
  if (::linkat(AT_FDCWD, path.c_str(), **dir.fd, name.c_str(), AT_SYMLINK_FOLLOW) != 0 &&
      !(errno == EEXIST && again(call))) {
    return errno;
  }
  return reply_entry(call, **dir.fd, call.head.node2, name);
}

int on_readlink(Call& call) {
  if (!call.body.done()) return kMalformed;
  NodeTable::Node link;
  if (const int error = call.session.nodes().get(call.head.node, link); error != 0) return error;
  char target[4096];
  const ssize_t size = ::readlinkat(**link.fd, "", target, sizeof(target));
  if (size < 0) return errno == ENOENT ? EINVAL : errno;
  call.reply.append(target, static_cast<std::size_t>(size));
  return 0;
}

namespace {
int open_directory(Call& call, NodeTable::Node& dir, std::shared_ptr<OpenFile>& file) {
  if (const int error = directory(call, call.head.node, dir); error != 0) return error;
  file = std::make_shared<OpenFile>();
  file->node = call.head.node;
  file->hidden = dir.hidden;
  if (dir.hidden) {  // nothing of it will be read
    file->fd = dir.fd;
    return 0;
  }
  UniqueFd opened(::openat(**dir.fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!opened) return errno;
  file->fd = std::make_shared<const UniqueFd>(std::move(opened));
  return 0;
}
}  // namespace

int on_opendir(Call& call) {
  call.body.get<OpenBody>();
  if (!call.body.done()) return kMalformed;
  NodeTable::Node dir;
  std::shared_ptr<OpenFile> file;
  if (const int error = open_directory(call, dir, file); error != 0) return error;
  OpenReply reply;
  FileStat& stat = call.session.stat();
  if (const int error = dir.hidden ? stat.describe_hidden(**file->fd, "", reply.attr)
                                   : stat.describe(**file->fd, "", reply.attr);
      error != 0) {
    return error;
  }
  reply.handle = call.session.add_handle(std::move(file), dir.fd);
  call.reply.append(reply);
  return 0;
}

namespace {

struct KernelDirent {  // how an entry begins that getdents64 writes; the name follows
  std::uint64_t ino;
  std::int64_t offset;
  std::uint16_t record_bytes;
  std::uint8_t type;
};
constexpr std::size_t kDirentNameAt = 19;

}  // namespace

namespace {

// The entries of a directory whose contents are not shown.
void list_dots(Call& call, const RangeBody& body) {
  constexpr std::string_view kDots[] = {".", ".."};
  for (std::uint64_t at = body.offset; at < std::size(kDots); ++at) {
    DirEntryHead head;
    head.offset = at + 1;
    head.name_bytes = static_cast<std::uint32_t>(kDots[at].size());
    head.attr.key.ino = 1;
    head.attr.mode = S_IFDIR;
    call.reply.append(head);
    call.reply.append(kDots[at]);
  }
}

// Appends the entries from `offset` on that fit. Sets `at_end` if there are no more.
int list_entries(Call& call, OpenFile& file, const RangeBody& body, bool& at_end) {
  if (file.hidden) {
    list_dots(call, body);
    at_end = true;
    return 0;
  }
  const bool with_attributes = body.mode == 1;
  if (::lseek(**file.fd, static_cast<off_t>(body.offset), SEEK_SET) < 0) return errno;
  // An entry without attributes is smaller for the kernel than on the link.
  const std::uint64_t kernel_bytes_max =
      std::min<std::uint64_t>(body.size, with_attributes ? 512u << 10 : 64u << 10);
  std::uint64_t kernel_bytes = 0;
  alignas(8) char buffer[16 << 10];
  for (;;) {
    const long got = ::syscall(SYS_getdents64, **file.fd, buffer, sizeof(buffer));
    if (got < 0) return errno;
    if (got == 0) {
      at_end = true;
      return 0;
    }
    for (long at = 0; at < got;) {
      const auto* entry = reinterpret_cast<const KernelDirent*>(buffer + at);
      const char* const entry_name = buffer + at + kDirentNameAt;
      at += entry->record_bytes;
      const std::string_view name = entry_name;
      const bool dots = name == "." || name == "..";
      kernel_bytes += kernel_entry_bytes(name.size(), with_attributes);
      if (kernel_bytes > kernel_bytes_max) return 0;
      DirEntryHead head;
      head.offset = static_cast<std::uint64_t>(entry->offset);
      head.name_bytes = static_cast<std::uint32_t>(name.size());
      head.attr.key.ino = entry->ino;
      head.attr.mode = static_cast<std::uint32_t>(entry->type) << 12;
      if (with_attributes && !dots) {
        Attr attr;
        if (call.session.describe(file.node, **file.fd, entry_name, attr) == 0) {
          head.attr = attr;
          head.node = call.session.nodes().found(file.node, name, attr);
        }
      }
      call.reply.append(head);
      call.reply.append(name);
    }
  }
}

}  // namespace

int on_readdir(Call& call) {
  const auto body = call.body.get<RangeBody>();
  if (!call.body.done() || body.size > kDataBytesMax) return kMalformed;
  NodeTable::Node dir;
  std::shared_ptr<OpenFile> file;
  if (call.head.handle != 0) {
    file = call.session.handle(call.head.handle);
    if (!file) return EBADF;
  } else {
    // Most directories are listed in one go: no handle is kept for them.
    if (body.offset != 0) return kMalformed;
    if (const int error = open_directory(call, dir, file); error != 0) return error;
  }
  ReaddirReply reply;
  const std::size_t reply_at = call.reply.size();
  call.reply.append(reply);
  bool at_end = false;
  {
    std::lock_guard lock(file->mutex);
    if (const int error = list_entries(call, *file, body, at_end); error != 0) return error;
  }
  reply.at_end = at_end ? 1 : 0;
  if (call.head.handle == 0 && !at_end) reply.handle = call.session.add_handle(file, dir.fd);
  std::memcpy(call.reply.data() + reply_at, &reply, sizeof(reply));
  return 0;
}

}  // namespace ssi::fs
