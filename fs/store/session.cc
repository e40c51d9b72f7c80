#include "fs/store/session.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <string>

#include "fs/store/call.h"
#include "fs/store/own_change.h"

namespace ssi::fs {

Session::Session(Options options, FileStat& stat, DigestCache& digests, HeldFiles& held,
                 UniqueFd root)
    : options_(options),
      stat_(stat),
      digests_(digests),
      held_(held),
      nodes_(stat, std::move(root), options.client, options.fds_max) {}

Session::~Session() = default;

Session::Lane& Session::lane(std::uint32_t number) {
  std::lock_guard lock(mutex_);
  auto& lane = lanes_[number];
  if (!lane) lane = std::make_unique<Lane>();
  return *lane;
}

bool Session::execute(std::uint32_t lane_number, ByteSpan request, FrameBuffer& reply) {
  ByteReader reader(request);
  const auto head = reader.get<RequestHead>();
  const Handler handler = reader.ok() ? handler_of(head.op) : nullptr;
  if (handler == nullptr) return false;

  // A client that lost its connection asks again on a new one while this op may still be under way.
  Lane& at = lane(lane_number);
  std::lock_guard lock(at.mutex);
  if (head.seq == at.last_seq && at.has_reply) {
    reply.clear();
    reply.append(at.last_reply.data(), at.last_reply.size());
    return true;
  }
  if (head.seq < at.last_seq) return false;

  reply.clear();
  reply.resize(sizeof(ReplyHead));
  Call call{*this, head, reader, reply};
  int error = 0;
  {
    // What the client does itself is no news to it.
    const std::optional<Watches::Doing> doing = doing_of(*this, head, reader);
    error = handler(call);
  }
  if (error == kMalformed) return false;
  if (error != 0) reply.resize(sizeof(ReplyHead));
  const ReplyHead reply_head{head.seq, error, 0};
  std::memcpy(reply.data(), &reply_head, sizeof(reply_head));
  at.last_seq = head.seq;
  at.has_reply = !may_be_repeated(head.op);
  at.last_reply.clear();
  if (at.has_reply) at.last_reply.append(reply.data(), reply.size());
  return true;
}

int Session::describe(std::uint64_t id, int dir, const std::string& name, Attr& attr) {
  return nodes_.is_hidden_name(id, name) ? stat_.describe_hidden(dir, name.c_str(), attr)
                                         : stat_.describe(dir, name.c_str(), attr);
}

std::uint64_t Session::add_handle(std::shared_ptr<OpenFile> file,
                                  const NodeTable::SharedFd& node_fd) {
  nodes_.pin(file->node, node_fd);
  std::lock_guard lock(mutex_);
  const std::uint64_t id = next_handle_++;
  handles_.emplace(id, std::move(file));
  return id;
}

std::uint64_t Session::add_handle(std::uint64_t node, NodeTable::SharedFd fd, std::uint32_t flags,
                                  const NodeTable::SharedFd& node_fd) {
  auto file = std::make_shared<OpenFile>();
  file->node = node;
  file->fd = std::move(fd);
  file->flags = flags;
  return add_handle(std::move(file), node_fd);
}

std::shared_ptr<OpenFile> Session::handle(std::uint64_t id) {
  std::lock_guard lock(mutex_);
  const auto it = handles_.find(id);
  return it == handles_.end() ? nullptr : it->second;
}

std::shared_ptr<OpenFile> Session::take_handle(std::uint64_t id) {
  std::shared_ptr<OpenFile> file;
  {
    std::lock_guard lock(mutex_);
    const auto it = handles_.find(id);
    if (it == handles_.end()) return nullptr;
    file = std::move(it->second);
    handles_.erase(it);
  }
  nodes_.unpin(file->node);
  return file;
}

bool Session::replace_handle(std::uint64_t id, std::shared_ptr<OpenFile> file) {
  std::lock_guard lock(mutex_);
  const auto it = handles_.find(id);
  if (it == handles_.end()) return false;
  it->second.swap(file);  // the old one is closed when nobody uses it any more
  return true;
}

NodeTable::SharedFd Session::lock_file(std::uint64_t node, std::uint64_t owner, bool make) {
  {
    std::lock_guard lock(mutex_);
    const auto it = lock_files_.find({node, owner});
    if (it != lock_files_.end()) return it->second.fd;
  }
  NodeTable::Node found;
  if (!make) {
    errno = ENOENT;
    return nullptr;
  }
  if (const int error = nodes_.get(node, found); error != 0) {
    errno = error;
    return nullptr;
  }
  if (found.type != S_IFREG) {
    errno = EBADF;
    return nullptr;
  }
  const std::string path = "/proc/self/fd/" + std::to_string(**found.fd);
  UniqueFd fd(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  if (!fd) fd = UniqueFd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return nullptr;
  // A FUSE file system (a guest's lock on another node's file) does not hear from close() that such
  // a lock ends.
  const auto unlock_and_close = [](const UniqueFd* file) {
    struct flock all {};
    all.l_type = F_UNLCK;
    (void)::fcntl(**file, F_OFD_SETLK, &all);
    delete file;
  };
  NodeTable::SharedFd file(new UniqueFd(std::move(fd)), unlock_and_close);
  std::lock_guard lock(mutex_);
  return lock_files_.try_emplace({node, owner}, LockFile{std::move(file), nullptr})
      .first->second.fd;
}

HeldFiles::SharedLocks Session::lock_deputy(std::uint64_t node, std::uint64_t owner) {
  std::lock_guard lock(mutex_);
  const auto it = lock_files_.find({node, owner});
  return it == lock_files_.end() ? nullptr : it->second.deputy;
}

void Session::set_lock_file(std::uint64_t node, std::uint64_t owner, NodeTable::SharedFd fd,
                            HeldFiles::SharedLocks deputy) {
  LockFile file{std::move(fd), std::move(deputy)};  // the old one is closed after the lock
  std::lock_guard lock(mutex_);
  std::swap(lock_files_[{node, owner}], file);
}

void Session::drop_lock_file(std::uint64_t node, std::uint64_t owner) {
  LockFile file;  // let go after the lock
  std::lock_guard lock(mutex_);
  const auto it = lock_files_.find({node, owner});
  if (it == lock_files_.end()) return;
  file = std::move(it->second);
  lock_files_.erase(it);
}

void Session::end() {
  decltype(handles_) handles;  // let go after the lock
  decltype(lock_files_) lock_files;
  std::lock_guard lock(mutex_);
  ended_ = true;
  handles.swap(handles_);
  lock_files.swap(lock_files_);
}

bool Session::ended() const {
  std::lock_guard lock(mutex_);
  return ended_;
}

}  // namespace ssi::fs
