#include "migrate/streams/stream_target.h"

#include <asm/ioctls.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <random>

#include "migrate/streams/messages.h"

namespace ssi::migrate {
namespace {

ByteSpan bytes_of(const StreamFrame& frame) {
  return {reinterpret_cast<const std::uint8_t*>(&frame), sizeof(frame)};
}

// How long a home that does not know a stream (any more) is asked again: its carrier was restarted,
// and its ssid exports the stream again.
constexpr std::chrono::seconds kUnknownMax{20};
constexpr int kFirstStateMs = 2000;
constexpr std::uint64_t kTerminalBytes = 4096;     // what a terminal holds
constexpr std::uint64_t kSocketBytes = 128 << 10;  // ahead of the guest
// The largest message has to be on its way as a whole.
constexpr std::uint64_t kMessagesBytes = kMessageBytesMax + (64 << 10);

std::uint64_t random_number() {
  std::random_device random;
  return (std::uint64_t{random()} << 32) | random();
}

Error error_of_home(int error) {
  if (error == ENOENT) return Error(ErrorCode::kGone, "home does not have the stream");
  if (error == ESTALE) return Error(ErrorCode::kRefused, "the stream is attached elsewhere by now");
  return Error::from_errno("attach", error);
}

}  // namespace

// One stream: the pipe, its end, and the thread that keeps the connection.
class StreamTarget::Attachment {
 public:
  Attachment(Attach what, std::shared_ptr<PtyPair> terminal, std::shared_ptr<fds::RelayEnds> socket)
      : what_(std::move(what)), terminal_(std::move(terminal)), socket_(std::move(socket)) {}
  ~Attachment() { stop(); }

  Result<UniqueFd> begin() {
    SSI_ASSIGN(UniqueFd handed, terminal_                ? begin_terminal()
                                : socket_                ? begin_socket()
                                : !what_.address.empty() ? begin_datagrams()
                                                         : begin_pipe());
    auto channel = connect_once(true);
    if (!channel.ok()) return std::move(channel).error();
    thread_ = std::thread([this, first = *channel] { run(first); });
    if (terminal_ && sink_ && !refresh(kFirstStateMs)) {
      return Error(ErrorCode::kTimeout, "home did not tell how the terminal is set");
    }
    return handed;
  }

  Result<UniqueFd> begin_terminal() {
    UniqueFd master(::fcntl(*terminal_->master, F_DUPFD_CLOEXEC, 0));
    if (!master) return Error::from_errno("duplicate a descriptor");
    if (what_.direction == StreamDirection::kGuestReads) {
      sink_ = std::make_unique<Sink>(std::move(master), kTerminalBytes, true,
                                     guest_terminal(*terminal_->slave));
    } else {
      source_ =
          std::make_unique<Source>(std::move(master), false, guest_terminal(*terminal_->slave));
    }
    UniqueFd handed(::ioctl(*terminal_->master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC));
    if (!handed) return Error::from_errno("open a terminal");
    return handed;
  }

  Result<UniqueFd> begin_socket() {
    UniqueFd ours(::fcntl(*socket_->ours, F_DUPFD_CLOEXEC, 0));
    UniqueFd diag(::fcntl(*socket_->diag, F_DUPFD_CLOEXEC, 0));
    const bool accepted = !socket_->guests;
    UniqueFd handed(accepted ? -1 : ::fcntl(*socket_->guests, F_DUPFD_CLOEXEC, 0));
    if (!ours || !diag || (!handed && !accepted)) {
      return Error::from_errno("duplicate a descriptor");
    }
    auto device = guest_socket(*ours, std::move(diag), what_.peer);
    if (what_.direction == StreamDirection::kGuestReads) {
      const std::uint64_t ahead = what_.socket_type == SOCK_STREAM ? kSocketBytes : kMessagesBytes;
      sink_ = std::make_unique<Sink>(std::move(ours), ahead, true, std::move(device));
    } else {
      source_ = std::make_unique<Source>(std::move(ours), false, std::move(device));
    }
    return handed;
  }

  Result<UniqueFd> begin_datagrams() {
    SSI_ASSIGN(UniqueFd ours, fds::make_datagram_socket(*what_.network));
    sink_ = std::make_unique<Sink>(std::move(ours), kMessagesBytes, true,
                                   guest_datagrams(what_.address, std::move(what_.root)));
    return UniqueFd();
  }

