// The kernel's requests, one function each: ask home, answer the kernel. Errors are home's errnos.
// Long because there are so many kinds of them; a table, not an algorithm.
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>

#include "fs/view/view_fs.h"

namespace ssi::fs {
namespace {

template <typename T>
ByteSpan bytes_of(const T& value) {
  return {reinterpret_cast<const std::uint8_t*>(&value), sizeof(value)};
}
ByteSpan bytes_of(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}
NameBody name_body(std::string_view name, std::size_t size = 0) {
  return {static_cast<std::uint32_t>(name.size()), static_cast<std::uint32_t>(size)};
}

ViewFs& fs_of(fuse_req_t request) { return *static_cast<ViewFs*>(fuse_req_userdata(request)); }
ViewHandle* handle_of(const fuse_file_info* info) {
  return reinterpret_cast<ViewHandle*>(static_cast<std::uintptr_t>(info->fh));
}

bool too_long(fuse_req_t request, std::string_view name) {
  if (name.size() <= kNameBytesMax) return false;
  fuse_reply_err(request, ENAMETOOLONG);
  return true;
}

}  // namespace

struct ViewOps {
  static void init(void*, fuse_conn_info* conn) {
    const auto want = [&](unsigned int capability) {
      if ((conn->capable & capability) != 0) conn->want |= capability;
    };
    want(FUSE_CAP_ASYNC_READ);
    want(FUSE_CAP_ATOMIC_O_TRUNC);
    want(FUSE_CAP_AUTO_INVAL_DATA);
    want(FUSE_CAP_READDIRPLUS);
    want(FUSE_CAP_READDIRPLUS_AUTO);
    want(FUSE_CAP_PARALLEL_DIROPS);
    want(FUSE_CAP_ASYNC_DIO);
    want(FUSE_CAP_POSIX_LOCKS);
    want(FUSE_CAP_FLOCK_LOCKS);
    want(FUSE_CAP_POSIX_ACL);
    want(FUSE_CAP_DONT_MASK);  // home applies the umask, unless a directory has default ACLs
    want(FUSE_CAP_CACHE_SYMLINKS);
    conn->want &= ~static_cast<unsigned int>(FUSE_CAP_WRITEBACK_CACHE | FUSE_CAP_SPLICE_READ |
                                             FUSE_CAP_HANDLE_KILLPRIV);
    conn->max_write = kDataBytesMax;
    conn->max_readahead = kDataBytesMax;
    conn->max_background = 64;
    conn->congestion_threshold = 48;
  }

  static Remote::Request ask(fuse_req_t request, Op op, ViewNode* node) {
    Remote::Request asked;
    asked.op = op;
    asked.node = node;
    asked.caller = ViewFs::caller_of(request);
    return asked;
  }

  // Answers with the entry that home sent for parent/name.
  static void reply_entry(fuse_req_t request, const Remote::Reply& reply, const ViewNodePtr& parent,
                          const std::string& name) {
    ViewFs& fs = fs_of(request);
    ByteReader reader = reply.reader();
    const auto entry = reader.get<EntryReply>();
    if (!reader.done()) {
      fuse_reply_err(request, EIO);
      return;
    }
    const fuse_entry_param param = fs.entry_of(reply, parent, name, entry.node, entry.attr);
    if (fuse_reply_entry(request, &param) == -ENOENT) fs.nodes_.forget(param.ino, 1);
  }

  static void lookup(fuse_req_t request, fuse_ino_t parent_id, const char* name) {
    ViewFs& fs = fs_of(request);
    if (too_long(request, name)) return;
    const ViewNodePtr parent = fs.nodes_.get(parent_id);
    Remote::Reply reply;
    const NameBody body = name_body(name);
    const int error = fs.remote_.call(ask(request, Op::kLookup, parent.get()),
                                      {bytes_of(body), bytes_of(std::string_view(name))}, reply);
    if (error != 0) {
      fuse_reply_err(request, error);
      return;
    }
    reply_entry(request, reply, parent, name);
  }

  static void forget(fuse_req_t request, fuse_ino_t ino, std::uint64_t lookups) {
    fs_of(request).nodes_.forget(ino, lookups);
    fuse_reply_none(request);
  }
  static void forget_multi(fuse_req_t request, std::size_t count, fuse_forget_data* forgets) {
    for (std::size_t i = 0; i < count; ++i) {
      fs_of(request).nodes_.forget(forgets[i].ino, forgets[i].nlookup);
    }
    fuse_reply_none(request);
  }

