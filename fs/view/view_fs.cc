#include "fs/view/view_fs.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>

#include "fs/view/cgroup_threads.h"

namespace ssi::fs {
namespace {

constexpr unsigned int kListeningMax = 8;  // threads that wait for a request at the same time
constexpr std::chrono::milliseconds kLockRetry{10};
// What a lock that another open file of this node really holds costs who does not want to wait.
constexpr std::chrono::milliseconds kReleaseWithin{30};
constexpr std::chrono::milliseconds kHousekeeping{500};
// Without its asking, the kernel lets nobody watch a file of which it was told longer ago.
constexpr int kRoundsBelieved = 4;
constexpr std::chrono::seconds kQuietTimeout{2};
constexpr int kQuietRounds = 10;  // of the above; then it waits for the next request

std::int64_t now_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

}  // namespace

ViewFs::ViewFs(View::Options options, DigestCache& digests)
    : options_(std::move(options)),
      nodes_([this](ViewNode& node) {
        remote_.forget(node.store_serial, node.store_id, node.store_lookups);
      }),
      remote_(options_.remote, nodes_),
      twins_(options_.twins, remote_, nodes_, digests),
      leases_(remote_),
      socket_rebuilds_(&cgroup_has_thread),
      teller_({options_.mountpoint,
               [this](std::uint64_t parent, const std::string& name) { expire(parent, name); }},
              nodes_),
      watch_news_(is_for_guests(), remote_, nodes_, teller_) {}

ViewFs::~ViewFs() {
  unmount(true);
  remote_.goodbye();
  remote_.give_up();
  watch_news_.stop();
  leases_.stop();
  {
    std::lock_guard lock(house_mutex_);
    stop_ = true;
  }
  house_wake_.notify_all();
  if (house_.joinable()) house_.join();
  {
    std::unique_lock lock(threads_mutex_);
    threads_done_.wait(lock, [&] { return threads_ == 0; });
  }
  if (session_ != nullptr) fuse_session_destroy(session_);
  for (ViewHandle* handle : handles_) delete handle;  // a kernel cut off doesn't release them
  nodes_.clear();
}

// Once, here, and with a reason if home doesn't answer: later on whoever uses the files just waits.
Result<> ViewFs::ask_for_root() {
  if (const auto probe = options_.remote.dial(); !probe) return probe.error();
  Remote::Reply reply;
  Remote::Request request;
  request.op = Op::kGetattr;
  request.node = nodes_.root().get();
  if (const int error = remote_.call(request, {}, reply); error != 0) {
    return Error::from_errno("ask home for its root", error);
  }
  ByteReader reader = reply.reader();
  const auto attr = reader.get<Attr>();
  if (!reader.done()) return Error("home sent an invalid answer");
  root_dev_ = attr.key.dev;
  nodes_.set_root_key(attr.key);
  return {};
}

// Without asking home, if it need not answer.
Result<> ViewFs::find_device() {
  struct statx st {};
  const int flags = AT_NO_AUTOMOUNT | (options_.home_must_answer ? 0 : AT_STATX_DONT_SYNC);
  if (::statx(AT_FDCWD, options_.mountpoint.c_str(), flags, STATX_TYPE, &st) != 0) {
    return Error::from_errno("look at " + options_.mountpoint);
  }
  device_ = makedev(st.stx_dev_major, st.stx_dev_minor);
  return {};
}

Result<> ViewFs::start() {
  if (options_.home_must_answer) SSI_TRY(ask_for_root());
  const std::string& mountpoint = options_.mountpoint;
  fuse_fd_.reset(::open("/dev/fuse", O_RDWR | O_CLOEXEC));
  if (!fuse_fd_) return Error::from_errno("open /dev/fuse");
  char data[160];
  std::snprintf(data, sizeof(data),
                "fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions",
                *fuse_fd_);
  if (::mount(options_.source.c_str(), mountpoint.c_str(), View::kType, options_.mount_flags,
              data) != 0) {
    return Error::from_errno("mount " + mountpoint);
  }
  char program[] = "ssid-carrier";
  char* argv[] = {program, nullptr};
  fuse_args args = FUSE_ARGS_INIT(1, argv);
  session_ = fuse_session_new(&args, &kViewOps, sizeof(kViewOps), this);
  fuse_opt_free_args(&args);
  const std::string fd_path = "/dev/fd/" + std::to_string(*fuse_fd_);
  if (session_ == nullptr || fuse_session_mount(session_, fd_path.c_str()) != 0) {
    ::umount2(mountpoint.c_str(), MNT_DETACH | MNT_FORCE);
    return Error("start the FUSE session on " + mountpoint);
  }
  (void)fuse_fd_.release();  // the session closes it
  alive_ = true;
  house_ = std::thread([this] { run_housekeeping(); });
  {
    std::lock_guard lock(threads_mutex_);
    start_thread_locked();
  }
  if (auto found = find_device(); !found) {
    unmount(true);
    return found;
  }
  const std::string readahead = "/sys/class/bdi/" + std::to_string(major(device_)) + ":" +
                                std::to_string(minor(device_)) + "/read_ahead_kb";
  if (std::FILE* file = std::fopen(readahead.c_str(), "we"); file != nullptr) {
    std::fprintf(file, "%u\n", options_.readahead_kb);
    std::fclose(file);
  }
  return {};
}

bool ViewFs::unmount(bool force) {
  if (!alive_) return true;
  if (force) {
    remote_.goodbye();
    remote_.give_up();
    ::umount2(options_.mountpoint.c_str(), MNT_FORCE);
    ::umount2(options_.mountpoint.c_str(), MNT_DETACH);
    // Other mount namespaces may hold it still: closing the kernel's side ends it for them too.
    fuse_session_exit(session_);
    const std::string abort =
        "/sys/fs/fuse/connections/" + std::to_string(minor(device_)) + "/abort";
    if (const UniqueFd fd(::open(abort.c_str(), O_WRONLY | O_CLOEXEC)); fd) {
      (void)!::write(*fd, "1", 1);
    }
    return true;
  }
  return ::umount2(options_.mountpoint.c_str(), 0) == 0;
}

void ViewFs::start_thread_locked() {
  ++threads_;
  ++listening_;
  std::thread([this] { serve(); }).detach();
}

void ViewFs::serve() {
  fuse_buf buffer{};
  for (;;) {
    const int got = fuse_session_receive_buf(session_, &buffer);
    if (got == -EINTR) continue;
    if (got <= 0) break;  // unmounted
    ++requests_;
    if (house_rests_) {
      std::lock_guard lock(house_mutex_);
      house_wake_.notify_all();
    }
    {
      std::lock_guard lock(threads_mutex_);
      if (--listening_ == 0 && threads_ < options_.threads_max) start_thread_locked();
    }
    fuse_session_process_buf(session_, &buffer);
    std::lock_guard lock(threads_mutex_);
    if (listening_ >= kListeningMax) {
      std::free(buffer.mem);
      if (--threads_ == 0) threads_done_.notify_all();
      return;
    }
    ++listening_;
  }
  std::free(buffer.mem);
  alive_ = false;
  std::lock_guard lock(threads_mutex_);
  --listening_;
  if (--threads_ == 0) threads_done_.notify_all();
}

void ViewFs::run_housekeeping() {
  std::unique_lock lock(house_mutex_);
  std::uint64_t requests = 0;
  int quiet_rounds = 0;
  while (!stop_) {
    const bool quiet = std::exchange(requests, requests_.load()) == requests &&
                       nobody_waits_locked() && !remote_.has_forgets();
    quiet_rounds = quiet ? quiet_rounds + 1 : 0;
    if (quiet_rounds >= kQuietRounds) {
      house_rests_ = true;
      house_wake_.wait(lock, [&] { return stop_ || requests_ != requests; });
      house_rests_ = false;
      quiet_rounds = 0;
    } else if (nobody_waits_locked()) {
      house_wake_.wait_for(lock, kHousekeeping, [&] { return stop_ || !nobody_waits_locked(); });
    } else {
      house_wake_.wait_for(lock, kLockRetry, [&] { return stop_; });
    }
    lock.unlock();
    try_locks();
    try_to_open();
    remote_.send_forgets();
    if (quiet_rounds <= kRoundsBelieved) watch_news_.look(device_);
    lock.lock();
  }
  for (const auto& wait : lock_waits_) {
    fuse_req_interrupt_func(wait->request, nullptr, nullptr);
    fuse_reply_err(wait->request, EIO);
  }
  lock_waits_.clear();
  for (const auto& wait : open_waits_) {
    fuse_req_interrupt_func(wait->request, nullptr, nullptr);
    fuse_reply_err(wait->request, EIO);
  }
  open_waits_.clear();
}

void ViewFs::try_locks() {
  std::list<std::unique_ptr<LockWait>> waits;
  {
    std::lock_guard lock(house_mutex_);
    waits.swap(lock_waits_);
  }
  for (auto it = waits.begin(); it != waits.end();) {
    LockWait& wait = **it;
    int error = EINTR;
    if (!wait.interrupted) error = try_lock(wait.ask, wait.body, *wait.node);
    if (error == EAGAIN) {
      ++it;
      continue;
    }
    fuse_req_interrupt_func(wait.request, nullptr, nullptr);
    fuse_reply_err(wait.request, error);
    it = waits.erase(it);
  }
  std::lock_guard lock(house_mutex_);
  lock_waits_.splice(lock_waits_.begin(), waits);
}

int ViewFs::try_lock(const Remote::Request& ask, const LockBody& body, ViewNode& node) {
  Remote::Reply reply;
  const int error =
      remote_.call(ask, {{reinterpret_cast<const std::uint8_t*>(&body), sizeof(body)}}, reply);
  if (error != 0) return error;
  if (ask.op == Op::kFlock) {
    std::lock_guard lock(ask.handle->mutex);
    ask.handle->flock = body.type == LOCK_UN ? 0 : body.type;
  } else {
    remember_lock(ask, body, node);
  }
  if (body.type != (ask.op == Op::kFlock ? std::uint32_t{LOCK_UN} : std::uint32_t{F_UNLCK})) {
    // Whoever had it before has written something, perhaps: nothing of the file is believed.
    remote_.note_change();
    drop_pages(node, 0);
  }
  return 0;
}

bool ViewFs::holds_lock(const ViewNode& node, const ViewHandle* asker) {
  std::lock_guard lock(handles_mutex_);
  return std::ranges::any_of(handles_, [&](ViewHandle* handle) {
    if (handle == asker || handle->node.get() != &node) return false;
    std::lock_guard handle_lock(handle->mutex);
    return handle->flock != 0 || !handle->file_locks.empty();
  });
}

// The kernel tells us of an open file's end, but close(2) does not wait for us: who asks for a lock
// after it is to find none of that file's.
bool ViewFs::await_releases(const ViewNode& node, const ViewHandle* asker) {
  const auto until = std::chrono::steady_clock::now() + kReleaseWithin;
  if (!holds_lock(node, asker)) return false;
  while (std::chrono::steady_clock::now() < until) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    if (!holds_lock(node, asker)) break;
  }
  return true;
}