  Result<UniqueFd> begin_pipe() {
    int pair[2];
    if (::pipe2(pair, O_CLOEXEC) != 0) return Error::from_errno("make a pipe");
    UniqueFd reader(pair[0]), writer(pair[1]);
    if (what_.capacity != 0) (void)::fcntl(*reader, F_SETPIPE_SZ, static_cast<int>(what_.capacity));
    const int capacity = ::fcntl(*reader, F_GETPIPE_SZ);
    if (capacity <= 0) return Error::from_errno("ask for a pipe's capacity");
    what_.capacity = static_cast<std::uint32_t>(capacity);
    const bool reads = what_.direction == StreamDirection::kGuestReads;
    UniqueFd& ours = reads ? writer : reader;
    UniqueFd& guests = reads ? reader : writer;
    if (::fcntl(*ours, F_SETFL, O_NONBLOCK) != 0) return Error::from_errno("O_NONBLOCK on a pipe");
    UniqueFd handed(::fcntl(*guests, F_DUPFD_CLOEXEC, 0));
    if (!handed) return Error::from_errno("duplicate a descriptor");
    if (reads) {
      sink_ = std::make_unique<Sink>(std::move(ours), static_cast<std::uint64_t>(capacity), true);
    } else {
      source_ = std::make_unique<Source>(std::move(ours), false);
    }
    guest_end_ =
        std::move(guests);  // kept until start(): nobody's closing counts before the commit
    return handed;
  }

  void start() {
    {
      std::lock_guard lock(mutex_);
      guest_end_.reset();
      socket_.reset();
    }
    if (sink_) sink_->open(what_.on_demand);
    if (source_) source_->open();
  }
  bool refresh(int timeout_ms) { return sink_ && sink_->refresh_state(timeout_ms); }
  void demand(std::uint64_t bytes) {
    if (sink_) sink_->demand(bytes);
  }

  bool flush(int timeout_ms) { return !source_ || source_->drain(timeout_ms, true); }
  bool expect_datagrams(std::size_t waiting) { return sink_ && sink_->expect_messages(waiting); }
  bool drain(int timeout_ms) {
    {
      std::lock_guard lock(mutex_);
      leaving_ = true;
      claim_ = false;
    }
    return sink_ ? sink_->drain(timeout_ms) : source_->drain(timeout_ms, false);
  }
  void resume() {
    {
      std::lock_guard lock(mutex_);
      if (!leaving_) return;
      leaving_ = false;
      claim_ = true;
    }
    stop_.notify_all();
    if (sink_) sink_->resume();
  }

  // Nothing comes or goes any more.
  void cut() {
    {
      std::lock_guard lock(mutex_);
      stopped_ = true;
      if (channel_) channel_->abort();
      guest_end_.reset();
      socket_.reset();
    }
    stop_.notify_all();
  }
  // May last as long as an attempt to reach a home that does not answer.
  void stop() {
    cut();
    if (thread_.joinable()) thread_.join();
  }

  std::uint64_t generation() const { return what_.generation; }
  // The guest has closed its end by itself, and home does not have everything yet.
  bool left_to_end() {
    if (source_ && source_->ending()) closed_ = true;
    return closed_;
  }
  bool over() { return closed_ && finished(); }
  bool finished() { return end().finished(); }
  bool over_at_home() { return end().over_at_home(); }

 private:
  StreamEnd& end() { return sink_ ? static_cast<StreamEnd&>(*sink_) : *source_; }

  Result<StreamChannel> connect_once(bool first, bool claim = false) {
    SSI_ASSIGN(auto dialled, what_.dial());
    const StreamChannel channel = std::move(dialled);
    StreamFrame attach{.type = StreamFrameType::kAttach, .a = what_.id, .b = what_.generation};
    attach.c = first ? StreamFrame::kFromHome : end().position();
    attach.d = number_;
    if (claim) attach.flags = StreamFrame::kClaim;
    SSI_TRY(channel->send({bytes_of(attach)}));
    FrameBuffer buffer;
    SSI_TRY(channel->recv(buffer));
    ByteReader reader(buffer.span());
    const auto answer = reader.get<StreamFrame>();
    if (!reader.done() || answer.type != StreamFrameType::kAttached) {
      return Error("home sent an invalid answer");
    }
    if (answer.b != 0) return error_of_home(static_cast<int>(answer.b & 4095));
    {
      std::lock_guard lock(mutex_);
      if (stopped_) return Error("the stream was closed");
      channel_ = channel;
    }
    end().connect(channel, answer.a);
    return channel;
  }

