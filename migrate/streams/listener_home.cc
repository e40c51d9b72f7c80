#include "migrate/streams/listener_home.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <random>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include "migrate/fds/relay_ends.h"
#include "migrate/streams/listener_wire.h"
#include "ssid/base/process_handle.h"

namespace ssi::migrate {
namespace {

using Clock = std::chrono::steady_clock;
// So long nobody asks for its clients after somebody had: the process has closed it meanwhile.
constexpr std::chrono::minutes kAloneMax{10};
constexpr std::uint64_t kBacklogMax = 65'535;
constexpr std::chrono::milliseconds kAfterFailure{50};  // no descriptors left, for one

ByteSpan bytes_of(const ListenerFrame& frame) {
  return {reinterpret_cast<const std::uint8_t*>(&frame), sizeof(frame)};
}

std::uint64_t random_id() {
  std::random_device random;
  return (std::uint64_t{random()} << 32) | random();
}

UniqueFd duplicate_of(const UniqueFd& fd) { return UniqueFd(::fcntl(*fd, F_DUPFD_CLOEXEC, 0)); }

pid_t peer_pid(int socket) {
  ucred peer{};
  socklen_t size = sizeof peer;
  return ::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 ? peer.pid : 0;
}

}  // namespace

class ListenerHome::Listener {
 public:
  Listener(StreamHome& streams, UniqueFd wake) : streams_(streams), wake_(std::move(wake)) {}
  ~Listener() { stop(); }

  // `ended`: called once, by its own thread, when it is to be forgotten.
  void start(std::function<void()> ended) {
    thread_ = std::thread([this, ended = std::move(ended)] {
      if (run()) ended();
    });
  }
  // Afterwards nobody is accepted any more.
  void cut() {
    {
      std::lock_guard lock(mutex_);
      stopped_ = true;
      socket_.reset();
      if (channel_) channel_->abort();
    }
    wake();
  }
  void stop() {
    cut();
    if (thread_.joinable()) thread_.join();
  }

  Result<> add_owner(UniqueFd owner) {
    UniqueFd second = duplicate_of(owner);
    if (!second) return Error::from_errno("duplicate a descriptor");
    SSI_ASSIGN(const auto process, ProcessHandle::from_pidfd(std::move(second)));
    {
      std::lock_guard lock(mutex_);
      owners_.push_back({process.pid(), std::move(owner)});
    }
    wake();
    return {};
  }
  // False: it has one.
  bool take(UniqueFd socket) {
    {
      std::lock_guard lock(mutex_);
      if (socket_) return false;
      socket_ = std::move(socket);
      accepts_ = false;  // until somebody asks for clients again
    }
    wake();
    return true;
  }
  void hand_over() {
    {
      std::lock_guard lock(mutex_);
      socket_.reset();
    }
    wake();
  }
  bool was_asked() const {
    std::lock_guard lock(mutex_);
    return generation_ != 0;
  }
  Result<UniqueFd> duplicate() const {
    std::lock_guard lock(mutex_);
    if (!socket_) return Error(ErrorCode::kGone, "no such socket");
    UniqueFd fd = duplicate_of(socket_);
    if (!fd) return Error::from_errno("duplicate a descriptor");
    return fd;
  }

  // `known`: the streams of connections that were made there. All others of which the process has
  // not heard are told of again.
  void serve(const StreamChannel& channel, std::uint64_t generation, std::uint64_t backlog,
             const std::set<StreamId>& known) {
    {
      std::lock_guard lock(mutex_);
      const bool late = stopped_ || generation < generation_;
      // It may have begun to listen where it is.
      if (!late && socket_ && backlog > 0) {
        (void)::listen(*socket_, static_cast<int>(std::min<std::uint64_t>(backlog, kBacklogMax)));
      }
      const ListenerFrame answer{.type = ListenerFrameType::kListening,
                                 .a = late ? std::uint64_t{ESTALE} : 0};
      if (!channel->send({bytes_of(answer)}).ok() || late) return;
      if (channel_) channel_->abort();
      channel_ = channel;
      if (generation > generation_) accepts_ = true;
      generation_ = generation;
      drop_finished();
      for (const Connection& c : connections_) {
        if (!c.delivered && !known.contains(c.out) && !tell(c)) return;
      }
    }
    wake();
    FrameBuffer buffer;
    while (channel->recv(buffer).ok()) {
      ByteReader reader(buffer.span());
      const auto frame = reader.get<ListenerFrame>();
      if (!reader.done() || !on_frame(channel, frame)) break;
    }
    channel->abort();
    std::lock_guard lock(mutex_);
    if (channel_ != channel) return;
    channel_.reset();
    alone_since_ = Clock::now();
    wake();
  }