void ViewFs::ask_lock(fuse_req_t request, const Remote::Request& ask, const LockBody& body,
                      const ViewNodePtr& node, bool wait) {
  int error = try_lock(ask, body, *node);
  if (error == EAGAIN && !wait && await_releases(*node, ask.handle)) {
    error = try_lock(ask, body, *node);
  }
  if (error != EAGAIN || !wait) {
    fuse_reply_err(request, error);
    return;
  }
  auto waiting = std::make_unique<LockWait>();
  waiting->request = request;
  waiting->ask = ask;
  waiting->body = body;
  waiting->node = node;
  fuse_req_interrupt_func(
      request, [](fuse_req_t, void* data) { static_cast<LockWait*>(data)->interrupted = true; },
      waiting.get());
  {
    std::lock_guard lock(house_mutex_);
    lock_waits_.push_back(std::move(waiting));
  }
  house_wake_.notify_all();
}

void ViewFs::remember_lock(const Remote::Request& ask, const LockBody& body, ViewNode& node) {
  const std::uint64_t end = body.length == 0 ? INT64_MAX : body.start + body.length - 1;
  const RecordLock lock{body.start, end, body.type};
  if (ask.handle != nullptr) {
    std::lock_guard guard(ask.handle->mutex);
    ask.handle->file_locks = with_lock(ask.handle->file_locks, lock);
    return;
  }
  std::lock_guard guard(node.mutex);
  auto& held = node.record_locks[body.owner];
  held.ranges = with_lock(held.ranges, lock);
  if (body.pid != 0) held.process = body.pid;
  if (held.ranges.empty()) node.record_locks.erase(body.owner);
}