  void run(StreamChannel channel) {
    FrameBuffer buffer;
    auto pause = std::chrono::milliseconds(0);
    auto unknown_since = std::chrono::steady_clock::time_point::max();
    for (;;) {
      if (channel) {
        while (channel->recv(buffer).ok()) {
          ByteReader reader(buffer.span());
          const auto frame = reader.get<StreamFrame>();
          if (!reader.ok() || !end().on_frame(channel.get(), frame, reader.rest())) break;
          pause = std::chrono::milliseconds(0);
        }
        channel->abort();
        end().disconnect(channel.get());
      }
      {
        std::unique_lock lock(mutex_);
        channel_.reset();
        if (stop_.wait_for(lock, pause, [&] { return stopped_; })) return;
      }
      const bool claimed = claims();
      auto again = connect_once(false, claimed);
      if (again.ok()) {
        channel = *again;
        unknown_since = std::chrono::steady_clock::time_point::max();
        continue;
      }
      channel.reset();
      const auto now = std::chrono::steady_clock::now();
      const bool unknown = again.error().code() == ErrorCode::kGone;
      end().set_home_lacks_it(unknown);
      if (!unknown || unknown_since > now) unknown_since = now;
      const bool refused = again.error().code() == ErrorCode::kRefused;
      if (refused && wait_for_claim(claimed)) {
        pause = std::chrono::milliseconds(0);
        continue;
      }
      if (refused || now - unknown_since > kUnknownMax) {
        // Home has given it up: the guest must not wait for ever.
        end().give_up();
        return;
      }
      pause = std::clamp(pause * 2, std::chrono::milliseconds(20), std::chrono::milliseconds(1000));
    }
  }

  bool claims() {
    std::lock_guard lock(mutex_);
    return claim_;
  }

  // Somebody else has the stream. If that is the target of a move that is under way, its outcome is
  // waited for: true: it was called off, and the stream is to be claimed back.
  bool wait_for_claim(bool claimed) {
    std::unique_lock lock(mutex_);
    stop_.wait(lock, [&] { return stopped_ || !leaving_; });
    return !stopped_ && claim_ && !claimed;
  }

