#include "fs/view/remote.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>

namespace ssi::fs {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kTick{200};  // how often somebody who waits is looked after
constexpr int kQuietTicks = 25;     // after so many without a call nobody looks any more

template <typename T>
ByteSpan bytes_of(const T& value) {
  return {reinterpret_cast<const std::uint8_t*>(&value), sizeof(value)};
}
ByteSpan bytes_of(const std::string& text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

LockBody body_of(const RecordLock& range, std::uint64_t owner) {
  LockBody body;
  body.owner = owner;
  body.start = range.start;
  body.length = range.end == INT64_MAX ? 0 : range.end - range.start + 1;
  body.type = range.type;
  return body;
}

bool changes_something(Op op) {
  switch (op) {
    case Op::kSetattr:
    case Op::kMknod:
    case Op::kMkdir:
    case Op::kUnlink:
    case Op::kRmdir:
    case Op::kSymlink:
    case Op::kRename:
    case Op::kLink:
    case Op::kCreate:
    case Op::kWrite:
    case Op::kSetxattr:
    case Op::kRemovexattr:
    case Op::kFallocate:
    case Op::kCopyRange:
      return true;
    default:
      return false;
  }
}

// Is the thread that waits for the file system being killed? The kernel puts SIGKILL into each
// thread of a process that dies by any fatal signal.
bool is_dying(pid_t thread) {
  if (thread <= 0) return false;
  char path[40];
  std::snprintf(path, sizeof(path), "/proc/%d/status", thread);
  std::FILE* file = std::fopen(path, "re");
  if (file == nullptr) return false;
  char line[256];
  bool dying = false;
  while (std::fgets(line, sizeof(line), file) != nullptr) {
    if (std::strncmp(line, "SigPnd:", 7) == 0) {
      dying = (std::strtoull(line + 7, nullptr, 16) & (1u << 8)) != 0;
      break;
    }
  }
  std::fclose(file);
  return dying;
}

}  // namespace

struct Remote::Lane {
  std::uint32_t number = 0;
  std::unique_ptr<Channel> channel;
  std::mutex channel_mutex;  // for give_up(), which breaks it from outside
  std::uint64_t serial = 0;  // of the session the channel belongs to
  std::uint64_t seq = 0;
  bool connected_before = false;
  FrameBuffer reply;
  // While a reply is awaited, for the watcher.
  std::atomic<std::int64_t> waits_since_ms{0};
  std::atomic<std::int64_t> waits_at_most_ms{0};  // 0: as long as it takes
  std::atomic<pid_t> waiter{0};
  std::atomic<bool> killed{false};  // the waiter is
};

namespace {

std::int64_t now_ms() {
  return std::chrono::duration_cast<milliseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

// Tells the watcher that a lane's caller waits for its reply.
template <typename Lane>
class Waiting {
 public:
  Waiting(Lane& lane, const Caller& caller, std::int64_t at_most_ms) : lane_(lane) {
    lane_.waiter = caller.thread;
    lane_.killed = false;
    lane_.waits_at_most_ms = at_most_ms;
    lane_.waits_since_ms = now_ms();
  }
  ~Waiting() { lane_.waits_since_ms = 0; }
  Waiting(const Waiting&) = delete;
  Waiting& operator=(const Waiting&) = delete;

 private:
  Lane& lane_;
};

}  // namespace

Remote::Remote(Options options, NodeIndex& nodes)
    : options_(std::move(options)), nodes_(nodes), watcher_([this] { watch(); }) {}

Remote::~Remote() {
  give_up();
  watcher_.join();
}

void Remote::watch() {
  std::unique_lock lock(mutex_);
  std::uint64_t calls = 0;
  int quiet_ticks = 0;
  while (!given_up()) {
    gave_up_.wait_for(lock, kTick, [&] { return given_up(); });
    const std::int64_t now = now_ms();
    quiet_ticks = std::exchange(calls, calls_.load()) == calls ? quiet_ticks + 1 : 0;
    for (const auto& lane : lanes_) {
      const std::int64_t since = lane->waits_since_ms;
      if (since != 0) quiet_ticks = 0;
      if (since == 0 || now - since < kTick.count()) continue;
      const std::int64_t at_most = lane->waits_at_most_ms;
      const bool dying = is_dying(lane->waiter);
      if (!dying && (at_most == 0 || now - since < at_most)) continue;
      // The wait may have ended just now, and another begun: then one more connection is made.
      if (dying) lane->killed = true;
      std::lock_guard channel_lock(lane->channel_mutex);
      if (lane->channel) lane->channel->abort();
    }
    if (quiet_ticks < kQuietTicks) continue;
    watcher_rests_ = true;
    gave_up_.wait(lock, [&] { return given_up() || calls_ != calls; });
    watcher_rests_ = false;
    quiet_ticks = 0;
  }
}

Remote::Reply::Reply(Reply&& other) noexcept
    : remote_(std::exchange(other.remote_, nullptr)), lane_(std::exchange(other.lane_, nullptr)) {}

Remote::Reply::~Reply() {
  if (lane_ != nullptr) remote_->release(lane_);
}

ByteSpan Remote::Reply::body() const {
  if (lane_ == nullptr || lane_->reply.size() < sizeof(ReplyHead)) return {};
  return lane_->reply.span().subspan(sizeof(ReplyHead));
}

std::uint64_t Remote::Reply::serial() const { return lane_ == nullptr ? 0 : lane_->serial; }

int Remote::wait_turn(milliseconds time, const Caller& caller) {
  while (time > milliseconds::zero()) {
    const auto slice = std::min(time, kTick);
    std::unique_lock lock(mutex_);
    gave_up_.wait_for(lock, slice, [&] { return given_up() || home_down_; });
    lock.unlock();
    if (given_up()) return EIO;
    if (home_down_) return EHOSTDOWN;
    if (is_dying(caller.thread)) return EINTR;
    time -= slice;
  }
  return 0;
}

Remote::Lane* Remote::acquire(const Caller& caller, int& error) {
  std::unique_lock lock(mutex_);
  for (;;) {
    if (given_up()) {
      error = EIO;
      return nullptr;
    }
    if (home_down_) {
      error = EHOSTDOWN;
      return nullptr;
    }
    if (!idle_.empty()) {
      Lane* lane = idle_.back();  // the one used last: its buffers are warm
      idle_.pop_back();
      return lane;
    }
    if (lanes_.size() < options_.lanes_max) {
      lanes_.push_back(std::make_unique<Lane>());
      lanes_.back()->number = static_cast<std::uint32_t>(lanes_.size());
      return lanes_.back().get();
    }
    if (lane_free_.wait_for(lock, kTick) == std::cv_status::timeout) {
      lock.unlock();
      if (is_dying(caller.thread)) {
        error = EINTR;
        return nullptr;
      }
      lock.lock();
    }
  }
}

void Remote::release(Lane* lane) {
  {
    std::lock_guard lock(mutex_);
    idle_.push_back(lane);
  }
  lane_free_.notify_one();
}

bool Remote::connect(Lane& lane, const Caller& caller) {
  auto dialled = options_.dial();
  if (!dialled) return false;
  {
    std::lock_guard lock(lane.channel_mutex);
    lane.channel = std::move(dialled).value();
  }
  LinkHello hello = options_.hello;
  hello.lane = lane.number;
  {
    const Waiting waiting(lane, caller, 5000);
    if (!lane.channel->send({bytes_of(hello)}).ok()) return false;
    if (!lane.channel->recv(lane.reply).ok()) return false;
  }
  ByteReader reader(lane.reply.span());
  const auto welcome = reader.get<LinkWelcome>();
  if (!reader.done() || welcome.magic != LinkHello::kMagic || welcome.error != 0) return false;
  if (lane.connected_before) ++reconnects_;
  lane.connected_before = true;
  lane.serial = welcome.serial;
  {
    std::lock_guard lock(mutex_);
    if (serial_ != welcome.serial) {
      if (serial_ != 0) ++new_sessions_;
      serial_ = welcome.serial;
    }
  }
  return !given_up() && !home_down_;
}

bool Remote::out_of_reach() const {
  if (home_down_) return true;
  const std::int64_t since = unreached_since_ms_;
  if (!options_.patience || since == 0) return false;
  // Somebody tries again now and then; the others need not wait for that.
  const std::int64_t now = now_ms();
  return now - since >= options_.patience->count() &&
         now - dialled_ms_ < options_.retry_max.count();
}

void Remote::note_dial(bool reached) {
  if (reached) {
    unreached_since_ms_ = 0;
    return;
  }
  dialled_ms_ = now_ms();
  std::int64_t never = 0;
  unreached_since_ms_.compare_exchange_strong(never, dialled_ms_);
}

void Remote::set_home_up(bool up) {
  if (up) unreached_since_ms_ = 0;
  if (home_down_.exchange(!up) == !up || up) return;
  std::lock_guard lock(mutex_);
  for (const auto& lane : lanes_) {
    std::lock_guard channel_lock(lane->channel_mutex);
    if (lane->channel) lane->channel->abort();
  }
  lane_free_.notify_all();
  gave_up_.notify_all();
}

// One request and its reply on the lane's connection. `broken`: the connection is gone, ask again.
int Remote::exchange(Lane& lane, RequestHead head, std::initializer_list<ByteSpan> parts,
                     const Caller& caller, bool& broken) {
  broken = true;
  SSI_CHECK(parts.size() <= 4);
  ByteSpan part[4];
  std::copy(parts.begin(), parts.end(), part);
  {
    const Waiting waiting(lane, caller, 0);
    if (!lane.channel->send({bytes_of(head), part[0], part[1], part[2], part[3]}).ok() ||
        !lane.channel->recv(lane.reply).ok()) {
      return lane.killed && is_dying(caller.thread) ? EINTR : EIO;
    }
  }
  ByteReader reader(lane.reply.span());
  const auto reply = reader.get<ReplyHead>();
  if (!reader.ok() || reply.seq != head.seq || reply.error < 0 || reply.error > 4095) return EIO;
  broken = false;
  return reply.error;
}

int Remote::bind_node(Lane& lane, ViewNode& node, const Caller& caller, std::uint64_t& id,
                      bool& broken) {
  broken = false;
  if (node.is_root) {
    id = kRootNode;
    return 0;
  }
  {
    std::lock_guard lock(node.mutex);
    if (node.store_serial == lane.serial) {
      id = node.store_id;
      return 0;
    }
  }
  // This store does not know it: look it up where it was.
  const auto [parent, name] = nodes_.place(node);
  if (!parent) return ESTALE;
  RequestHead head;
  if (const int error = bind_node(lane, *parent, caller, head.node, broken); error != 0 || broken) {
    return error;
  }
  head.seq = ++lane.seq;
  head.op = Op::kLookup;
  const NameBody body{static_cast<std::uint32_t>(name.size()), 0};
  const int error = exchange(lane, head, {bytes_of(body), bytes_of(name)}, caller, broken);
  if (broken) return error;
  if (error != 0) return error == ENOENT ? ESTALE : error;
  ByteReader reader(lane.reply.span().subspan(sizeof(ReplyHead)));
  const auto entry = reader.get<EntryReply>();
  if (!reader.done()) return EIO;
  if (entry.attr.key != node.key) {
    forget(lane.serial, entry.node, 1);
    return ESTALE;
  }
  bind(node, lane.serial, entry.node, 1);
  id = entry.node;
  return restore_locks(lane, node, id, caller, broken);
}

int Remote::restore_locks(Lane& lane, ViewNode& node, std::uint64_t id, const Caller& caller,
                          bool& broken) {
  std::map<std::uint64_t, ProcessLocks> locks;
  {
    std::lock_guard lock(node.mutex);
    locks = node.record_locks;
  }
  for (const auto& [owner, held] : locks) {
    for (const auto& range : held.ranges) {
      RequestHead head;
      head.seq = ++lane.seq;
      head.op = Op::kSetlk;
      head.node = id;
      const LockBody body = body_of(range, owner);
      // Somebody else may have it by now; nothing can be done about that.
      const int error = exchange(lane, head, {bytes_of(body)}, caller, broken);
      if (broken) return error;
    }
  }
  return 0;
}

int Remote::bind_handle(Lane& lane, ViewHandle& handle, const Caller& caller, std::uint64_t& id,
                        bool& broken) {
  broken = false;
  std::lock_guard lock(handle.mutex);
  if (handle.store_serial == lane.serial) {
    id = handle.store_id;
    return 0;
  }
  RequestHead head;
  if (const int error = bind_node(lane, *handle.node, caller, head.node, broken);
      error != 0 || broken) {
    return error;
  }
  head.seq = ++lane.seq;
  head.op = handle.directory ? Op::kOpendir : Op::kOpen;
  const OpenBody body{handle.flags & ~static_cast<std::uint32_t>(O_TRUNC | O_EXCL | O_CREAT), 0};
  int error = exchange(lane, head, {bytes_of(body)}, caller, broken);
  if (broken || error != 0) return error;
  ByteReader reader(lane.reply.span().subspan(sizeof(ReplyHead)));
  const auto opened = reader.get<OpenReply>();
  if (!reader.done()) return EIO;
  handle.store_id = opened.handle;
  handle.store_serial = lane.serial;
  id = opened.handle;
  if (handle.flock != 0) {
    head.seq = ++lane.seq;
    head.op = Op::kFlock;
    head.handle = id;
    LockBody flock_body;
    flock_body.type = handle.flock;
    error = exchange(lane, head, {bytes_of(flock_body)}, caller, broken);
    if (broken) return error;
  }
  for (const RecordLock& range : handle.file_locks) {
    head.seq = ++lane.seq;
    head.op = Op::kSetlk;
    head.handle = id;
    error = exchange(lane, head, {bytes_of(body_of(range, 0))}, caller, broken);
    if (broken) return error;
  }
  return 0;
}

int Remote::call(const Request& request, std::initializer_list<ByteSpan> parts, Reply& reply) {
  if (!changes_something(request.op)) {
    reply.changes_ = changes_;
    return call_once(request, parts, reply);
  }
  ++changes_;
  const int error = call_once(request, parts, reply);
  reply.changes_ = ++changes_;
  return error;
}

int Remote::call_once(const Request& request, std::initializer_list<ByteSpan> parts, Reply& reply) {
  SSI_CHECK(reply.lane_ == nullptr);
  int error = 0;
  Lane* lane = acquire(request.caller, error);
  if (lane == nullptr) return error;
  reply.remote_ = this;
  reply.lane_ = lane;
  ++calls_;
  if (watcher_rests_) {
    std::lock_guard lock(mutex_);
    gave_up_.notify_all();
  }

  std::uint64_t seq = 0;           // of the request; 0: not asked yet
  std::uint64_t asked_serial = 0;  // the session that was asked
  milliseconds pause = milliseconds::zero();
  for (;;) {
    if (given_up()) return EIO;
    if (out_of_reach()) return EHOSTDOWN;
    const bool was_connected = lane->channel != nullptr;
    const bool connected = was_connected || connect(*lane, request.caller);
    if (!was_connected) note_dial(connected);
    if (!connected) {
      {
        std::lock_guard lock(lane->channel_mutex);
        lane->channel.reset();
      }
      if (out_of_reach()) return EHOSTDOWN;
      pause = std::clamp(pause * 2, options_.retry_min, options_.retry_max);
      if (const int waited = wait_turn(pause, request.caller); waited != 0) return waited;
      continue;
    }
    if (request.session != 0 && lane->serial != request.session) return ESTALE;
    const bool again = seq != 0 && asked_serial != lane->serial;
    if (again) seq = 0;
    RequestHead head;
    head.op = request.op;
    head.flags = again ? RequestHead::kAgain : std::uint16_t{0};
    head.umask = request.caller.umask;
    head.uid = request.caller.uid;
    head.gid = request.caller.gid;
    head.node = request.node_id;
    head.handle = request.handle_id;
    bool broken = false;
    error = 0;
    if (error == 0 && !broken && request.node != nullptr) {
      error = bind_node(*lane, *request.node, request.caller, head.node, broken);
    }
    if (error == 0 && !broken && request.node2 != nullptr) {
      error = bind_node(*lane, *request.node2, request.caller, head.node2, broken);
    }
    if (error == 0 && !broken && request.handle != nullptr) {
      error = bind_handle(*lane, *request.handle, request.caller, head.handle, broken);
    }
    if (error == 0 && !broken && request.handle2 != nullptr) {
      error = bind_handle(*lane, *request.handle2, request.caller, head.handle2, broken);
    }
    if (error == 0 && !broken) {
      if (seq == 0) seq = ++lane->seq;
      head.seq = seq;
      asked_serial = lane->serial;
      error = exchange(*lane, head, parts, request.caller, broken);
    }
    if (!broken) return error;
    {
      std::lock_guard lock(lane->channel_mutex);
      lane->channel.reset();
    }
    if (error == EINTR) return error;
    // The first new connection is tried at once.
  }
}

void Remote::bind(ViewNode& node, std::uint64_t serial, std::uint64_t id, std::uint64_t lookups) {
  if (node.is_root) return;
  std::lock_guard lock(node.mutex);
  if (node.store_serial != serial || node.store_id != id) {
    node.store_serial = serial;
    node.store_id = id;
    node.store_lookups = 0;
  }
  node.store_lookups += lookups;
}

void Remote::bind(ViewHandle& handle, std::uint64_t serial, std::uint64_t id) {
  std::lock_guard lock(handle.mutex);
  handle.store_serial = serial;
  handle.store_id = id;
}

void Remote::give_up() {
  given_up_ = true;
  std::lock_guard lock(mutex_);
  for (const auto& lane : lanes_) {
    std::lock_guard channel_lock(lane->channel_mutex);
    if (lane->channel) lane->channel->abort();
  }
  lane_free_.notify_all();
  gave_up_.notify_all();
}

void Remote::goodbye() {
  std::unique_lock lock(mutex_);
  if (idle_.empty() || given_up()) return;
  Lane* lane = idle_.back();
  idle_.pop_back();
  lock.unlock();
  if (lane->channel) {
    RequestHead head;
    head.seq = ++lane->seq;
    head.op = Op::kGoodbye;
    const Waiting waiting(*lane, {}, 1000);
    if (lane->channel->send({bytes_of(head)}).ok()) (void)lane->channel->recv(lane->reply).ok();
  }
  release(lane);
}

Remote::Stats Remote::stats() const {
  Stats stats;
  stats.calls = calls_;
  stats.reconnects = reconnects_;
  stats.new_sessions = new_sessions_;
  std::lock_guard lock(mutex_);
  for (Lane* lane : idle_) stats.connected = stats.connected || lane->channel != nullptr;
  return stats;
}

}  // namespace ssi::fs
