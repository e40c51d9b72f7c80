#include "fs/view/twins.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>

namespace ssi::fs {
namespace {

// Opens a file by the very path: no symbolic link on the way, and no blocking on what is no file.
UniqueFd open_exactly(int root, const std::string& path) {
  struct open_how how {};
  how.flags = O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
  how.resolve = RESOLVE_NO_SYMLINKS | RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
  return UniqueFd(static_cast<int>(::syscall(SYS_openat2, root, path.c_str(), &how, sizeof(how))));
}

bool looks_alike(const Attr& a, const Attr& b) {
  return a.size == b.size && a.mtime == b.mtime && a.mode == b.mode && a.uid == b.uid &&
         a.gid == b.gid;
}

}  // namespace

int TwinFile::fd(FileStat& stat) const {
  Attr now;
  if (stat.stat(*fd_, "", now) != 0 || version_of(now) != local_) return -1;
  return *fd_;
}

Twins::Twins(Options options, Remote& remote, const NodeIndex& nodes, DigestCache& digests)
    : options_(std::move(options)),
      remote_(remote),
      nodes_(nodes),
      digests_(digests),
      root_(::open(options_.local_root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)),
      thread_([this] { run(); }) {}

Twins::~Twins() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

bool Twins::may_have_one(const Attr& home) const {
  return S_ISREG(home.mode) && home.uid == 0 && (home.mode & (S_IWGRP | S_IWOTH)) == 0 &&
         home.size >= options_.file_bytes_min && home.size <= options_.file_bytes_max;
}

void Twins::look_for(ViewNodePtr node) {
  {
    std::lock_guard lock(mutex_);
    queue_.push_back(std::move(node));
  }
  wake_.notify_one();
}

void Twins::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    wake_.wait(lock, [&] { return stop_ || !queue_.empty(); });
    if (stop_) break;
    const ViewNodePtr node = std::move(queue_.front());
    queue_.pop_front();
    lock.unlock();
    find(node);
    lock.lock();
  }
  auto rest = std::move(queue_);
  lock.unlock();
  rest.clear();  // may let nodes go, which takes other locks
}

void Twins::find(const ViewNodePtr& node) {
  Attr home;
  {
    std::lock_guard lock(node->mutex);
    home = node->known;
  }
  const std::string path = nodes_.path(*node);
  UniqueFd fd = open_exactly(*root_, path);
  Attr local;
  if (!fd || stat_.stat(*fd, "", local) != 0) return;
  if (!looks_alike(local, home) || !may_have_one(local)) return;
  Sha256Digest local_digest;
  const int error = digests_.digest(
      *fd, local, [&](Attr& again) { return stat_.stat(*fd, "", again); }, local_digest);
  if (error != 0) return;

  DigestReply asked;
  {
    Remote::Reply reply;
    Remote::Request request;
    request.op = Op::kDigest;
    request.node = node.get();
    if (remote_.call(request, {}, reply) != 0) return;
    ByteReader reader = reply.reader();
    asked = reader.get<DigestReply>();
    if (!reader.done()) return;
  }
  if (!std::equal(local_digest.begin(), local_digest.end(), asked.sha256)) {
    ++rejected_;
    return;
  }
  std::lock_guard lock(node->mutex);
  // Only if home's file is still the one whose bytes were read.
  if (version_of(asked.attr) != version_of(node->known)) return;
  node->twin = std::make_shared<TwinFile>(std::move(fd), version_of(local), version_of(asked.attr));
  ++found_;
}

}  // namespace ssi::fs
