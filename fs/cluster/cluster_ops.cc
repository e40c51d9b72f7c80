#include "fs/cluster/cluster_ops.h"

#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cstring>
#include <memory>

#include "fs/cluster/cluster_ino.h"

namespace ssi::fs {
namespace {

constexpr double kFixed_s = 3600;  // what never changes

using Entries = ProcDir::Entries;

ClusterDirs& dirs_of(fuse_req_t request) {
  return *static_cast<ClusterDirs*>(fuse_req_userdata(request));
}

ClusterCaller caller_of(fuse_req_t request) {
  const fuse_ctx* context = fuse_req_ctx(request);
  return {context->uid, context->gid, context->pid};
}

bool is_etc_file(fuse_ino_t ino) { return kind_of(ino) == InoKind::kEtcFile; }
bool is_node(fuse_ino_t ino) { return kind_of(ino) == InoKind::kNode; }
bool is_process(fuse_ino_t ino) { return kind_of(ino) == InoKind::kProcess; }

// The control loop itself, by whatever detour (a link on the loadlevellist): it would wait for its
// own answer.
bool asks_itself(fuse_req_t request) { return fuse_req_ctx(request)->pid == ::getpid(); }

struct stat directory_stat(fuse_ino_t ino) {
  struct stat st {};
  st.st_ino = ino;
  st.st_mode = S_IFDIR | (ino == kEtcIno ? 0755 : 0555);
  st.st_nlink = 2;
  st.st_blksize = 4096;
  return st;
}

void init(void*, fuse_conn_info* conn) {
  // A file is emptied by its open, not before it; and what is here is never written back later.
  conn->want |= conn->capable & FUSE_CAP_ATOMIC_O_TRUNC;
  conn->want &= ~static_cast<unsigned int>(FUSE_CAP_WRITEBACK_CACHE | FUSE_CAP_SPLICE_READ |
                                           FUSE_CAP_READDIRPLUS);
}

void lookup(fuse_req_t request, fuse_ino_t parent, const char* name) {
  ClusterDirs& dirs = dirs_of(request);
  const FuseAnswer answer(request);
  if (asks_itself(request)) return answer.error(EDEADLK);
  if (parent == kEtcIno) return dirs.etc.lookup(answer, name);
  if (parent == kProcIno) return dirs.proc.lookup(answer, name);
  if (parent == kNodesIno) return dirs.nodes.lookup(answer, name);
  if (is_process(parent)) return dirs.proc.lookup_file(answer, parent, name);
  if (is_node(parent)) return answer.error(EHOSTDOWN);
  const fuse_ino_t ino = std::strcmp(name, "etc") == 0    ? kEtcIno
                         : std::strcmp(name, "proc") == 0 ? kProcIno
                         : std::strcmp(name, "node") == 0 ? kNodesIno
                                                          : 0;
  if (parent != kRootIno || ino == 0) return answer.error(ENOENT);
  fuse_entry_param entry{};
  entry.ino = ino;
  entry.attr = directory_stat(ino);
  entry.attr_timeout = entry.entry_timeout = kFixed_s;
  answer.entry(entry);
}

void getattr(fuse_req_t request, fuse_ino_t ino, fuse_file_info* info) {
  const FuseAnswer answer(request);
  if (asks_itself(request)) return answer.error(EDEADLK);
  if (is_etc_file(ino)) return dirs_of(request).etc.getattr(answer, ino, info);
  if (is_process(ino)) return dirs_of(request).proc.getattr(answer, ino);
  answer.attr(directory_stat(ino), kFixed_s);
}

void setattr(fuse_req_t request, fuse_ino_t ino, struct stat* wanted, int to_set,
             fuse_file_info* info) {
  const FuseAnswer answer(request);
  if (is_etc_file(ino)) {
    return dirs_of(request).etc.setattr(answer, ino, *wanted, to_set, info, caller_of(request));
  }
  // `>` empties before it writes, where the kernel knows no open that does.
  const int of_truncate =
      FUSE_SET_ATTR_SIZE | FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_MTIME_NOW | FUSE_SET_ATTR_CTIME;
  if (is_process(ino) && (to_set & ~of_truncate) == 0) {
    return dirs_of(request).proc.getattr(answer, ino);
  }
  answer.error(EPERM);
}

void open(fuse_req_t request, fuse_ino_t ino, fuse_file_info* info) {
  const FuseAnswer answer(request);
  if (is_etc_file(ino)) return dirs_of(request).etc.open(answer, ino, *info, caller_of(request));
  dirs_of(request).proc.open(answer, ino, *info, caller_of(request));
}

void create(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode,
            fuse_file_info* info) {
  const FuseAnswer answer(request);
  if (parent != kEtcIno) return answer.error(EPERM);
  dirs_of(request).etc.create(answer, name, mode, *info, caller_of(request));
}

void read(fuse_req_t request, fuse_ino_t ino, std::size_t size, off_t offset,
          fuse_file_info* info) {
  const FuseAnswer answer(request);
  if (is_etc_file(ino)) return dirs_of(request).etc.read(answer, size, offset, *info);
  dirs_of(request).proc.read(answer, size, offset, *info);
}

void write(fuse_req_t request, fuse_ino_t ino, const char* bytes, std::size_t size, off_t offset,
           fuse_file_info* info) {
  const FuseAnswer answer(request);
  if (is_etc_file(ino)) return dirs_of(request).etc.write(answer, bytes, size, offset, *info);
  dirs_of(request).proc.write(answer, ino, {bytes, size}, caller_of(request));
}

void flush(fuse_req_t request, fuse_ino_t ino, fuse_file_info* info) {
  const FuseAnswer answer(request);
  if (!is_etc_file(ino)) return answer.error(0);
  dirs_of(request).etc.flush(answer, *info);
}

void fsync(fuse_req_t request, fuse_ino_t ino, int, fuse_file_info* info) {
  const FuseAnswer answer(request);
  if (!is_etc_file(ino)) return answer.error(0);
  dirs_of(request).etc.fsync(answer, *info);
}

void release(fuse_req_t request, fuse_ino_t ino, fuse_file_info* info) {
  const FuseAnswer answer(request);
  if (is_etc_file(ino)) return dirs_of(request).etc.release(answer, *info);
  dirs_of(request).proc.release(answer, *info);
}

void unlink(fuse_req_t request, fuse_ino_t parent, const char* name) {
  const FuseAnswer answer(request);
  if (parent != kEtcIno) return answer.error(EPERM);
  dirs_of(request).etc.unlink(answer, name, caller_of(request));
}

void rename(fuse_req_t request, fuse_ino_t parent, const char* name, fuse_ino_t new_parent,
            const char* new_name, unsigned int flags) {
  const FuseAnswer answer(request);
  if (parent != kEtcIno || new_parent != kEtcIno) return answer.error(EPERM);
  dirs_of(request).etc.rename(answer, name, new_name, flags, caller_of(request));
}

// Neither directories nor anything but plain files can be made.
void mkdir(fuse_req_t request, fuse_ino_t, const char*, mode_t) { fuse_reply_err(request, EPERM); }
void rmdir(fuse_req_t request, fuse_ino_t, const char*) { fuse_reply_err(request, EPERM); }
void mknod(fuse_req_t request, fuse_ino_t, const char*, mode_t, dev_t) {
  fuse_reply_err(request, EPERM);
}
void symlink(fuse_req_t request, const char*, fuse_ino_t, const char*) {
  fuse_reply_err(request, EPERM);
}
void link(fuse_req_t request, fuse_ino_t, fuse_ino_t, const char*) {
  fuse_reply_err(request, EPERM);
}

// ---- listings: made when the directory is opened

void opened_directory(const FuseAnswer& answer, fuse_file_info info, Entries entries) {
  auto* kept = new Entries(std::move(entries));
  info.fh = reinterpret_cast<std::uintptr_t>(kept);
  answer.with([&](fuse_req_t request) {
    if (fuse_reply_open(request, &info) == 0) kept = nullptr;
  });
  delete kept;
}

void opendir(fuse_req_t request, fuse_ino_t ino, fuse_file_info* info) {
  ClusterDirs& dirs = dirs_of(request);
  const FuseAnswer answer(request);
  if (ino == kProcIno) {
    answer.let_interrupt();
    return dirs.proc.list([answer, info = *info](int error, Entries entries) {
      if (error != 0) return answer.error(error);
      opened_directory(answer, info, std::move(entries));
    });
  }
  if (is_node(ino)) return answer.error(EHOSTDOWN);
  Entries entries;
  if (ino == kRootIno) entries = {{"etc", kEtcIno}, {"node", kNodesIno}, {"proc", kProcIno}};
  if (ino == kNodesIno) entries = dirs.nodes.list();
  if (is_process(ino)) entries = ProcDir::files_of(ino);
  if (ino == kEtcIno) {
    const auto names = dirs.etc.list();
    entries.assign(names.begin(), names.end());
  }
  opened_directory(answer, *info, std::move(entries));
}

void readdir(fuse_req_t request, fuse_ino_t ino, std::size_t size, off_t offset,
             fuse_file_info* info) {
  const FuseAnswer answer(request);
  const auto& entries = *reinterpret_cast<Entries*>(static_cast<std::uintptr_t>(info->fh));
  std::string buffer(size, '\0');
  std::size_t used = 0;
  const auto count = static_cast<off_t>(entries.size()) + 2;
  for (off_t at = offset; at >= 0 && at < count; ++at) {
    struct stat st {};
    const char* name = at == 0 ? "." : "..";
    st.st_ino = ino;
    st.st_mode = S_IFDIR;
    if (at >= 2) {
      const auto& [entry_name, entry_ino] = entries[static_cast<std::size_t>(at) - 2];
      name = entry_name.c_str();
      st.st_ino = entry_ino;
      const bool is_file =
          is_etc_file(entry_ino) || (is_process(entry_ino) && proc_file_of(entry_ino));
      if (is_file) st.st_mode = S_IFREG;
    }
    const std::size_t needs =
        fuse_add_direntry(request, buffer.data() + used, size - used, name, &st, at + 1);
    if (needs > size - used) break;
    used += needs;
  }
  buffer.resize(used);
  answer.bytes(buffer, 0, size);
}

void releasedir(fuse_req_t request, fuse_ino_t, fuse_file_info* info) {
  delete reinterpret_cast<Entries*>(static_cast<std::uintptr_t>(info->fh));
  FuseAnswer(request).error(0);
}

void statfs(fuse_req_t request, fuse_ino_t) {
  struct statvfs st {};
  st.f_bsize = st.f_frsize = 4096;
  st.f_blocks = etc::kTotalBytesMax / 4096;
  st.f_bfree = st.f_bavail = st.f_blocks;
  st.f_files = etc::kFilesMax;
  st.f_ffree = etc::kFilesMax;
  st.f_namemax = etc::kNameBytesMax;
  fuse_reply_statfs(request, &st);
}

fuse_lowlevel_ops make_ops() {
  fuse_lowlevel_ops ops{};
  ops.init = init;
  ops.lookup = lookup;
  ops.getattr = getattr;
  ops.setattr = setattr;
  ops.open = open;
  ops.create = create;
  ops.read = read;
  ops.write = write;
  ops.flush = flush;
  ops.fsync = fsync;
  ops.release = release;
  ops.unlink = unlink;
  ops.rename = rename;
  ops.mkdir = mkdir;
  ops.rmdir = rmdir;
  ops.mknod = mknod;
  ops.symlink = symlink;
  ops.link = link;
  ops.opendir = opendir;
  ops.readdir = readdir;
  ops.releasedir = releasedir;
  ops.statfs = statfs;
  return ops;
}

}  // namespace

const fuse_lowlevel_ops kClusterOps = make_ops();

}  // namespace ssi::fs
