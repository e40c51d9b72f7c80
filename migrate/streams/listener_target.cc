#include "migrate/streams/listener_target.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <thread>

#include "migrate/fds/unix_diag.h"
#include "migrate/streams/listener_wire.h"

namespace ssi::migrate {
namespace {

constexpr std::chrono::milliseconds kPauseMin{20};
constexpr std::chrono::milliseconds kPauseMax{1000};
constexpr std::chrono::seconds kSweep{2};
constexpr std::chrono::milliseconds kLook{200};
constexpr int kFlushMs = 5000;

ByteSpan bytes_of(const ListenerFrame& frame) {
  return {reinterpret_cast<const std::uint8_t*>(&frame), sizeof(frame)};
}

Result<UniqueFd> diag_in(int network) {
  Result<UniqueFd> opened = Error("not opened");
  std::thread([&] {
    if (::setns(network, CLONE_NEWNET) != 0) {
      opened = Error::from_errno("enter a realm");
    } else {
      opened = fds::open_unix_diag();
    }
  }).join();
  return opened;
}

}  // namespace

class ListenerTarget::Attachment {
 public:
  Attachment(StreamTarget& streams, Attach what, UniqueFd diag)
      : streams_(streams), what_(std::move(what)), diag_(std::move(diag)) {}
  ~Attachment() { stop(false); }

  void start(fds::SocketInode socket) {
    std::lock_guard lock(mutex_);
    if (stopped_ || hearing_.joinable()) return;
    socket_ = socket;
    silent_ = true;
    hearing_ = std::thread([this] { hear(); });
    connecting_ = std::thread([this] { connect_clients(); });
  }

  bool pause(int timeout_ms) {
    std::unique_lock lock(mutex_);
    paused_ = true;
    changed_.notify_all();
    const auto timeout = std::chrono::milliseconds(timeout_ms);
    if (!changed_.wait_for(lock, timeout, [&] { return !busy_; })) return false;
    if (!hearing_.joinable()) return true;  // it was never begun
    if (silent_) return !listens();
    const StreamChannel channel = channel_;
    if (!channel) return false;
    for (const Made& made : made_) {
      if (has_it(made) && !tell_accepted(made)) return false;
    }
    const ListenerFrame ask{.type = ListenerFrameType::kAsk, .a = ++asked_};
    if (!channel->send({bytes_of(ask)}).ok()) return false;
    return changed_.wait_for(lock, timeout, [&] {
      return heard_ == asked_ || channel_ != channel;
    }) && heard_ == asked_;
  }
  void resume() {
    std::vector<StreamId> streams;
    {
      std::lock_guard lock(mutex_);
      paused_ = false;
      for (const Made& made : made_) streams.insert(streams.end(), {made.out, made.in});
    }
    changed_.notify_all();
    // A mover that died has left them drained, perhaps.
    for (const StreamId id : streams) (void)streams_.resume(id);
  }
  void cut() {
    {
      std::lock_guard lock(mutex_);
      stopped_ = true;
      if (channel_) channel_->abort();
      if (dialled_) dialled_->abort();
    }
    changed_.notify_all();
    // It goes on elsewhere, where its connections are not to be told of an end that comes from
    // here.
    if (leaves()) close_all();
  }
  // `flush`: the guest has ended, and what it wrote last is still on its way.
  void stop(bool flush) {
    cut();
    if (hearing_.joinable()) hearing_.join();
    if (connecting_.joinable()) connecting_.join();
    if (flush && !leaves()) {
      for (const Made& made : all_made()) (void)streams_.flush(made.out, kFlushMs);
    }
    close_all();
  }

  std::vector<Accepted> accepted() const {
    std::lock_guard lock(mutex_);
    std::vector<Accepted> all;
    for (const Made& made : made_) {
      if (const auto socket = guests_socket(made)) {
        all.push_back({made.out, made.in, made.peer, socket});
      }
    }
    return all;
  }
  std::uint64_t generation() const { return what_.generation; }

 private:
  struct Made {
    StreamId out = 0, in = 0;
    fds::PeerIdentity peer;
    std::shared_ptr<const UniqueFd> ours;
    fds::SocketInode inode = 0;  // of that
  };

