// The table of a view's operations, and what they share.
#include "fs/view/view_ops.h"

namespace ssi::fs {

void ViewOps::init(void*, fuse_conn_info* conn) {
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

Remote::Request ViewOps::ask(fuse_req_t request, Op op, ViewNode* node) {
  Remote::Request asked;
  asked.op = op;
  asked.node = node;
  asked.caller = ViewFs::caller_of(request);
  return asked;
}

void ViewOps::reply_entry(fuse_req_t request, const Remote::Reply& reply, const ViewNodePtr& parent,
                          const std::string& name, bool nameless) {
  ViewFs& fs = fs_of(request);
  ByteReader reader = reply.reader();
  const auto entry = reader.get<EntryReply>();
  if (!reader.done()) {
    fuse_reply_err(request, EIO);
    return;
  }
  fuse_entry_param param = fs.entry_of(reply, parent, name, entry.node, entry.attr, nameless);
  if (nameless) param.entry_timeout = 0;
  if (fuse_reply_entry(request, &param) == -ENOENT) fs.nodes_.forget(param.ino, 1);
}

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
  ops.ioctl = ViewOps::ioctl;
  ops.ioctl = ViewOps::ioctl;
  ops.fallocate = ViewOps::fallocate;
  ops.lseek = ViewOps::lseek;
  ops.copy_file_range = ViewOps::copy_file_range;
  return ops;
}

}  // namespace

const fuse_lowlevel_ops kViewOps = make_ops();

}  // namespace ssi::fs