Caller ViewFs::caller_of(fuse_req_t request) {
  const fuse_ctx* ctx = fuse_req_ctx(request);
  return {ctx->uid, ctx->gid, static_cast<std::uint32_t>(ctx->umask), ctx->pid};
}

struct stat ViewFs::stat_of(const Attr& attr) const {
  struct stat st {};
  st.st_ino = attr.key.ino;
  // Files of other file systems of home share one device here: keep their numbers apart.
  if (attr.key.dev != root_dev_) st.st_ino ^= ((attr.key.dev * 0x9e3779b97f4a7c15u) >> 49) << 48;
  st.st_mode = attr.mode;
  st.st_nlink = attr.nlink;
  st.st_uid = attr.uid;
  st.st_gid = attr.gid;
  st.st_rdev = attr.rdev;
  st.st_size = static_cast<off_t>(attr.size);
  st.st_blksize = static_cast<blksize_t>(attr.block_bytes);
  st.st_blocks = static_cast<blkcnt_t>(attr.blocks);
  st.st_atim = {attr.atime.s, attr.atime.ns};
  st.st_mtim = {attr.mtime.s, attr.mtime.ns};
  st.st_ctim = {attr.ctime.s, attr.ctime.ns};
  return st;
}

double ViewFs::known(ViewNode& node, Attr& attr) const {
  std::lock_guard lock(node.mutex);
  if (node.known_changes != remote_.changes()) return 0;
  const std::int64_t left_ms = node.known_until_ms - now_ms();
  if (left_ms <= 0) return 0;
  attr = node.known;
  return static_cast<double>(left_ms) / 1000;
}