  // 0: it has not accepted it yet, or has closed it.
  fds::SocketInode guests_socket(const Made& made) const {
    const auto ours = fds::ask_unix_socket(*diag_, made.inode);
    return ours ? ours->peer : 0;
  }
  // Now, or it had it and has closed it.
  bool has_it(const Made& made) const {
    pollfd entry{**made.ours, 0, 0};
    const bool over = ::poll(&entry, 1, 0) > 0 && (entry.revents & POLLHUP) != 0;
    return over || guests_socket(made) != 0;
  }

  // mutex_ is held.
  bool tell_over(StreamId out) {
    const ListenerFrame told{.type = ListenerFrameType::kOver, .a = out};
    return channel_ && channel_->send({bytes_of(told)}).ok();
  }
  bool tell_accepted(const Made& made) {
    const ListenerFrame told{.type = ListenerFrameType::kAccepted, .a = made.out};
    return channel_ && channel_->send({bytes_of(told)}).ok();
  }

  // Nothing tells of a socket that begins to listen.
  bool await_listening() {
    std::unique_lock lock(mutex_);
    while (!stopped_ && (paused_ || !listens_or_is_gone())) {
      changed_.wait_for(lock, kLook, [&] { return stopped_; });
    }
    silent_ = false;
    return !stopped_;
  }
  std::optional<fds::UnixSocket> socket_now() const {
    return fds::ask_unix_socket(*diag_, socket_);
  }
  bool listens() const {
    const auto now = socket_now();
    return now && now->state == fds::UnixSocket::State::kListening;
  }
  bool listens_or_is_gone() const {
    const auto now = socket_now();
    return !now || now->state == fds::UnixSocket::State::kListening;
  }

  // A thread: what home says.
  void hear() {
    if (!await_listening()) return;
    auto pause = std::chrono::milliseconds(0);
    for (;;) {
      {
        std::unique_lock lock(mutex_);
        channel_.reset();
        dialled_.reset();
        changed_.notify_all();
        if (changed_.wait_for(lock, pause, [&] { return stopped_; })) return;
      }
      if (const auto channel = connect()) {
        pause = kPauseMin;
        hear(*channel);
      }
      pause = std::clamp(pause * 2, kPauseMin, kPauseMax);
    }
  }
  void hear(const StreamChannel& channel) {
    FrameBuffer buffer;
    while (channel->recv(buffer).ok()) {
      ByteReader reader(buffer.span());
      const auto frame = reader.get<ListenerFrame>();
      if (!reader.done()) break;
      std::lock_guard lock(mutex_);
      if (frame.type == ListenerFrameType::kComes && clients_.size() < kConnectionsMax) {
        clients_.push_back(frame);
      } else if (frame.type == ListenerFrameType::kHeard) {
        heard_ = frame.a;
      } else {
        break;
      }
      changed_.notify_all();
    }
    channel->abort();
  }

  Result<StreamChannel> connect() {
    SSI_ASSIGN(auto dialled, what_.dial());
    const StreamChannel channel = std::move(dialled);
    std::vector<StreamId> known;
    std::optional<fds::UnixSocket> socket;
    {
      std::lock_guard lock(mutex_);
      if (stopped_) return Error("the socket was closed");
      socket = socket_now();
      dialled_ = channel;
      clients_.clear();  // those that wait are told of again
      for (const Made& made : made_) known.push_back(made.out);
      if (busy_) known.push_back(busy_);
    }
    const ListenerFrame ask{.type = ListenerFrameType::kListen,
                            .a = what_.id,
                            .b = what_.generation,
                            .c = socket ? socket->backlog() : 0};
    const ByteSpan ids(reinterpret_cast<const std::uint8_t*>(known.data()),
                       known.size() * sizeof(StreamId));
    SSI_TRY(channel->send({bytes_of(ask), ids}));
    FrameBuffer buffer;
    SSI_TRY(channel->recv(buffer));
    ByteReader reader(buffer.span());
    const auto answer = reader.get<ListenerFrame>();
    if (!reader.done() || answer.type != ListenerFrameType::kListening) {
      return Error("home sent an invalid answer");
    }
    if (answer.a != 0) return Error(ErrorCode::kGone, "home does not have the socket");
    std::lock_guard lock(mutex_);
    channel_ = channel;
    if (!socket && socket_ != 0) {
      const ListenerFrame nobody{.type = ListenerFrameType::kNobody};
      SSI_TRY(channel->send({bytes_of(nobody)}));
    }
    return channel;
  }

