#include "migrate/streams/stream_end.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>

namespace ssi::migrate {
namespace {

constexpr std::size_t kPieceBytes = 64 << 10;
constexpr std::uint64_t kWindowBytesMax = 64 << 20;  // whatever the other end allows
constexpr int kTickMsMin = 1;
constexpr int kTickMsMax = 50;

ByteSpan bytes_of(const StreamFrame& frame) {
  return {reinterpret_cast<const std::uint8_t*>(&frame), sizeof(frame)};
}
ByteSpan bytes_of(const std::string& text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

}  // namespace

Result<UniqueFd> reopen_nonblocking(int fd, int access_mode) {
  const std::string path = "/proc/self/fd/" + std::to_string(fd);
  UniqueFd opened(::open(path.c_str(), access_mode | O_NONBLOCK | O_CLOEXEC | O_NOCTTY));
  if (!opened) return Error::from_errno("open the stream's descriptor again");
  return opened;
}

// StreamEnd
// ------------------------------------------------------------------------------------------

StreamEnd::StreamEnd(UniqueFd fd)
    : fd_(std::move(fd)), wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  SSI_CHECK(wake_);
}

void StreamEnd::start(void (*run)(StreamEnd&)) {
  thread_ = std::thread([this, run] { run(*this); });
}

void StreamEnd::stop() {
  {
    std::lock_guard lock(mutex_);
    stopped_ = true;
    if (channel_) channel_->abort();
    channel_.reset();
  }
  wake();
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void StreamEnd::wake() {
  const std::uint64_t one = 1;
  (void)!::write(*wake_, &one, sizeof(one));
}

void StreamEnd::connect(StreamChannel channel, std::uint64_t position) {
  {
    std::lock_guard lock(mutex_);
    if (channel_ && channel_ != channel) channel_->abort();
    channel_ = std::move(channel);
    on_connect(position);
  }
  wake();
  changed_.notify_all();
}

std::uint64_t StreamEnd::position() const {
  std::lock_guard lock(mutex_);
  return position_locked();
}

void StreamEnd::disconnect(const Channel* channel) {
  std::lock_guard lock(mutex_);
  if (channel_.get() == channel) channel_.reset();
  changed_.notify_all();
}

void StreamEnd::give_up() {
  {
    std::lock_guard lock(mutex_);
    finished_ = true;
    gone_ = true;
  }
  wake();
  changed_.notify_all();
}

bool StreamEnd::finished() const {
  std::lock_guard lock(mutex_);
  return finished_;
}

bool StreamEnd::send(std::unique_lock<std::mutex>& lock, const StreamFrame& frame, ByteSpan data) {
  const StreamChannel channel = channel_;
  if (!channel) return false;
  lock.unlock();
  const bool sent = channel->send({bytes_of(frame), data}).ok();
  lock.lock();
  if (!sent && channel_ == channel) {
    channel->abort();  // whoever receives on it finds out, too
    channel_.reset();
  }
  return sent && channel_ == channel;
}

short StreamEnd::wait(std::unique_lock<std::mutex>& lock, bool want_fd, short events,
                      int timeout_ms) {
  pollfd entries[2] = {{*wake_, POLLIN, 0}, {want_fd ? *fd_ : -1, events, 0}};
  lock.unlock();
  const int ready = ::poll(entries, 2, timeout_ms);
  if (ready > 0 && entries[0].revents != 0) {
    std::uint64_t count = 0;
    (void)!::read(*wake_, &count, sizeof(count));
  }
  lock.lock();
  return ready > 0 ? entries[1].revents : short{0};
}

// Source
// ---------------------------------------------------------------------------------------------

Source::Source(UniqueFd fd, bool keep_until_read)
    : StreamEnd(std::move(fd)), keep_until_read_(keep_until_read) {
  start([](StreamEnd& end) { static_cast<Source&>(end).run(); });
}

void Source::on_connect(std::uint64_t position) {
  if (position > base_ && buffer_.empty() && sent_ == base_) base_ = position;  // a new attachment
  if (!keep_until_read_) drop_below(std::min(position, end()));
  sent_ = std::clamp(position, base_, end());
  ++rewinds_;
  // How far it may go is said by the sink; until then nothing is read.
  window_end_ = sent_;
  eof_sent_ = false;
  held_ = true;
}

void Source::drop_below(std::uint64_t position) {
  if (position <= base_) return;
  if (keep_until_read_ && position > end()) return;
  buffer_.erase(0, std::min<std::uint64_t>(position - base_, buffer_.size()));
  base_ = position;
  sent_ = std::max(sent_, base_);
}

bool Source::on_frame(const Channel* channel, const StreamFrame& frame, ByteSpan data) {
  if (!data.empty()) return false;
  std::unique_lock lock(mutex_);
  if (channel_.get() != channel) return false;
  switch (frame.type) {
    case StreamFrameType::kCredit:
      if (frame.a > end() || frame.c > end()) return false;
      drop_below(frame.a);
      held_ = false;
      window_end_ =
          std::clamp(frame.b, window_end_, std::max(window_end_, base_ + kWindowBytesMax));
      written_ = std::max(written_, frame.c);
      // What a guest reads may have to be sent again to its next node; what it wrote is at home for
      // good.
      if (!keep_until_read_ && (frame.flags & StreamFrame::kEofSeen) != 0 && eof_) finished_ = true;
      break;
    case StreamFrameType::kBroken:
      // Nobody reads: whoever writes to us must learn it.
      finished_ = true;
      gone_ = true;
      break;
    case StreamFrameType::kDrained:
      if (frame.a < base_ || frame.a > end()) return false;
      drop_below(frame.a);
      sent_ = base_;
      ++rewinds_;
      window_end_ = base_;
      eof_sent_ = false;
      held_ = true;
      reply_drained_ = true;
      break;
    default:
      return false;
  }
  lock.unlock();
  wake();
  changed_.notify_all();
  return true;
}

std::uint64_t Source::base() const {
  std::lock_guard lock(mutex_);
  return base_;
}

bool Source::ending() const {
  std::lock_guard lock(mutex_);
  if (finished_ || !fd_) return false;
  pollfd pipe{*fd_, POLLIN, 0};
  return eof_ || (::poll(&pipe, 1, 0) > 0 && (pipe.revents & POLLHUP) != 0);
}

void Source::run() {
  std::string piece;
  std::unique_lock lock(mutex_);
  while (!stopped_) {
    if (gone_ && fd_) {
      fd_.reset();
      base_ = end();
      buffer_.clear();
    }
    if (channel_ && reply_drained_) {
      reply_drained_ = false;
      send(lock, {.type = StreamFrameType::kDrainedOk});
      continue;
    }
    const std::uint64_t limit = draining_ ? end() : std::min(end(), window_end_);
    if (channel_ && sent_ < limit && !finished_) {
      const std::size_t size = std::min<std::uint64_t>(kPieceBytes, limit - sent_);
      const std::uint64_t at = sent_;
      const std::uint64_t rewinds = rewinds_;
      piece.assign(buffer_, sent_ - base_, size);
      if (send(lock, {.type = StreamFrameType::kData, .a = at}, bytes_of(piece)) &&
          rewinds_ == rewinds) {
        sent_ = std::max(sent_, at + size);
      }
      continue;
    }
    if (channel_ && eof_ && !eof_sent_ && !held_ && sent_ == end()) {
      eof_sent_ = true;
      send(lock, {.type = StreamFrameType::kEof, .a = end()});
      continue;
    }
    const bool emptying = draining_ && !emptied_;
    const bool want = fd_ && !eof_ && !finished_ && (emptying || end() < window_end_);
    const short events = wait(lock, want, POLLIN, emptying ? 0 : -1);
    if (stopped_ || !want || !fd_) continue;
    if (events == 0 && !emptying) continue;
    const std::size_t room =
        emptying
            ? kPieceBytes
            : std::min<std::uint64_t>(kPieceBytes, window_end_ > end() ? window_end_ - end() : 0);
    if (room == 0) continue;
    const std::size_t had = buffer_.size();
    buffer_.resize(had + room);
    const ssize_t got = ::read(*fd_, buffer_.data() + had, room);
    buffer_.resize(had + static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
    if (got == 0) eof_ = true;
    if (got < 0 && errno != EAGAIN && errno != EINTR) eof_ = true;  // a terminal that hung up
    if (emptying && (eof_ || (got < 0 && errno == EAGAIN))) emptied_ = true;
    if (eof_ || emptied_) changed_.notify_all();
  }
}

bool Source::drain(int timeout_ms, bool written) {
  std::unique_lock lock(mutex_);
  if (finished_) return true;
  draining_ = !eof_;
  emptied_ = eof_;
  wake();
  const bool done = changed_.wait_for(lock, std::chrono::milliseconds(timeout_ms), [&] {
    if (stopped_ || finished_) return true;
    return emptied_ && (written ? written_ : base_) >= end();
  });
  draining_ = false;
  return done && !stopped_;
}

// Sink
// -----------------------------------------------------------------------------------------------

Sink::Sink(UniqueFd fd, std::uint64_t capacity, bool guest_reads)
    : StreamEnd(std::move(fd)),
      capacity_(std::max<std::uint64_t>(capacity, 4096)),
      guest_reads_(guest_reads),
      window_(guest_reads ? Window::kHeld : Window::kFree) {
  start([](StreamEnd& end) { static_cast<Sink&>(end).run(); });
}

void Sink::on_connect(std::uint64_t position) {
  // A new attachment takes the position that home knows; otherwise it is our own.
  if (received_ == 0 && written_ == 0) received_ = written_ = position;
  credit_forced_ = true;
  broken_sent_ = false;
  drained_sent_ = false;
}

std::uint64_t Sink::consumed() const {
  if (!guest_reads_ || !fd_) return written_;
  int unread = 0;
  if (::ioctl(*fd_, FIONREAD, &unread) != 0 || unread < 0) return written_;
  return written_ - std::min<std::uint64_t>(written_, static_cast<std::uint64_t>(unread));
}

bool Sink::credit_due(std::uint64_t used, StreamFrame& credit) const {
  credit = {.type = StreamFrameType::kCredit,
            .a = guest_reads_ ? used : received_,
            .b = window_ == Window::kFree ? used + capacity_ : std::max(received_, demand_end_),
            .c = written_};
  if (eof_) credit.flags = StreamFrame::kEofSeen;
  if (credit_forced_ || credit.flags != credit_sent_.flags) return true;
  if (window_ != Window::kFree && credit.b != credit_sent_.b) return true;
  if (credit.b - credit_sent_.b >= capacity_ / 4) return true;
  // A drain waits for these.
  return !guest_reads_ && (credit.a != credit_sent_.a || credit.c != credit_sent_.c);
}

bool Sink::on_frame(const Channel* channel, const StreamFrame& frame, ByteSpan data) {
  std::unique_lock lock(mutex_);
  if (channel_.get() != channel) return false;
  switch (frame.type) {
    case StreamFrameType::kData: {
      if (frame.a > received_ || data.empty()) return false;  // a hole
      const std::uint64_t known = std::min<std::uint64_t>(received_ - frame.a, data.size());
      const ByteSpan fresh = data.subspan(known);
      // More than a pipe and its window (a drain sends what was in the pipe, too) is not in the
      // rules.
      if (pending_.size() + fresh.size() > 2 * capacity_ + (4u << 20)) return false;
      if (paused_) break;  // it is sent again later
      if (!broken_) pending_.append(reinterpret_cast<const char*>(fresh.data()), fresh.size());
      received_ += fresh.size();
      if (broken_) written_ = received_;
      break;
    }
    case StreamFrameType::kEof:
      if (frame.a != received_ || !data.empty()) return paused_;
      if (!paused_) eof_ = true;
      break;
    case StreamFrameType::kDrainedOk:
      drained_ok_ = true;
      break;
    default:
      return false;
  }
  lock.unlock();
  wake();
  changed_.notify_all();
  return true;
}

std::uint64_t Sink::received(std::uint64_t source_position) {
  std::lock_guard lock(mutex_);
  if (received_ == 0 && source_position != StreamFrame::kFromHome) {
    received_ = written_ = source_position;
  }
  return received_;
}

void Sink::run() {
  int tick_ms = kTickMsMin;
  std::uint64_t last_consumed = 0;
  std::unique_lock lock(mutex_);
  while (!stopped_) {
    if (gone_ && fd_) {
      fd_.reset();
      pending_.clear();
    }
    if (paused_) {
      if (channel_ && drained_known_ && !drained_sent_) {
        drained_sent_ = true;
        send(lock, {.type = StreamFrameType::kDrained, .a = received_});
        continue;
      }
      idle_ = true;
      changed_.notify_all();
      wait(lock, false, 0, -1);
      continue;
    }
    // Asked once: the guest reads on, and whether to look again has to be decided on what was told.
    const std::uint64_t used = consumed();
    StreamFrame credit;
    if (channel_ && !broken_ && credit_due(used, credit)) {
      credit_forced_ = false;
      credit_sent_ = credit;
      send(lock, credit);
      continue;
    }
    if (channel_ && broken_ && !broken_sent_) {
      broken_sent_ = true;
      send(lock, {.type = StreamFrameType::kBroken});
      continue;
    }
    // The guest's pipe is kept until the guest has read it: it may have to be taken back.
    if (eof_ && pending_.empty() && used == received_ && !finished_ && !broken_) {
      fd_.reset();  // the reader sees the end
      finished_ = true;
      changed_.notify_all();
      continue;
    }
    tick_ms = used != last_consumed ? kTickMsMin : std::min(tick_ms * 2, eof_ ? 5 : kTickMsMax);
    last_consumed = used;
    const bool unread = guest_reads_ && used < written_;
    const short events = wait(lock, static_cast<bool>(fd_), pending_.empty() ? short{0} : POLLOUT,
                              unread ? tick_ms : -1);
    if (stopped_ || !fd_ || paused_) continue;
    if ((events & POLLERR) != 0) {
      broken_ = true;
    } else if ((events & POLLOUT) != 0 && !pending_.empty()) {
      const ssize_t put = ::write(*fd_, pending_.data(), pending_.size());
      if (put > 0) {
        pending_.erase(0, static_cast<std::size_t>(put));
        written_ += static_cast<std::uint64_t>(put);
        tick_ms = kTickMsMin;
        changed_.notify_all();
      } else if (put < 0 && errno != EAGAIN && errno != EINTR) {
        broken_ = true;
      }
    }
    if (broken_) {
      pending_.clear();
      written_ = received_;
      fd_.reset();
      finished_ = true;
      changed_.notify_all();
    }
  }
}

void Sink::open(bool on_demand) {
  {
    std::lock_guard lock(mutex_);
    if (window_ != Window::kHeld) return;
    window_ = on_demand ? Window::kOnDemand : Window::kFree;
    credit_forced_ = true;
  }
  wake();
}

void Sink::demand(std::uint64_t bytes) {
  {
    std::lock_guard lock(mutex_);
    demand_end_ = std::max(demand_end_, consumed() + bytes);
  }
  wake();
}

bool Sink::drain(int timeout_ms) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(timeout_ms);
  std::unique_lock lock(mutex_);
  if (!paused_) {
    idle_ = false;
    paused_ = true;
    drained_ok_ = false;
    drained_known_ = false;  // whatever connection comes up meanwhile
    wake();
    changed_.wait(lock, [&] { return idle_ || stopped_; });
    if (stopped_) return false;
    if (fd_) {
      // Read the rest back through an own opening of the pipe; nobody else reads now.
      std::uint64_t taken = 0;
      if (const auto reader = reopen_nonblocking(*fd_, O_RDONLY); reader.ok()) {
        char bytes[16 << 10];
        for (;;) {
          const ssize_t got = ::read(**reader, bytes, sizeof(bytes));
          if (got <= 0) break;
          taken += static_cast<std::uint64_t>(got);
        }
      }
      written_ -= std::min(taken, written_);
    }
    pending_.clear();
    received_ = written_;
    eof_ = false;
    drained_known_ = true;
    drained_sent_ = false;
    wake();
  }
  changed_.wait_until(lock, deadline, [&] { return drained_ok_ || stopped_; });
  return drained_ok_;
}

void Sink::resume() {
  {
    std::lock_guard lock(mutex_);
    if (!paused_) return;
    paused_ = false;
    credit_forced_ = true;
    drained_ok_ = false;
  }
  wake();
}

bool Sink::wait_finished(int timeout_ms) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, std::chrono::milliseconds(timeout_ms),
                           [&] { return finished_ || stopped_; });
}

}  // namespace ssi::migrate