void ViewFs::learn(ViewNode& node, const Attr& attr, std::uint64_t changes) {
  if (node.is_root) {
    root_dev_ = attr.key.dev;
    nodes_.set_root_key(attr.key);
  }
  std::lock_guard lock(node.mutex);
  if (version_of(node.known) != version_of(attr)) {
    node.twin.reset();
    node.twin_asked = false;
  }
  node.known = attr;
  node.known_until_ms = now_ms() + timeout_ms();
  node.known_changes = changes;
  node.no_xattrs_until_ms = (attr.flags & Attr::kNoXattrs) != 0 ? now_ms() + timeout_ms() : 0;
}

void ViewFs::drop_pages(ViewNode& node, std::uint64_t from) {
  // Rounded down: the kernel drops no page that is only partly in the range.
  constexpr std::uint64_t kPageBytes = 4096;
  fuse_lowlevel_notify_inval_inode(session_, nodes_.kernel_id(node),
                                   static_cast<off_t>(from / kPageBytes * kPageBytes), 0);
}

bool ViewFs::has_no_xattrs(fuse_req_t request, const ViewNodePtr& node) {
  {
    std::lock_guard lock(node->mutex);
    if (node->no_xattrs_until_ms == 0) return false;
    if (now_ms() < node->no_xattrs_until_ms) return true;
  }
  // The kernel asks before every write: one question to home a second is enough.
  Remote::Request asked;
  asked.op = Op::kGetattr;
  asked.node = node.get();
  asked.caller = caller_of(request);
  Remote::Reply reply;
  if (remote_.call(asked, {}, reply) != 0) return false;
  ByteReader reader = reply.reader();
  const auto attr = reader.get<Attr>();
  const bool none = reader.done() && (attr.flags & Attr::kNoXattrs) != 0;
  std::lock_guard lock(node->mutex);
  node->no_xattrs_until_ms = none ? now_ms() + timeout_ms() : 0;
  return none;
}

