// One request inside the store and the handlers that serve it, by family. A handler returns 0, an
// errno, or kMalformed if the frame is not a valid request (then the connection ends).
#pragma once

#include <string>

#include "fs/rpc/rpc.h"
#include "fs/store/session.h"

namespace ssi::fs {

inline constexpr int kMalformed = -1;

struct Call {
  Session& session;
  const RequestHead& head;
  ByteReader body;
  FrameBuffer& reply;  // append to it

  // A name as it may stand in a directory: not empty, not longer than 255, no '/', no NUL, not . or
  // ..
  static bool is_name(std::string_view name);
  // Reads a name of that length; sets `ok` to false if it is none.
  std::string name(std::uint32_t bytes, bool& ok);
};

using Handler = int (*)(Call&);
Handler handler_of(Op op);  // null: unknown
bool is_same_file(int one, int other);
bool may_be_repeated(Op op);  // doing it twice is the same as once, and the reply may be large

// ops_names.cc: directories and what they contain
int on_lookup(Call&);
int on_forget(Call&);
int on_mknod(Call&);
int on_mkdir(Call&);
int on_unlink(Call&);
int on_rmdir(Call&);
int on_symlink(Call&);
int on_rename(Call&);
int on_link(Call&);
int on_readlink(Call&);
int on_opendir(Call&);
int on_readdir(Call&);
// ops_files.cc: open files
int on_open(Call&);
int on_create(Call&);
int on_read(Call&);
int on_write(Call&);
int on_release(Call&);
int on_fsync(Call&);
int on_fallocate(Call&);
int on_lseek(Call&);
int on_copy_range(Call&);
int on_digest(Call&);
// ops_attr.cc: attributes
int on_getattr(Call&);
int on_setattr(Call&);
int on_statfs(Call&);
int on_getxattr(Call&);
int on_listxattr(Call&);
int on_setxattr(Call&);
int on_removexattr(Call&);
// ops_locks.cc
int on_setlk(Call&);
int on_getlk(Call&);
int on_flock(Call&);
int on_unlock_owner(Call&);
int on_goodbye(Call&);
// ops_held.cc: files of processes on their way
int on_hold(Call&);
int on_held(Call&);
int on_unhold(Call&);
int on_adopt(Call&);
int on_hold_locks(Call&);
int on_adopt_locks(Call&);
// ops_leases.cc
int on_open_held(Call&);
int on_lease(Call&);
// ops_watches.cc: what others do to files that a guest watches
int on_watch(Call&);
int on_news(Call&);

}  // namespace ssi::fs