  // A thread: the connections to the guest.
  void connect_clients() {
    std::unique_lock lock(mutex_);
    const auto work = [&] { return stopped_ || (!paused_ && !clients_.empty()); };
    for (;;) {
      if (made_.empty() && what_.carried.empty()) {
        changed_.wait(lock, work);
      } else {
        changed_.wait_for(lock, kSweep, work);
      }
      if (stopped_) return;
      if (paused_) continue;
      drop_finished();
      if (clients_.empty()) continue;
      const ListenerFrame client = clients_.front();
      busy_ = client.a;
      lock.unlock();
      auto made = make_connection(client);
      lock.lock();
      busy_ = 0;
      // If it leaves, the client stays the first in the row.
      const bool waits = !made && made.error().code() == ErrorCode::kTimeout;
      if (!waits && !clients_.empty() && clients_.front().a == client.a) clients_.pop_front();
      changed_.notify_all();
      if (made) {
        made_.push_back(std::move(*made));
      } else if (made.error().code() == ErrorCode::kGone) {
        const ListenerFrame nobody{.type = ListenerFrameType::kNobody, .a = client.a};
        if (channel_) (void)channel_->send({bytes_of(nobody)}).ok();
      } else if (!waits) {
        tell_over(client.a);
      }
    }
  }

  // kTimeout: the guest leaves. kGone: it does not listen any more. kRefused: home does not have
  // that client any more.
  Result<Made> make_connection(const ListenerFrame& client) {
    Made made{client.a, client.b, {static_cast<uid_t>(client.c), static_cast<gid_t>(client.d)}};
    Result<fds::RelayEnds> ends = Error(ErrorCode::kTimeout, "not tried");
    while (!ends && ends.error().code() == ErrorCode::kTimeout) {
      {
        std::lock_guard lock(mutex_);
        if (stopped_ || paused_) return Error(ErrorCode::kTimeout, "the guest leaves");
      }
      ends = fds::connect_relay_end(*what_.network, made.peer, *what_.root, what_.address,
                                    what_.socket_type);
    }
    if (!ends) return std::move(ends).error();
    struct stat st {};
    if (::fstat(*ends->ours, &st) != 0) return Error::from_errno("look at a socket");
    made.inode = st.st_ino;
    made.ours = std::make_shared<const UniqueFd>(::fcntl(*ends->ours, F_DUPFD_CLOEXEC, 0));
    StreamTarget::Attach out{made.out, what_.generation, StreamDirection::kGuestWrites, 0,
                             what_.dial_stream};
    StreamTarget::Attach in{made.in, what_.generation, StreamDirection::kGuestReads, 0,
                            what_.dial_stream};
    out.socket = in.socket = made.out;
    out.peer = in.peer = made.peer;
    out.socket_type = in.socket_type = what_.socket_type;
    if (auto begun = streams_.begin_accepted(std::move(out), std::move(in), std::move(*ends));
        !begun) {
      close_streams(made);
      const ErrorCode code = begun.error().code();
      const bool over = code == ErrorCode::kGone || code == ErrorCode::kRefused;
      return Error(over ? ErrorCode::kRefused : ErrorCode::kFailed, begun.error().message());
    }
    return made;
  }