fuse_entry_param ViewFs::entry_of(const Remote::Reply& reply, const ViewNodePtr& parent,
                                  const std::string& name, std::uint64_t store_id, const Attr& attr,
                                  bool nameless) {
  const ViewNodePtr node = nodes_.found(parent, name, attr.key, true, nameless);
  Remote::bind(*node, reply.serial(), store_id, 1);
  learn(*node, attr, reply.changes());
  fuse_entry_param entry{};
  entry.ino = nodes_.kernel_id(*node);
  entry.attr = stat_of(attr);
  entry.attr_timeout = timeout_s();
  // A socket is not the same for everybody, see socket_rebuilds.h: the kernel is to ask each time.
  const bool played = !socket_rebuilds_.none() &&
                      socket_rebuilds_.is_played({parent->is_root ? FileKey{} : parent->key, name});
  entry.entry_timeout = S_ISSOCK(attr.mode) || played ? 0 : timeout_s();
  return entry;
}

ViewHandle* ViewFs::new_handle(const ViewNodePtr& node, std::uint32_t flags, bool directory) {
  auto* handle = new ViewHandle;
  handle->node = node;
  handle->flags = flags;
  handle->directory = directory;
  std::lock_guard lock(handles_mutex_);
  handles_.insert(handle);
  return handle;
}

void ViewFs::opened(const ViewNodePtr& node, std::uint32_t flags, const Attr& attr,
                    std::uint64_t changes, fuse_file_info& info, bool alone) {
  ViewHandle* const handle = new_handle(node, flags, false);
  info.fh = reinterpret_cast<std::uintptr_t>(handle);
  handle->counted = ViewHandle::Counted::kAtHome;
  bool look = false;
  bool changed = false;
  {
    std::lock_guard lock(node->mutex);
    ++node->open_at_home;
    if (handle->may_write()) ++node->written_at_home;
    changed = version_of(node->known) != version_of(attr);
    if ((flags & O_ACCMODE) == O_RDONLY && !alone && !changed && !node->twin_asked &&
        twins_.may_have_one(attr)) {
      node->twin_asked = look = true;
    }
  }
  learn(*node, attr, changes);
  // Pages the kernel has are kept if it knows the file as it is now.
  info.keep_cache = changed ? 0 : 1;
  // The kernel would keep an append at the end that it knows of, which may not be where it went.
  // (Not for one who could map the file, which such an opening does not allow.)
  const bool appends = (flags & O_APPEND) != 0 && (flags & O_ACCMODE) == O_WRONLY;
  info.direct_io = appends || (attr.flags & Attr::kUnsized) != 0 ? 1 : 0;
  if (changed) fuse_lowlevel_notify_inval_inode(session_, nodes_.kernel_id(*node), -1, 0);
  if (look) twins_.look_for(node);
}

std::shared_ptr<TwinFile> ViewFs::twin_for(ViewHandle& handle) {
  if ((handle.flags & O_ACCMODE) != O_RDONLY) return nullptr;
  std::lock_guard lock(handle.node->mutex);
  return handle.node->twin;
}

