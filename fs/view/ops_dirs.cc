// Listings of directories.
#include <algorithm>
#include <cerrno>

#include "fs/view/view_ops.h"

namespace ssi::fs {

void ViewOps::opendir(fuse_req_t request, fuse_ino_t ino, fuse_file_info* info) {
  // Home hears of it when it is read.
  ViewFs& fs = fs_of(request);
  if (is_told(request)) {
    fs.teller_.note_told(ino);
  } else {
    fs.watch_news_.note_caller(fuse_req_ctx(request)->pid);
  }
  info->fh = reinterpret_cast<std::uintptr_t>(fs.new_handle(fs.nodes_.get(ino), 0, true));
  if (fuse_reply_open(request, info) == -ENOENT) fs.release(handle_of(info));
}

void ViewOps::read_entries(fuse_req_t request, std::size_t size, off_t offset, fuse_file_info* info,
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

void ViewOps::readdir(fuse_req_t request, fuse_ino_t, std::size_t size, off_t offset,
                      fuse_file_info* info) {
  read_entries(request, size, offset, info, false);
}

void ViewOps::readdirplus(fuse_req_t request, fuse_ino_t, std::size_t size, off_t offset,
                          fuse_file_info* info) {
  read_entries(request, size, offset, info, true);
}

}  // namespace ssi::fs