  bool leaves() const {
    std::lock_guard lock(mutex_);
    return paused_;
  }
  std::vector<Made> all_made() const {
    std::lock_guard lock(mutex_);
    return made_;
  }
  void close_all() {
    std::vector<Made> made;
    {
      std::lock_guard lock(mutex_);
      made.swap(made_);
    }
    for (const Made& one : made) close_streams(one);
  }
  void close_streams(const Made& made) {
    (void)streams_.close(made.out, what_.generation);
    (void)streams_.close(made.in, what_.generation);
  }
  // mutex_ is held.
  void drop_finished() {
    std::erase_if(made_, [&](const Made& made) {
      if (!streams_.finished(made.out) || !streams_.finished(made.in)) return false;
      if (!tell_over(made.out)) return false;
      close_streams(made);
      return true;
    });
    std::erase_if(what_.carried, [&](const auto& c) {
      return streams_.finished(c.first) && streams_.finished(c.second) && tell_over(c.first);
    });
  }

  StreamTarget& streams_;
  Attach what_;
  const UniqueFd diag_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool stopped_ = false;
  bool paused_ = false;
  bool silent_ = false;          // home has not heard of it yet
  fds::SocketInode socket_ = 0;  // the guest's
  StreamId busy_ = 0;            // the connection that is being made
  std::deque<ListenerFrame> clients_;
  std::vector<Made> made_;
  StreamChannel channel_;
  StreamChannel dialled_;  // home has not answered on that yet, perhaps
  std::uint64_t asked_ = 0, heard_ = 0;
  std::thread hearing_, connecting_;
};

Result<> ListenerTarget::attach(Attach what) {
  const StreamId id = what.id;
  SSI_ASSIGN(UniqueFd diag, diag_in(*what.network));
  auto made = std::make_shared<Attachment>(streams_, std::move(what), std::move(diag));
  std::shared_ptr<Attachment> before;
  {
    std::lock_guard lock(mutex_);
    auto& known = attachments_[id];
    before = std::exchange(known, std::move(made));
  }
  if (before) {
    before->cut();
    closing_.start([before] { before->stop(false); });
  }
  return {};
}

Result<> ListenerTarget::start(StreamId id, fds::SocketInode socket) {
  const auto attachment = find(id);
  if (!attachment) return Error(ErrorCode::kGone, "no such socket");
  attachment->start(socket);
  return {};
}

Result<> ListenerTarget::pause(StreamId id, int timeout_ms) {
  const auto attachment = find(id);
  if (!attachment) return Error(ErrorCode::kGone, "no such socket");
  if (!attachment->pause(timeout_ms)) {
    return Error(ErrorCode::kTimeout, "home did not hear of its connections in time");
  }
  return {};
}

Result<> ListenerTarget::resume(StreamId id) {
  const auto attachment = find(id);
  if (!attachment) return Error(ErrorCode::kGone, "no such socket");
  attachment->resume();
  return {};
}

Result<std::vector<ListenerTarget::Accepted>> ListenerTarget::accepted(StreamId id) const {
  const auto attachment = find(id);
  if (!attachment) return Error(ErrorCode::kGone, "no such socket");
  return attachment->accepted();
}

Result<> ListenerTarget::close(StreamId id, std::uint64_t generation) {
  std::shared_ptr<Attachment> closed;
  {
    std::lock_guard lock(mutex_);
    const auto it = attachments_.find(id);
    if (it == attachments_.end() || it->second->generation() != generation) {
      return Error(ErrorCode::kGone, "no such socket");
    }
    closed = std::move(it->second);
    attachments_.erase(it);
  }
  closed->cut();
  closing_.start([closed = std::move(closed)] { closed->stop(true); });
  return {};
}

bool ListenerTarget::has(StreamId id) const { return find(id) != nullptr; }

std::shared_ptr<ListenerTarget::Attachment> ListenerTarget::find(StreamId id) const {
  std::lock_guard lock(mutex_);
  const auto it = attachments_.find(id);
  return it == attachments_.end() ? nullptr : it->second;
}

void ListenerTarget::stop() {
  std::map<StreamId, std::shared_ptr<Attachment>> attachments;
  {
    std::lock_guard lock(mutex_);
    attachments.swap(attachments_);
  }
  for (auto& [id, attachment] : attachments) attachment->stop(false);
  closing_.wait();
}

std::size_t ListenerTarget::size() const {
  std::lock_guard lock(mutex_);
  return attachments_.size();
}

}  // namespace ssi::migrate