void ViewFs::release(ViewHandle* handle) {
  leases_.forget(handle);
  Remote::Request request;
  request.op = Op::kRelease;
  request.handle = handle;
  Remote::Reply reply;
  Remote::Request later;
  {
    std::lock_guard lock(handle->mutex);
    later.op = Op::kRelease;
    later.session = handle->store_serial;
    later.handle_id = handle->store_id;
  }
  if (!keep_open(*handle, later)) {
    if (later.session != 0 && remote_.call(request, {}, reply) == EHOSTDOWN) {
      remote_.tell_later(later, {});
    }
    end_at_node(*handle);
  }
  {
    std::lock_guard lock(handles_mutex_);
    handles_.erase(handle);
  }
  delete handle;
}

bool ViewFs::await_requests() {
  const auto deadline = std::chrono::steady_clock::now() + kQuietTimeout;
  for (;;) {
    std::size_t held_back = 0;  // on purpose: for a lock, or for a lease to be given up
    {
      std::lock_guard lock(house_mutex_);
      held_back = lock_waits_.size() + open_waits_.size();
    }
    const auto waiting = waiting_requests_.count(device_);
    if (!waiting) return false;
    if (*waiting <= held_back) return true;
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(std::chrono::microseconds(100));
  }
}

void ViewFs::refresh() {
  remote_.note_change();
  for (const ViewNodePtr& node : nodes_.all()) {
    fuse_lowlevel_notify_inval_inode(session_, nodes_.kernel_id(*node), -1, 0);
    if (node->is_root) continue;
    const auto [parent, name] = nodes_.place(*node);
    if (parent) {
      expire(nodes_.kernel_id(*parent), name);
    }
  }
}

// Expired, not invalidated: an invalidated name loses what is mounted on it (a realm's /proc).
void ViewFs::expire(std::uint64_t parent, const std::string& name) {
  fuse_lowlevel_notify_expire_entry(session_, parent, name.c_str(), name.size(),
                                    FUSE_LL_EXPIRE_ONLY);
}

bool ViewFs::is_known_at_home(ViewNode& node) const {
  if (node.is_root) return true;
  std::lock_guard lock(node.mutex);
  return node.store_serial != 0;
}

View::Stats ViewFs::stats() const {
  View::Stats stats;
  stats.remote = remote_.stats();
  stats.nodes = nodes_.size();
  {
    std::lock_guard lock(threads_mutex_);
    stats.threads = threads_;
  }
  stats.reads = reads_;
  stats.read_bytes = read_bytes_;
  stats.writes = writes_;
  stats.write_bytes = write_bytes_;
  stats.twin_reads = twin_reads_;
  stats.twin_read_bytes = twin_read_bytes_;
  stats.twins_found = twins_.found();
  stats.twins_rejected = twins_.rejected();
  stats.watched = watch_news_.watched();
  return stats;
}

// View: the outside.
View::View(std::unique_ptr<ViewFs> fs) : fs_(std::move(fs)) {}
View::~View() = default;

Result<std::unique_ptr<View>> View::mount(Options options, DigestCache& digests) {
  auto fs = std::make_unique<ViewFs>(std::move(options), digests);
  SSI_TRY(fs->start());
  return std::unique_ptr<View>(new View(std::move(fs)));
}

const std::string& View::mountpoint() const { return fs_->options().mountpoint; }
std::uint64_t View::device() const { return fs_->device(); }
void View::refresh() { fs_->refresh(); }
void View::rebuild_sockets(const std::string& cgroup, bool on) { fs_->rebuild_sockets(cgroup, on); }
bool View::tell_watchers(pid_t process) { return fs_->tell_watchers(process); }
void View::set_home_up(bool up) { fs_->set_home_up(up); }
void View::give_up() { fs_->give_up(); }
bool View::unmount(bool force) { return fs_->unmount(force); }
bool View::is_alive() const { return fs_->is_alive(); }
View::Stats View::stats() const { return fs_->stats(); }

}  // namespace ssi::fs