  Attach what_;
  const std::uint64_t number_ = random_number();
  std::mutex mutex_;
  std::condition_variable stop_;
  bool stopped_ = false;
  bool leaving_ = false;  // drained, for a move
  bool closed_ = false;   // left to end; under the lock of all attachments
  bool claim_ = false;    // a move was called off: the stream is ours, whoever has attached it
  StreamChannel channel_;
  UniqueFd guest_end_;
  const std::shared_ptr<PtyPair> terminal_;  // outlives the ends that use it
  std::shared_ptr<fds::RelayEnds> socket_;   // as guest_end_
  std::unique_ptr<Source> source_;
  std::unique_ptr<Sink> sink_;
  std::thread thread_;
};

std::shared_ptr<StreamTarget::Attachment> StreamTarget::find(StreamId id) const {
  std::lock_guard lock(mutex_);
  const auto it = attachments_.find(id);
  return it == attachments_.end() ? nullptr : it->second;
}

bool StreamTarget::has(StreamId id) const { return find(id) != nullptr; }

// The guest comes here again; its former pipe is of no use any more.
void StreamTarget::forget_useless(StreamId id) {
  std::vector<std::shared_ptr<Attachment>> useless;
  {
    std::lock_guard lock(mutex_);
    std::erase_if(attachments_, [&](auto& known) {
      const bool dropped = known.first == id || known.second->over();
      if (dropped) useless.push_back(std::move(known.second));
      return dropped;
    });
  }
  for (auto& attachment : useless) end_in_background(std::move(attachment));
}

Result<UniqueFd> StreamTarget::begin(Attach what, std::shared_ptr<PtyPair> terminal,
                                     std::shared_ptr<fds::RelayEnds> socket) {
  const StreamId id = what.id;
  auto attachment =
      std::make_shared<Attachment>(std::move(what), std::move(terminal), std::move(socket));
  SSI_ASSIGN(UniqueFd guest_end, attachment->begin());
  std::lock_guard lock(mutex_);
  attachments_.insert_or_assign(id, std::move(attachment));
  return guest_end;
}

Result<UniqueFd> StreamTarget::attach(Attach what) {
  forget_useless(what.id);
  std::shared_ptr<PtyPair> terminal;
  if (what.terminal != 0) {
    SSI_ASSIGN(terminal, terminal_of(what));
  }
  std::shared_ptr<fds::RelayEnds> socket;
  if (what.socket != 0) {
    SSI_ASSIGN(socket, socket_of(what));
  }
  return begin(std::move(what), std::move(terminal), std::move(socket));
}

Result<> StreamTarget::begin_accepted(Attach out, Attach in, fds::RelayEnds ends) {
  const auto shared = std::make_shared<fds::RelayEnds>(std::move(ends));
  for (Attach* one : {&out, &in}) {
    const StreamId id = one->id;
    forget_useless(id);
    SSI_TRY(begin(std::move(*one), nullptr, shared));
  }
  SSI_TRY(start(out.id));
  return start(in.id);
}

bool StreamTarget::finished(StreamId id) const {
  const auto attachment = find(id);
  return !attachment || attachment->finished();
}

// The one that the other direction got; its guest comes for the first time if there is none.
Result<std::shared_ptr<PtyPair>> StreamTarget::terminal_of(const Attach& what) {
  std::lock_guard lock(mutex_);
  std::erase_if(terminals_, [](const auto& known) { return known.second.expired(); });
  auto& known = terminals_[{what.terminal, what.generation}];
  if (auto pair = known.lock()) return pair;
  SSI_ASSIGN(auto made, make_external_pty());
  auto pair = std::make_shared<PtyPair>(std::move(made));
  known = pair;
  return pair;
}

Result<std::shared_ptr<fds::RelayEnds>> StreamTarget::socket_of(const Attach& what) {
  std::lock_guard lock(mutex_);
  std::erase_if(sockets_, [](const auto& known) { return known.second.expired(); });
  auto& known = sockets_[{what.socket, what.generation}];
  if (auto ends = known.lock()) return ends;
  SSI_ASSIGN(auto made, fds::make_relay_ends(*what.network, what.peer, what.socket_type));
  auto ends = std::make_shared<fds::RelayEnds>(std::move(made));
  known = ends;
  return ends;
}

Result<> StreamTarget::refresh_terminal(StreamId id, int timeout_ms) {
  const auto attachment = find(id);
  if (!attachment) return Error(ErrorCode::kGone, "no such stream");
  if (!attachment->refresh(timeout_ms)) {
    return Error(ErrorCode::kTimeout, "home did not answer in time");
  }
  return {};
}

Result<> StreamTarget::start(StreamId id) {
  const auto attachment = find(id);
  if (!attachment) return Error(ErrorCode::kGone, "no such stream");
  attachment->start();
  return {};
}

Result<> StreamTarget::demand(StreamId id, std::uint64_t bytes) {
  const auto attachment = find(id);
  if (!attachment) return Error(ErrorCode::kGone, "no such stream");
  attachment->demand(bytes);
  return {};
}

Result<> StreamTarget::flush(StreamId id, int timeout_ms) {
  const auto attachment = find(id);
  if (!attachment) return Error(ErrorCode::kGone, "no such stream");
  if (!attachment->flush(timeout_ms)) {
    return Error(ErrorCode::kTimeout, "home did not take everything in time");
  }
  return {};
}

Result<> StreamTarget::expect_datagrams(StreamId id, std::size_t waiting) {
  const auto attachment = find(id);
  if (!attachment) return Error(ErrorCode::kGone, "no such stream");
  if (!attachment->expect_datagrams(waiting)) {
    return Error(ErrorCode::kBusy, "datagrams of its own wait in its queue");
  }
  return {};
}

Result<> StreamTarget::drain(StreamId id, int timeout_ms) {
  const auto attachment = find(id);
  if (!attachment) return Error(ErrorCode::kGone, "no such stream");
  if (attachment->drain(timeout_ms)) return {};
  // Its end has come since the move began, which is to begin again, without it.
  if (attachment->over_at_home())
    return Error(ErrorCode::kBusy, "one of its connections has just ended");
  return Error(ErrorCode::kTimeout, "home did not take everything in time");
}

Result<> StreamTarget::resume(StreamId id) {
  const auto attachment = find(id);
  if (!attachment) return Error(ErrorCode::kGone, "no such stream");
  attachment->resume();
  return {};
}

Result<> StreamTarget::close(StreamId id, std::uint64_t generation) {
  std::shared_ptr<Attachment> closed;
  {
    std::lock_guard lock(mutex_);
    const auto it = attachments_.find(id);
    if (it == attachments_.end() || it->second->generation() != generation) {
      return Error(ErrorCode::kGone, "no such stream");
    }
    if (it->second->left_to_end()) return {};  // attach() clears it away
    closed = std::move(it->second);
    attachments_.erase(it);
  }
  end_in_background(std::move(closed));
  return {};
}

void StreamTarget::end_in_background(std::shared_ptr<Attachment> closed) {
  closed->cut();
  closing_.start([closed = std::move(closed)] { closed->stop(); });
}

void StreamTarget::stop() {
  std::map<StreamId, std::shared_ptr<Attachment>> attachments;
  {
    std::lock_guard lock(mutex_);
    attachments.swap(attachments_);
  }
  for (auto& [id, attachment] : attachments) attachment->stop();
  closing_.wait();
}

std::size_t StreamTarget::size() const {
  std::lock_guard lock(mutex_);
  return attachments_.size();
}

}  // namespace ssi::migrate
