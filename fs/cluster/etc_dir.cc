#include "fs/cluster/etc_dir.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>

#include "fs/cluster/cluster_ino.h"

namespace ssi::fs {
namespace {

std::int64_t now_ns() {
  timespec t{};
  ::clock_gettime(CLOCK_REALTIME, &t);
  return static_cast<std::int64_t>(t.tv_sec) * 1'000'000'000 + t.tv_nsec;
}

etc::Change change_of(etc::Kind kind, const std::string& name) {
  etc::Change change;
  change.kind = kind;
  change.name = name;
  change.mtime_ns = now_ns();
  return change;
}

// A file was to be replaced that somebody else has changed.
int stale(int error) { return error == EAGAIN ? ESTALE : error; }

}  // namespace

// ---- names

std::uint64_t EtcDir::ino_of(const std::string& name) {
  const std::lock_guard lock(names_mutex_);
  const auto [at, is_new] = ino_of_.try_emplace(name, etc_ino(last_number_ + 1));
  if (is_new) {
    ++last_number_;
    name_of_[at->second] = name;
  }
  return at->second;
}

std::optional<std::string> EtcDir::name_of(std::uint64_t ino) {
  const std::lock_guard lock(names_mutex_);
  const auto at = name_of_.find(ino);
  if (at == name_of_.end()) return std::nullopt;
  return at->second;
}

struct stat EtcDir::stat_of(std::uint64_t ino, const etc::File& file, std::size_t size) {
  struct stat st {};
  st.st_ino = ino;
  st.st_mode = S_IFREG | file.mode;
  st.st_nlink = 1;
  st.st_size = static_cast<off_t>(size);
  st.st_blksize = 4096;
  st.st_blocks = static_cast<blkcnt_t>((size + 511) / 512);
  st.st_mtim = {file.mtime_ns / 1'000'000'000, file.mtime_ns % 1'000'000'000};
  st.st_atim = st.st_ctim = st.st_mtim;
  return st;
}

fuse_entry_param EtcDir::entry_of(const std::string& name, const etc::File& file) {
  fuse_entry_param entry{};
  entry.ino = ino_of(name);
  entry.attr = stat_of(entry.ino, file, file.contents.size());
  return entry;
}

void EtcDir::lookup(FuseAnswer answer, const std::string& name) {
  const auto files = source_.etc();
  const etc::File* file = files->find(name);
  if (file == nullptr) return answer.error(ENOENT);
  answer.entry(entry_of(name, *file));
}

std::map<std::string, std::uint64_t> EtcDir::list() {
  std::map<std::string, std::uint64_t> all;
  const auto files = source_.etc();
  for (const auto& [name, file] : files->all()) all.emplace(name, ino_of(name));
  return all;
}

// ---- attributes

void EtcDir::getattr(FuseAnswer answer, std::uint64_t ino, const fuse_file_info* info) {
  const auto name = name_of(ino);
  const auto files = source_.etc();
  const etc::File* file = name ? files->find(*name) : nullptr;
  const etc::File gone{"", 0644, now_ns(), 0};
  if (info == nullptr && file == nullptr) return answer.error(ENOENT);
  std::size_t size = file != nullptr ? file->contents.size() : 0;
  if (info != nullptr) {
    const OpenPtr& open = open_of(*info);
    const std::lock_guard lock(open->mutex);
    size = open->append ? size + open->contents.size() : open->contents.size();
  }
  answer.attr(stat_of(ino, file != nullptr ? *file : gone, size), 0);
}

void EtcDir::setattr(FuseAnswer answer, std::uint64_t ino, const struct stat& wanted, int to_set,
                     const fuse_file_info* info, const ClusterCaller& caller) {
  if (caller.uid != 0) return answer.error(EACCES);
  const bool others = ((to_set & FUSE_SET_ATTR_UID) != 0 && wanted.st_uid != 0) ||
                      ((to_set & FUSE_SET_ATTR_GID) != 0 && wanted.st_gid != 0);
  if (others) return answer.error(EPERM);
  if ((to_set & FUSE_SET_ATTR_SIZE) != 0 &&
      (wanted.st_size < 0 || static_cast<std::size_t>(wanted.st_size) > etc::kFileBytesMax)) {
    return answer.error(EFBIG);
  }
  const auto size = static_cast<std::size_t>(wanted.st_size);
  if ((to_set & FUSE_SET_ATTR_SIZE) != 0 && info != nullptr) {
    const OpenPtr& open = open_of(*info);
    const std::lock_guard lock(open->mutex);
    if (open->append) return answer.error(EINVAL);
    open->contents.resize(size);
    open->dirty = true;
    to_set &= ~FUSE_SET_ATTR_SIZE;
  }
  const int changing =
      FUSE_SET_ATTR_SIZE | FUSE_SET_ATTR_MODE | FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_MTIME_NOW;
  if ((to_set & changing) == 0) return getattr(answer, ino, info);

  const auto name = name_of(ino);
  const auto files = source_.etc();
  const etc::File* file = name ? files->find(*name) : nullptr;
  if (file == nullptr) return answer.error(ENOENT);
  etc::Change change = change_of(etc::Kind::kAttributes, *name);
  change.mode = file->mode;
  etc::File after = *file;
  if ((to_set & FUSE_SET_ATTR_SIZE) != 0) {
    after.contents.resize(size);
    change.kind = etc::Kind::kPut;
    change.contents = after.contents;
    change.expects = file->version;
  }
  if ((to_set & FUSE_SET_ATTR_MODE) != 0) change.mode = wanted.st_mode & 07777;
  if ((to_set & FUSE_SET_ATTR_MTIME) != 0 && (to_set & FUSE_SET_ATTR_MTIME_NOW) == 0) {
    change.mtime_ns =
        static_cast<std::int64_t>(wanted.st_mtim.tv_sec) * 1'000'000'000 + wanted.st_mtim.tv_nsec;
  }
  after.mode = change.mode;
  after.mtime_ns = change.mtime_ns;
  answer.let_interrupt();
  source_.change_etc(std::move(change), [answer, ino, after](int error) {
    if (error != 0) return answer.error(stale(error));
    answer.attr(stat_of(ino, after, after.contents.size()), 0);
  });
}

// ---- open files

const EtcDir::OpenPtr& EtcDir::open_of(const fuse_file_info& info) {
  return *reinterpret_cast<OpenPtr*>(static_cast<std::uintptr_t>(info.fh));
}

void EtcDir::opened(const FuseAnswer& answer, const OpenPtr& open, const fuse_file_info& info,
                    const fuse_entry_param* created) {
  fuse_file_info reply = info;
  auto* handle = new OpenPtr(open);
  reply.fh = reinterpret_cast<std::uintptr_t>(handle);
  reply.direct_io = 1;  // others change it: nothing is kept in the kernel
  answer.with([&](fuse_req_t request) {
    // Nobody opened it, if the kernel has forgotten the request.
    const int sent = created != nullptr ? fuse_reply_create(request, created, &reply)
                                        : fuse_reply_open(request, &reply);
    if (sent == 0) handle = nullptr;
  });
  delete handle;
}

EtcDir::OpenPtr EtcDir::make_open(std::uint64_t ino, const etc::File& file, int flags) {
  auto open = std::make_shared<Open>();
  const bool writes = (flags & O_ACCMODE) != O_RDONLY;
  const bool truncates = writes && (flags & O_TRUNC) != 0;
  open->ino = ino;
  open->at_end = (flags & O_APPEND) != 0;
  open->append = writes && open->at_end && !truncates;
  open->whole = open->truncated = truncates;
  open->version = file.version;
  if (!truncates && !open->append) open->contents = file.contents;
  return open;
}

void EtcDir::create(FuseAnswer answer, const std::string& name, mode_t mode,
                    const fuse_file_info& info, const ClusterCaller& caller) {
  if (caller.uid != 0) return answer.error(EACCES);
  if (!etc::is_file_name(name)) return answer.error(EINVAL);
  etc::Change change = change_of(etc::Kind::kPut, name);
  change.mode = mode & 07777;
  change.expects = etc::kNoFile;
  answer.let_interrupt();
  source_.change_etc(std::move(change), [this, answer, name, info](int error) {
    const bool somebody_did = error == EAGAIN && (info.flags & O_EXCL) == 0;
    if (error != 0 && !somebody_did) return answer.error(error == EAGAIN ? EEXIST : error);
    const auto files = source_.etc();
    const etc::File* file = files->find(name);
    if (file == nullptr) return answer.error(ENOENT);  // removed at once
    const fuse_entry_param entry = entry_of(name, *file);
    const OpenPtr open = make_open(entry.ino, *file, info.flags);
    if (!somebody_did) {
      open->whole = true;
      open->truncated = false;  // it is empty already
    }
    opened(answer, open, info, &entry);
  });
}

void EtcDir::open(FuseAnswer answer, std::uint64_t ino, const fuse_file_info& info,
                  const ClusterCaller& caller) {
  const auto name = name_of(ino);
  const auto files = source_.etc();
  const etc::File* file = name ? files->find(*name) : nullptr;
  if (file == nullptr) return answer.error(ENOENT);
  const bool writes = (info.flags & O_ACCMODE) != O_RDONLY;
  if ((writes || (info.flags & O_TRUNC) != 0) && caller.uid != 0) return answer.error(EACCES);
  if (writes && !source_.etc_writable()) return answer.error(EROFS);
  opened(answer, make_open(ino, *file, info.flags), info, nullptr);
}

void EtcDir::read(FuseAnswer answer, std::size_t size, off_t offset, const fuse_file_info& info) {
  const OpenPtr& open = open_of(info);
  const std::lock_guard lock(open->mutex);
  if (!open->append) {
    return answer.bytes(open->contents, static_cast<std::size_t>(offset), size);
  }
  const auto name = name_of(open->ino);
  const auto files = source_.etc();
  const etc::File* file = name ? files->find(*name) : nullptr;
  answer.bytes((file != nullptr ? file->contents : "") + open->contents,
               static_cast<std::size_t>(offset), size);
}

void EtcDir::write(FuseAnswer answer, const char* bytes, std::size_t size, off_t offset,
                   const fuse_file_info& info) {
  const OpenPtr& open = open_of(info);
  const std::lock_guard lock(open->mutex);
  const std::size_t at = open->at_end ? open->contents.size() : static_cast<std::size_t>(offset);
  if (offset < 0 || at > etc::kFileBytesMax || size > etc::kFileBytesMax - at) {
    return answer.error(EFBIG);
  }
  if (open->contents.size() < at + size) open->contents.resize(at + size);
  open->contents.replace(at, size, bytes, size);
  open->dirty = true;
  answer.written(size);
}

void EtcDir::flush(FuseAnswer answer, const fuse_file_info& info) {
  const OpenPtr open = open_of(info);
  {
    const std::lock_guard lock(open->mutex);
    if (!open->dirty) return answer.error(0);
  }
  store(answer, open);
}

void EtcDir::fsync(FuseAnswer answer, const fuse_file_info& info) {
  const OpenPtr open = open_of(info);
  {
    const std::lock_guard lock(open->mutex);
    if (!open->dirty && !open->truncated) return answer.error(0);
  }
  store(answer, open);
}

// What is dirty still was refused at the close, and is dropped.
void EtcDir::release(FuseAnswer answer, const fuse_file_info& info) {
  const std::unique_ptr<OpenPtr> handle(
      reinterpret_cast<OpenPtr*>(static_cast<std::uintptr_t>(info.fh)));
  const OpenPtr open = *handle;
  {
    const std::lock_guard lock(open->mutex);
    if (open->dirty || !open->truncated) return answer.error(0);
  }
  store(answer, open);
}

void EtcDir::store(FuseAnswer answer, const OpenPtr& open) {
  const auto name = name_of(open->ino);
  if (!name) return answer.error(0);  // it has been removed: nobody will see it
  const auto files = source_.etc();
  const etc::File* file = files->find(*name);
  etc::Change change;
  {
    const std::lock_guard lock(open->mutex);
    change = change_of(open->append ? etc::Kind::kAppend : etc::Kind::kPut, *name);
    change.contents = open->contents;
    change.mode = file != nullptr ? file->mode : 0644;
    if (!open->append && !open->whole) change.expects = open->version;
    open->dirty = open->truncated = false;  // what is written from now on is for the next time
  }
  answer.let_interrupt();
  const std::string stored = change.contents;
  source_.change_etc(std::move(change), [this, answer, open, stored, name = *name](int error) {
    {
      const auto now = source_.etc();
      const etc::File* is = now->find(name);
      const std::lock_guard lock(open->mutex);
      if (error != 0) {
        open->dirty = true;
      } else if (open->append) {
        open->contents.erase(0, stored.size());
      } else if (is != nullptr && is->contents == stored) {
        open->version = is->version;
      }
    }
    answer.error(stale(error));
  });
}

// ---- names that go and change

void EtcDir::unlink(FuseAnswer answer, const std::string& name, const ClusterCaller& caller) {
  if (caller.uid != 0) return answer.error(EACCES);
  answer.let_interrupt();
  source_.change_etc(change_of(etc::Kind::kRemove, name), [this, answer, name](int error) {
    if (error == 0) {
      const std::lock_guard lock(names_mutex_);
      if (const auto at = ino_of_.find(name); at != ino_of_.end()) {
        name_of_.erase(at->second);
        ino_of_.erase(at);
      }
    }
    answer.error(error);
  });
}

void EtcDir::rename(FuseAnswer answer, const std::string& name, const std::string& to,
                    unsigned int flags, const ClusterCaller& caller) {
  if (caller.uid != 0) return answer.error(EACCES);
  if (!etc::is_file_name(to) || (flags & ~static_cast<unsigned int>(RENAME_NOREPLACE)) != 0) {
    return answer.error(EINVAL);
  }
  etc::Change change = change_of(etc::Kind::kRename, name);
  change.to = to;
  if ((flags & RENAME_NOREPLACE) != 0) change.expects = etc::kNoFile;
  answer.let_interrupt();
  source_.change_etc(std::move(change), [this, answer, name, to](int error) {
    if (error == 0 && name != to) {
      const std::lock_guard lock(names_mutex_);
      if (const auto old = ino_of_.find(to); old != ino_of_.end()) {
        name_of_.erase(old->second);
        ino_of_.erase(old);
      }
      if (const auto at = ino_of_.find(name); at != ino_of_.end()) {
        name_of_[at->second] = to;
        ino_of_[to] = at->second;
        ino_of_.erase(name);
      }
    }
    answer.error(error == EAGAIN ? EEXIST : error);
  });
}

}  // namespace ssi::fs