  static void reply_attr(fuse_req_t request, const Remote::Reply& reply, ViewNode& node) {
    ViewFs& fs = fs_of(request);
    ByteReader reader = reply.reader();
    const auto attr = reader.get<Attr>();
    if (!reader.done()) {
      fuse_reply_err(request, EIO);
      return;
    }
    fs.learn(node, attr);
    const struct stat st = fs.stat_of(attr);
    fuse_reply_attr(request, &st, fs.timeout_s());
  }

  static void getattr(fuse_req_t request, fuse_ino_t ino, fuse_file_info* info) {
    ViewFs& fs = fs_of(request);
    const ViewNodePtr node = fs.nodes_.get(ino);
    Remote::Request asked = ask(request, Op::kGetattr, node.get());
    if (info != nullptr && info->fh != 0) asked.handle = handle_of(info);
    Remote::Reply reply;
    if (const int error = fs.remote_.call(asked, {}, reply); error != 0) {
      fuse_reply_err(request, error);
      return;
    }
    reply_attr(request, reply, *node);
  }

  static void setattr(fuse_req_t request, fuse_ino_t ino, struct stat* st, int valid,
                      fuse_file_info* info) {
    ViewFs& fs = fs_of(request);
    const ViewNodePtr node = fs.nodes_.get(ino);
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

  static void readlink(fuse_req_t request, fuse_ino_t ino) {
    ViewFs& fs = fs_of(request);
    const ViewNodePtr node = fs.nodes_.get(ino);
    Remote::Reply reply;
    if (const int error = fs.remote_.call(ask(request, Op::kReadlink, node.get()), {}, reply);
        error != 0) {
      fuse_reply_err(request, error);
      return;
    }
    const std::string target(reinterpret_cast<const char*>(reply.body().data()),
                             reply.body().size());
    fuse_reply_readlink(request, target.c_str());
  }

  static void make(fuse_req_t request, Op op, fuse_ino_t parent_id, const char* name, mode_t mode,
                   dev_t rdev) {
    ViewFs& fs = fs_of(request);
    if (too_long(request, name)) return;
    const ViewNodePtr parent = fs.nodes_.get(parent_id);
    MakeBody body;
    body.name_bytes = static_cast<std::uint32_t>(std::strlen(name));
    body.mode = mode;
    body.rdev = rdev;
    Remote::Reply reply;
    const int error = fs.remote_.call(ask(request, op, parent.get()),
                                      {bytes_of(body), bytes_of(std::string_view(name))}, reply);
    if (error != 0) {
      fuse_reply_err(request, error);
      return;
    }
    reply_entry(request, reply, parent, name);
  }
  static void mknod(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode,
                    dev_t rdev) {
    make(request, Op::kMknod, parent, name, mode, rdev);
  }
  static void mkdir(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode) {
    make(request, Op::kMkdir, parent, name, mode, 0);
  }

  static void remove(fuse_req_t request, Op op, fuse_ino_t parent_id, const char* name) {
    ViewFs& fs = fs_of(request);
    if (too_long(request, name)) return;
    const ViewNodePtr parent = fs.nodes_.get(parent_id);
    Remote::Reply reply;
    const NameBody body = name_body(name);
    fuse_reply_err(request,
                   fs.remote_.call(ask(request, op, parent.get()),
                                   {bytes_of(body), bytes_of(std::string_view(name))}, reply));
  }
  static void unlink(fuse_req_t request, fuse_ino_t parent, const char* name) {
    remove(request, Op::kUnlink, parent, name);
  }
  static void rmdir(fuse_req_t request, fuse_ino_t parent, const char* name) {
    remove(request, Op::kRmdir, parent, name);
  }

  static void symlink(fuse_req_t request, const char* target, fuse_ino_t parent_id,
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

  static void rename(fuse_req_t request, fuse_ino_t parent_id, const char* name,
                     fuse_ino_t parent2_id, const char* name2, unsigned int flags) {
    ViewFs& fs = fs_of(request);
    if (too_long(request, name) || too_long(request, name2)) return;
    const ViewNodePtr parent = fs.nodes_.get(parent_id);
    const ViewNodePtr parent2 = fs.nodes_.get(parent2_id);
    TwoNamesBody body;
    body.name_bytes = static_cast<std::uint32_t>(std::strlen(name));
    body.name2_bytes = static_cast<std::uint32_t>(std::strlen(name2));
    body.flags = flags;
    Remote::Request asked = ask(request, Op::kRename, parent.get());
    asked.node2 = parent2.get();
    Remote::Reply reply;
    const int error = fs.remote_.call(
        asked,
        {bytes_of(body), bytes_of(std::string_view(name)), bytes_of(std::string_view(name2))},
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

  static void link(fuse_req_t request, fuse_ino_t ino, fuse_ino_t parent_id, const char* name) {
    ViewFs& fs = fs_of(request);
    if (too_long(request, name)) return;
    const ViewNodePtr node = fs.nodes_.get(ino);
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

  static void open(fuse_req_t request, fuse_ino_t ino, fuse_file_info* info) {
    ViewFs& fs = fs_of(request);
    const ViewNodePtr node = fs.nodes_.get(ino);
    const auto flags = static_cast<std::uint32_t>(info->flags);
    const OpenBody body{flags, 0};
    OpenReply opened;
    {
      Remote::Reply reply;
      const int error =
          fs.remote_.call(ask(request, Op::kOpen, node.get()), {bytes_of(body)}, reply);
      ByteReader reader = reply.reader();
      if (error == 0) opened = reader.get<OpenReply>();
      if (error != 0 || !reader.done()) {
        fuse_reply_err(request, error != 0 ? error : EIO);
        return;
      }
      fs.opened(node, flags, opened.attr, *info);
      Remote::bind(*handle_of(info), reply.serial(), opened.handle);
    }
    if (fuse_reply_open(request, info) == -ENOENT) fs.release(handle_of(info));
  }

  static void create(fuse_req_t request, fuse_ino_t parent_id, const char* name, mode_t mode,
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
      fs.opened(fs.nodes_.get(entry.ino), flags, created.attr, *info);
      Remote::bind(*handle_of(info), reply.serial(), created.handle);
    }
    if (fuse_reply_create(request, &entry, info) == -ENOENT) {
      fs.release(handle_of(info));
      fs.nodes_.forget(entry.ino, 1);
    }
  }

  static void read(fuse_req_t request, fuse_ino_t, std::size_t size, off_t offset,
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
    fuse_reply_buf(request, reinterpret_cast<const char*>(data.data()),
                   std::min(data.size(), size));
  }

  static void write(fuse_req_t request, fuse_ino_t, const char* buffer, std::size_t size,
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
    fuse_reply_write(request, written.count);
  }

  static void flush(fuse_req_t request, fuse_ino_t ino, fuse_file_info* info) {
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
    }
    fuse_reply_err(request, error);
  }

  static void release(fuse_req_t request, fuse_ino_t, fuse_file_info* info) {
    ViewFs& fs = fs_of(request);
    fs.release(handle_of(info));
    fuse_reply_err(request, 0);
  }

  static void fsync(fuse_req_t request, fuse_ino_t, int datasync, fuse_file_info* info) {
    RangeBody body;
    body.mode = datasync != 0 ? 1 : 0;
    Remote::Request asked = ask(request, Op::kFsync, nullptr);
    asked.handle = handle_of(info);
    Remote::Reply reply;
    fuse_reply_err(request, fs_of(request).remote_.call(asked, {bytes_of(body)}, reply));
  }

  static void opendir(fuse_req_t request, fuse_ino_t ino, fuse_file_info* info) {
    // Home hears of it when it is read.
    ViewFs& fs = fs_of(request);
    info->fh = reinterpret_cast<std::uintptr_t>(fs.new_handle(fs.nodes_.get(ino), 0, true));
    if (fuse_reply_open(request, info) == -ENOENT) fs.release(handle_of(info));
  }

  static void read_entries(fuse_req_t request, std::size_t size, off_t offset, fuse_file_info* info,
                           bool plus) {
    ViewFs& fs = fs_of(request);
    ViewHandle* handle = handle_of(info);
    RangeBody body;
    body.offset = static_cast<std::uint64_t>(offset);
    body.size = std::min<std::size_t>(size, kDataBytesMax);
    body.mode = plus ? 1 : 0;
    Remote::Request asked = ask(request, Op::kReaddir, nullptr);
    {
      std::lock_guard lock(handle->mutex);
      if (handle->end_offset == body.offset) {
        fuse_reply_buf(request, nullptr, 0);
        return;
      }
      if (handle->store_serial == 0 && offset == 0) {
        asked.node = handle->node.get();
      } else {
        asked.handle = handle;
      }
    }
    Remote::Reply reply;
    if (const int error = fs.remote_.call(asked, {bytes_of(body)}, reply); error != 0) {
      fuse_reply_err(request, error);
      return;
    }
    std::unique_ptr<char[]> out(new char[size]);
    std::size_t filled = 0;
    std::vector<fuse_ino_t> counted;
    std::uint64_t last_offset = body.offset;
    ByteReader reader = reply.reader();
    const auto listing = reader.get<ReaddirReply>();
    if (listing.handle != 0) Remote::bind(*handle, reply.serial(), listing.handle);
    while (reader.left() > 0) {
      const auto head = reader.get<DirEntryHead>();
      const std::string name(reader.text(head.name_bytes));
      if (!reader.ok()) break;
      std::size_t need = 0;
      if (plus) {
        fuse_entry_param entry{};
        if (head.node != 0) {
          entry = fs.entry_of(reply, handle->node, name, head.node, head.attr);
          counted.push_back(entry.ino);
        } else {
          entry.attr = fs.stat_of(head.attr);
        }
        need = fuse_add_direntry_plus(request, out.get() + filled, size - filled, name.c_str(),
                                      &entry, static_cast<off_t>(head.offset));
        if (need > size - filled && head.node != 0) {
          fs.nodes_.forget(entry.ino, 1);
          counted.pop_back();
        }
      } else {
        struct stat st {};
        st.st_ino = head.attr.key.ino;
        st.st_mode = head.attr.mode;
        need = fuse_add_direntry(request, out.get() + filled, size - filled, name.c_str(), &st,
                                 static_cast<off_t>(head.offset));
      }
      if (need > size - filled) break;
      filled += need;
      last_offset = head.offset;
    }
    if (listing.at_end == 1 && reader.done()) {
      std::lock_guard lock(handle->mutex);
      handle->end_offset = last_offset;
    }
    if (fuse_reply_buf(request, out.get(), filled) == -ENOENT) {
      for (const fuse_ino_t ino : counted) fs.nodes_.forget(ino, 1);
    }
  }
  static void readdir(fuse_req_t request, fuse_ino_t, std::size_t size, off_t offset,
                      fuse_file_info* info) {
    read_entries(request, size, offset, info, false);
  }
  static void readdirplus(fuse_req_t request, fuse_ino_t, std::size_t size, off_t offset,
                          fuse_file_info* info) {
    read_entries(request, size, offset, info, true);
  }

  static void statfs(fuse_req_t request, fuse_ino_t ino) {
    ViewFs& fs = fs_of(request);
    const ViewNodePtr node = fs.nodes_.get(ino);
    Remote::Reply reply;
    const int error = fs.remote_.call(ask(request, Op::kStatfs, node.get()), {}, reply);
    ByteReader reader = reply.reader();
    StatfsReply told;
    if (error == 0) told = reader.get<StatfsReply>();
    if (error != 0 || !reader.done()) {
      fuse_reply_err(request, error != 0 ? error : EIO);
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

  static void setxattr(fuse_req_t request, fuse_ino_t ino, const char* name, const char* value,
                       std::size_t size, int flags) {
    ViewFs& fs = fs_of(request);
    if (too_long(request, name)) return;
    const ViewNodePtr node = fs.nodes_.get(ino);
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

  static void reply_xattr(fuse_req_t request, int error, const Remote::Reply& reply,
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
  static void getxattr(fuse_req_t request, fuse_ino_t ino, const char* name, std::size_t size) {
    ViewFs& fs = fs_of(request);
    if (too_long(request, name)) return;
    const ViewNodePtr node = fs.nodes_.get(ino);
    size = std::min<std::size_t>(size, 64 << 10);
    if (fs.has_no_xattrs(request, node)) {
      fuse_reply_err(request, ENODATA);
      return;
    }
    const NameBody body = name_body(name, size);
    Remote::Reply reply;
    const int error = fs.remote_.call(ask(request, Op::kGetxattr, node.get()),
                                      {bytes_of(body), bytes_of(std::string_view(name))}, reply);
    reply_xattr(request, error, reply, size);
  }
  static void listxattr(fuse_req_t request, fuse_ino_t ino, std::size_t size) {
    ViewFs& fs = fs_of(request);
    const ViewNodePtr node = fs.nodes_.get(ino);
    size = std::min<std::size_t>(size, 64 << 10);
    if (fs.has_no_xattrs(request, node)) {
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
  static void removexattr(fuse_req_t request, fuse_ino_t ino, const char* name) {
    ViewFs& fs = fs_of(request);
    if (too_long(request, name)) return;
    const ViewNodePtr node = fs.nodes_.get(ino);
    const NameBody body = name_body(name);
    Remote::Reply reply;
    fuse_reply_err(request,
                   fs.remote_.call(ask(request, Op::kRemovexattr, node.get()),
                                   {bytes_of(body), bytes_of(std::string_view(name))}, reply));
  }

  static LockBody lock_body(std::uint64_t owner, const struct flock& lock) {
    LockBody body;
    body.owner = owner;
    body.start = static_cast<std::uint64_t>(lock.l_start);
    body.length = static_cast<std::uint64_t>(lock.l_len);
    body.type = static_cast<std::uint32_t>(lock.l_type);
    body.pid = lock.l_pid;
    return body;
  }
  static void getlk(fuse_req_t request, fuse_ino_t ino, fuse_file_info* info, struct flock* lock) {
    ViewFs& fs = fs_of(request);
    const ViewNodePtr node = fs.nodes_.get(ino);
    const LockBody body = lock_body(info->lock_owner, *lock);
    Remote::Reply reply;
    const int error =
        fs.remote_.call(ask(request, Op::kGetlk, node.get()), {bytes_of(body)}, reply);
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
    lock->l_pid = std::max(held.pid, 0);
    fuse_reply_lock(request, lock);
  }
  static void setlk(fuse_req_t request, fuse_ino_t ino, fuse_file_info* info, struct flock* lock,
                    int sleep) {
    ViewFs& fs = fs_of(request);
    const ViewNodePtr node = fs.nodes_.get(ino);
    fs.ask_lock(request, ask(request, Op::kSetlk, node.get()), lock_body(info->lock_owner, *lock),
                node, sleep != 0);
  }
  static void flock(fuse_req_t request, fuse_ino_t ino, fuse_file_info* info, int operation) {
    ViewFs& fs = fs_of(request);
    LockBody body;
    body.type = static_cast<std::uint32_t>(operation & ~LOCK_NB);
    Remote::Request asked = ask(request, Op::kFlock, nullptr);
    asked.handle = handle_of(info);
    fs.ask_lock(request, asked, body, fs.nodes_.get(ino), (operation & LOCK_NB) == 0);
  }

  static void fallocate(fuse_req_t request, fuse_ino_t, int mode, off_t offset, off_t length,
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

  static void lseek(fuse_req_t request, fuse_ino_t, off_t offset, int whence,
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

  static void copy_file_range(fuse_req_t request, fuse_ino_t, off_t offset_in, fuse_file_info* in,
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
};

namespace {

fuse_lowlevel_ops make_ops() {
  fuse_lowlevel_ops ops{};
  ops.init = ViewOps::init;
  ops.lookup = ViewOps::lookup;
  ops.forget = ViewOps::forget;
  ops.forget_multi = ViewOps::forget_multi;
  ops.getattr = ViewOps::getattr;
  ops.setattr = ViewOps::setattr;
  ops.readlink = ViewOps::readlink;
  ops.mknod = ViewOps::mknod;
  ops.mkdir = ViewOps::mkdir;
  ops.unlink = ViewOps::unlink;
  ops.rmdir = ViewOps::rmdir;
  ops.symlink = ViewOps::symlink;
  ops.rename = ViewOps::rename;
  ops.link = ViewOps::link;
  ops.open = ViewOps::open;
  ops.create = ViewOps::create;
  ops.read = ViewOps::read;
  ops.write = ViewOps::write;
  ops.flush = ViewOps::flush;
  ops.release = ViewOps::release;
  ops.fsync = ViewOps::fsync;
  ops.opendir = ViewOps::opendir;
  ops.readdir = ViewOps::readdir;
  ops.readdirplus = ViewOps::readdirplus;
  ops.releasedir = ViewOps::release;
  ops.fsyncdir = ViewOps::fsync;
  ops.statfs = ViewOps::statfs;
  ops.setxattr = ViewOps::setxattr;
  ops.getxattr = ViewOps::getxattr;
  ops.listxattr = ViewOps::listxattr;
  ops.removexattr = ViewOps::removexattr;
  ops.getlk = ViewOps::getlk;
  ops.setlk = ViewOps::setlk;
  ops.flock = ViewOps::flock;
  ops.fallocate = ViewOps::fallocate;
  ops.lseek = ViewOps::lseek;
  ops.copy_file_range = ViewOps::copy_file_range;
  return ops;
}

}  // namespace

const fuse_lowlevel_ops kViewOps = make_ops();

}  // namespace ssi::fs