 private:
  struct Owner {
    pid_t pid = 0;
    UniqueFd handle;
  };
  struct Connection {
    StreamId out = 0, in = 0;
    fds::PeerIdentity peer;
    bool delivered = false;  // the process has accepted it
  };

  bool on_frame(const StreamChannel& channel, const ListenerFrame& frame) {
    std::lock_guard lock(mutex_);
    if (channel_ != channel) return false;
    switch (frame.type) {
      case ListenerFrameType::kNobody:
        // Nor does anybody here from now on: who comes next is refused by the kernel.
        socket_.reset();
        forget_connection(frame.a);
        wake();
        return true;
      case ListenerFrameType::kOver:
        forget_connection(frame.a);
        wake();
        return true;
      case ListenerFrameType::kAccepted:
        for (Connection& c : connections_) c.delivered |= c.out == frame.a;
        return true;
      case ListenerFrameType::kAsk: {
        const ListenerFrame heard{.type = ListenerFrameType::kHeard, .a = frame.a};
        return channel->send({bytes_of(heard)}).ok();
      }
      default:
        return false;
    }
  }

  void wake() { ::eventfd_write(*wake_, 1); }

  // True: it is over. False: it was stopped.
  bool run() {
    auto pause = std::chrono::milliseconds(0);
    for (;;) {
      std::this_thread::sleep_for(std::exchange(pause, std::chrono::milliseconds(0)));
      std::vector<pollfd> polled{{*wake_, POLLIN, 0}};
      int timeout_ms = -1;
      {
        std::lock_guard lock(mutex_);
        if (stopped_) return false;
        const bool wanted =
            socket_ && accepts_ && channel_ && connections_.size() < kConnectionsMax;
        polled.push_back({wanted ? *socket_ : -1, POLLIN, 0});
        for (const Owner& owner : owners_) polled.push_back({*owner.handle, POLLIN, 0});
        if (socket_ && accepts_ && !channel_) {
          if (Clock::now() - alone_since_ > kAloneMax) return true;
          timeout_ms = static_cast<int>(std::chrono::milliseconds(kAloneMax).count()) + 1;
        }
      }
      if (::poll(polled.data(), polled.size(), timeout_ms) < 0) continue;
      eventfd_t count;
      (void)::eventfd_read(*wake_, &count);
      std::lock_guard lock(mutex_);
      if (polled[1].revents != 0 && socket_ && accepts_ && channel_ && !accept_one()) {
        pause = kAfterFailure;
      }
      bool lost = false;
      for (std::size_t i = polled.size(); i-- > 2;) {
        if (polled[i].revents == 0) continue;
        owners_.erase(owners_.begin() + static_cast<std::ptrdiff_t>(i - 2));
        lost = true;
      }
      if (lost && owners_.empty()) return true;
    }
  }

  // mutex_ is held, here and below. False: it could not be done now.
  bool accept_one() {
    UniqueFd client(::accept4(*socket_, nullptr, nullptr, SOCK_CLOEXEC));
    if (!client) return false;
    // One of the process's own, which waited when it went: it connects there by itself.
    const pid_t pid = peer_pid(*client);
    if (std::ranges::any_of(owners_, [&](const Owner& o) { return o.pid == pid; })) return true;
    Connection made{random_id(), random_id(), fds::peer_identity(*client)};
    if (owners_.empty() || !export_streams(made, std::move(client))) return false;
    connections_.push_back(made);
    (void)tell(made);
    return true;
  }

  bool export_streams(const Connection& made, UniqueFd client) {
    UniqueFd second = duplicate_of(client);
    UniqueFd owner = duplicate_of(owners_.front().handle);
    UniqueFd owner2 = duplicate_of(owners_.front().handle);
    if (!second || !owner || !owner2) return false;
    if (!streams_.export_fd(made.out, StreamDirection::kGuestWrites, std::move(client),
                            std::move(owner))) {
      return false;
    }
    if (!streams_.export_fd(made.in, StreamDirection::kGuestReads, std::move(second),
                            std::move(owner2))) {
      (void)streams_.close(made.out, 0);
      return false;
    }
    for (std::size_t i = 1; i < owners_.size(); ++i) {
      for (const StreamId id : {made.out, made.in}) {
        (void)streams_.add_owner(id, duplicate_of(owners_[i].handle));
      }
    }
    return true;
  }

  bool tell(const Connection& c) {
    const ListenerFrame frame{
        .type = ListenerFrameType::kComes, .a = c.out, .b = c.in, .c = c.peer.uid, .d = c.peer.gid};
    return channel_ && channel_->send({bytes_of(frame)}).ok();
  }

