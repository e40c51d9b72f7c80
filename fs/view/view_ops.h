// What answers the kernel's requests, one function each: ask home, answer the kernel. Errors are
// home's errnos. The functions stand by subject in ops_*.cc, as home's do in fs/store; view_ops.cc
// has the table.
#pragma once

#include <cerrno>
#include <optional>
#include <string>
#include <string_view>

#include "fs/view/view_fs.h"

namespace ssi {
struct AdoptFile;
struct FileLocks;
struct ExpectOpening;
}  // namespace ssi

namespace ssi::fs {

template <typename T>
ByteSpan bytes_of(const T& value) {
  return {reinterpret_cast<const std::uint8_t*>(&value), sizeof(value)};
}
inline ByteSpan bytes_of(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}
inline NameBody name_body(std::string_view name, std::size_t size = 0) {
  return {static_cast<std::uint32_t>(name.size()), static_cast<std::uint32_t>(size)};
}

inline ViewFs& fs_of(fuse_req_t request) {
  return *static_cast<ViewFs*>(fuse_req_userdata(request));
}
inline ViewHandle* handle_of(const fuse_file_info* info) {
  return reinterpret_cast<ViewHandle*>(static_cast<std::uintptr_t>(info->fh));
}

inline bool too_long(fuse_req_t request, std::string_view name) {
  if (name.size() <= kNameBytesMax) return false;
  fuse_reply_err(request, ENAMETOOLONG);
  return true;
}

struct ViewOps {
  static void init(void*, fuse_conn_info* conn);

  static Remote::Request ask(fuse_req_t request, Op op, ViewNode* node);
  // Answers with the entry that home sent for parent/name. `nameless`: it is found there only now.
  static void reply_entry(fuse_req_t request, const Remote::Reply& reply, const ViewNodePtr& parent,
                          const std::string& name, bool nameless = false);

  // ops_names.cc
  static void lookup(fuse_req_t request, fuse_ino_t parent_id, const char* name);
  static void forget(fuse_req_t request, fuse_ino_t ino, std::uint64_t lookups);
  static void forget_multi(fuse_req_t request, std::size_t count, fuse_forget_data* forgets);
  static void readlink(fuse_req_t request, fuse_ino_t ino);
  // 0 or an errno, and home's answer.
  static int make_at_home(fuse_req_t request, Op op, ViewNode& parent, const char* name,
                          mode_t mode, dev_t rdev, Remote::Reply& reply);
  static void make(fuse_req_t request, Op op, fuse_ino_t parent_id, const char* name, mode_t mode,
                   dev_t rdev);
  static void mknod(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode,
                    dev_t rdev);
  static void mkdir(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode);
  static int remove_at_home(fuse_req_t request, Op op, ViewNode& parent, const char* name);
  static void remove(fuse_req_t request, Op op, fuse_ino_t parent_id, const char* name);
  static void unlink(fuse_req_t request, fuse_ino_t parent, const char* name);
  static void rmdir(fuse_req_t request, fuse_ino_t parent, const char* name);
  static void symlink(fuse_req_t request, const char* target, fuse_ino_t parent_id,
                      const char* name);
  static void rename(fuse_req_t request, fuse_ino_t parent_id, const char* name,
                     fuse_ino_t parent2_id, const char* name2, unsigned int flags);
  static void link(fuse_req_t request, fuse_ino_t ino, fuse_ino_t parent_id, const char* name);

  // ops_sockets.cc
  static SocketRebuilds::Name name_of(const ViewNode& parent, const char* name);
  // The socket that home has sent for parent/name is to be hidden, and is forgotten.
  static bool hides_socket(fuse_req_t request, const ViewNode& parent, const char* name,
                           const Remote::Reply& reply);
  // These have answered, or return false: as usual, then.
  static bool make_rebuilt_socket(fuse_req_t request, fuse_ino_t parent_id, const char* name,
                                  mode_t mode);
  static bool unlink_rebuilt_socket(fuse_req_t request, fuse_ino_t parent_id, const char* name);
  // What is being rebuilt only found the file there, which is home's.
  static bool is_found_socket(fuse_req_t request, const ViewNode& parent, const char* name);

  // ops_told.cc
  // Is it a call by which watchers are told? Those below have answered it, or return false.
  static bool is_told(fuse_req_t request);
  static void reply_ghost(fuse_req_t request, fuse_ino_t parent_id, const char* name, mode_t mode);
  static bool told_lookup(fuse_req_t request, fuse_ino_t parent_id, const char* name);
  static bool told_make(fuse_req_t request, fuse_ino_t parent_id, const char* name, mode_t mode);
  static bool told_done(fuse_req_t request);
  static bool told_setattr(fuse_req_t request, const ViewNodePtr& node);
  static bool told_open(fuse_req_t request, const ViewNodePtr& node, fuse_file_info* info);
  // ops_deleted_sockets.cc
  // Of a thread that has announced what it is to bind.
  static std::optional<SocketRebuilds::Id> announced_rebuild(fuse_req_t request);
  // `fresh`: what it is from now on.
  static void reply_only_here(fuse_req_t request, const ViewNodePtr& parent, const char* name,
                              const FileKey& key, const Attr* fresh);
  // These have answered, or return false.
  static bool lookup_announcement(fuse_req_t request, const ViewNodePtr& parent, const char* name);
  static bool lookup_for_deleted(fuse_req_t request, const ViewNodePtr& parent, const char* name);
  static bool make_deleted_socket(fuse_req_t request, fuse_ino_t parent_id, const char* name,
                                  mode_t mode);
  static bool unlink_deleted_socket(fuse_req_t request, fuse_ino_t parent_id, const char* name);
  static bool move_for_deleted(fuse_req_t request, const ViewNode& from, const char* name,
                               const ViewNode& to, const char* name2);
  static void set_only_here(fuse_req_t request, ViewNode& node, const struct stat& wanted,
                            int valid);