  void forget_connection(StreamId out) {
    std::erase_if(connections_, [&](const Connection& c) {
      if (c.out == out) close_streams(c);
      return c.out == out;
    });
  }
  void drop_finished() {
    std::erase_if(connections_, [&](const Connection& c) {
      const bool over = streams_.finished(c.out) && streams_.finished(c.in);
      if (over) close_streams(c);
      return over;
    });
  }
  void close_streams(const Connection& c) {
    (void)streams_.close(c.out, 0);
    (void)streams_.close(c.in, 0);
  }

  StreamHome& streams_;
  const UniqueFd wake_;
  mutable std::mutex mutex_;
  UniqueFd socket_;       // none: the process is at home
  bool accepts_ = false;  // somebody has asked for its clients since it has the socket
  bool stopped_ = false;
  std::vector<Owner> owners_;
  std::vector<Connection> connections_;
  StreamChannel channel_;
  std::uint64_t generation_ = 0;  // 0: nobody has asked for its clients yet
  Clock::time_point alone_since_{};
  std::thread thread_;
};

Result<> ListenerHome::export_socket(StreamId id, UniqueFd socket, UniqueFd owner) {
  if (const auto known = find(id)) {
    if (!known->take(std::move(socket))) return Error("the socket is exported already");
    return {};
  }
  UniqueFd wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake) return Error::from_errno("eventfd");
  auto made = std::make_shared<Listener>(streams_, std::move(wake));
  (void)made->take(std::move(socket));
  SSI_TRY(made->add_owner(std::move(owner)));
  std::lock_guard lock(mutex_);
  if (!listeners_.emplace(id, made).second) return Error("the socket is exported already");
  made->start([this, id] { (void)forget(id); });
  return {};
}

Result<> ListenerHome::add_owner(StreamId id, UniqueFd owner) {
  const auto listener = find(id);
  if (!listener) return Error(ErrorCode::kGone, "no such socket");
  return listener->add_owner(std::move(owner));
}

Result<> ListenerHome::hand_over(StreamId id) {
  const auto listener = find(id);
  if (!listener) return Error(ErrorCode::kGone, "no such socket");
  listener->hand_over();
  return {};
}

void ListenerHome::take_back(StreamId id) {
  const auto listener = find(id);
  if (!listener) return;
  listener->hand_over();
  if (!listener->was_asked()) (void)forget(id);
}

bool ListenerHome::has(StreamId id) const { return find(id) != nullptr; }

Result<UniqueFd> ListenerHome::duplicate(StreamId id) const {
  const auto listener = find(id);
  if (!listener) return Error(ErrorCode::kGone, "no such socket");
  return listener->duplicate();
}

Result<> ListenerHome::forget(StreamId id) {
  std::shared_ptr<Listener> ended;
  {
    std::lock_guard lock(mutex_);
    const auto it = listeners_.find(id);
    if (it == listeners_.end()) return Error(ErrorCode::kGone, "no such socket");
    ended = std::move(it->second);
    listeners_.erase(it);
  }
  ended->cut();
  closing_.start(
      [ended = std::move(ended)] { ended->stop(); });  // its own thread may be the caller
  return {};
}

std::shared_ptr<ListenerHome::Listener> ListenerHome::find(StreamId id) const {
  std::lock_guard lock(mutex_);
  const auto it = listeners_.find(id);
  return it == listeners_.end() ? nullptr : it->second;
}

void ListenerHome::serve(StreamChannel channel) {
  FrameBuffer buffer;
  if (!channel->recv(buffer).ok()) return;
  ByteReader reader(buffer.span());
  const auto frame = reader.get<ListenerFrame>();
  if (!reader.ok() || frame.type != ListenerFrameType::kListen) return;
  std::set<StreamId> known;
  while (reader.ok() && !reader.done() && known.size() < kConnectionsMax) {
    known.insert(reader.get<StreamId>());
  }
  if (!reader.done()) return;
  const auto listener = find(frame.a);
  if (!listener) {
    const ListenerFrame none{.type = ListenerFrameType::kListening, .a = ENOENT};
    (void)channel->send({bytes_of(none)}).ok();
    return;
  }
  listener->serve(channel, frame.b, frame.c, known);
}

void ListenerHome::stop() {
  std::map<StreamId, std::shared_ptr<Listener>> listeners;
  {
    std::lock_guard lock(mutex_);
    listeners.swap(listeners_);
  }
  for (auto& [id, listener] : listeners) listener->stop();
  closing_.wait();
}

std::size_t ListenerHome::size() const {
  std::lock_guard lock(mutex_);
  return listeners_.size();
}

}  // namespace ssi::migrate