  // ops_attr.cc
  static void reply_attr(fuse_req_t request, const Remote::Reply& reply, ViewNode& node);
  static void getattr(fuse_req_t request, fuse_ino_t ino, fuse_file_info* info);
  static void setattr(fuse_req_t request, fuse_ino_t ino, struct stat* st, int valid,
                      fuse_file_info* info);
  static void statfs(fuse_req_t request, fuse_ino_t ino);
  static void setxattr(fuse_req_t request, fuse_ino_t ino, const char* name, const char* value,
                       std::size_t size, int flags);
  static void reply_xattr(fuse_req_t request, int error, const Remote::Reply& reply,
                          std::size_t size);
  static void getxattr(fuse_req_t request, fuse_ino_t ino, const char* name, std::size_t size);
  static void listxattr(fuse_req_t request, fuse_ino_t ino, std::size_t size);
  static void removexattr(fuse_req_t request, fuse_ino_t ino, const char* name);

  // ops_files.cc
  static int open_at_home(fuse_req_t request, const ViewNodePtr& node, fuse_file_info& info);
  static void answer_open(fuse_req_t request, int error, const fuse_file_info& info);
  static void open(fuse_req_t request, fuse_ino_t ino, fuse_file_info* info);
  static void create(fuse_req_t request, fuse_ino_t parent_id, const char* name, mode_t mode,
                     fuse_file_info* info);
  static void read(fuse_req_t request, fuse_ino_t, std::size_t size, off_t offset,
                   fuse_file_info* info);
  static void write(fuse_req_t request, fuse_ino_t, const char* buffer, std::size_t size,
                    off_t offset, fuse_file_info* info);
  static void flush(fuse_req_t request, fuse_ino_t ino, fuse_file_info* info);
  static void release(fuse_req_t request, fuse_ino_t, fuse_file_info* info);
  static void fsync(fuse_req_t request, fuse_ino_t, int datasync, fuse_file_info* info);
  static void fallocate(fuse_req_t request, fuse_ino_t, int mode, off_t offset, off_t length,
                        fuse_file_info* info);
  static void lseek(fuse_req_t request, fuse_ino_t, off_t offset, int whence, fuse_file_info* info);
  static void copy_file_range(fuse_req_t request, fuse_ino_t, off_t offset_in, fuse_file_info* in,
                              fuse_ino_t, off_t offset_out, fuse_file_info* out, std::size_t size,
                              int flags);

  // ops_dirs.cc
  static void opendir(fuse_req_t request, fuse_ino_t ino, fuse_file_info* info);
  static void read_entries(fuse_req_t request, std::size_t size, off_t offset, fuse_file_info* info,
                           bool plus);
  static void readdir(fuse_req_t request, fuse_ino_t, std::size_t size, off_t offset,
                      fuse_file_info* info);
  static void readdirplus(fuse_req_t request, fuse_ino_t, std::size_t size, off_t offset,
                          fuse_file_info* info);

  // ops_locks.cc
  // To be asked of home: of the open file, or of the process (the node).
  static Remote::Request ask_record(fuse_req_t request, Op op, ViewNode& node,
                                    const fuse_file_info& info);
  static LockBody lock_body(std::uint64_t owner, const struct flock& lock);
  static void getlk(fuse_req_t request, fuse_ino_t ino, fuse_file_info* info, struct flock* lock);
  static void setlk(fuse_req_t request, fuse_ino_t ino, fuse_file_info* info, struct flock* lock,
                    int sleep);
  static void flock(fuse_req_t request, fuse_ino_t ino, fuse_file_info* info, int operation);

  // ops_held.cc
  static bool asks_for_held(fuse_req_t request);
  static std::optional<std::uint64_t> held_of(fuse_req_t request, const ViewNode& parent,
                                              std::string_view name, std::string_view prefix);
  static void lookup_held(fuse_req_t request, const ViewNodePtr& parent, const std::string& name,
                          std::uint64_t id);
  static void release_held(fuse_req_t request, std::uint64_t id);
  static void expect_opening(fuse_req_t request, const ExpectOpening& wanted);
  static void hold_as_attribute(fuse_req_t request, ViewNode& node, std::size_t size);
  static void ioctl(fuse_req_t request, fuse_ino_t ino, unsigned int command, void* argument,
                    fuse_file_info* info, unsigned int flags, const void* in, std::size_t in_bytes,
                    std::size_t out_bytes_max);
  static void hold(fuse_req_t request, ViewNode& node, ViewHandle& handle);
  static void adopt(fuse_req_t request, ViewNode& node, ViewHandle& handle,
                    const AdoptFile& wanted);
  static void tell_locks(fuse_req_t request, ViewNode& node, ViewHandle& handle,
                         const FileLocks& asked);
  static void hold_locks(fuse_req_t request, ViewNode& node, pid_t process);
};

}  // namespace ssi::fs
