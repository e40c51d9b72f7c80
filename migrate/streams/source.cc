#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>

#include "migrate/streams/stream_end.h"

namespace ssi::migrate {
namespace {

constexpr std::size_t kPieceBytes = 64 << 10;
constexpr std::uint64_t kWindowBytesMax = 64 << 20;  // whatever the other end allows
// A guest in the background that wants to read is looked at so often.
constexpr int kBackgroundMs = 100;
// The kernel makes a return and a newline at once, but may hand them over one by one.
constexpr int kNewlineMs = 10;

ByteSpan bytes_of(const std::string& text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

}  // namespace

Source::Source(UniqueFd fd, bool keep_until_read, std::unique_ptr<StreamDevice> device)
    : StreamEnd(std::move(fd), std::move(device)),
      keep_until_read_(keep_until_read),
      opened_(keep_until_read) {
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
  // Home's is told when the guest's side asks for it.
  if (device_->has_state() && !keep_until_read_) tell_state(sent_);
}

void Source::open() {
  {
    std::lock_guard lock(mutex_);
    opened_ = true;
    if (device_->has_state()) tell_state(sent_);
  }
  wake();
}

// mutex_ is held.
void Source::tell_state(std::uint64_t position) {
  state_at_ = state_due_ ? std::min(state_at_, position) : position;
  state_due_ = true;
}

void Source::send_state(std::unique_lock<std::mutex>& lock) {
  state_due_ = false;
  const auto state = device_->state(*fd_);
  if (!state) return;
  send(lock, {.type = StreamFrameType::kTerminal, .a = sent_, .b = ++states_sent_},
       {reinterpret_cast<const std::uint8_t*>(&*state), sizeof *state});
}

void Source::drop_below(std::uint64_t position) {
  if (position <= base_) return;
  if (keep_until_read_ && position > end()) return;
  if (fd_) device_->drop(*fd_, position - base_);
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
      if (frame.a > end() || frame.c > end() || frame.d > states_sent_) return false;
      drop_below(frame.a);
      held_ = false;
      window_end_ =
          std::clamp(frame.b, window_end_, std::max(window_end_, base_ + kWindowBytesMax));
      written_ = std::max(written_, frame.c);
      states_set_ = std::max(states_set_, frame.d);
      // What a guest reads may have to be sent again to its next node; what it wrote is at home for
      // good.
      if (!keep_until_read_ && (frame.flags & StreamFrame::kEofSeen) != 0 && eof_) finished_ = true;
      break;
    case StreamFrameType::kBroken:
      // Nobody reads: whoever writes to us must learn it.
      finished_ = true;
      gone_ = true;
      break;
    case StreamFrameType::kTerminalAsk:
      if (!device_->has_state()) return false;
      tell_state(sent_);
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
  wake_all();
  return true;
}

std::uint64_t Source::base() const {
  std::lock_guard lock(mutex_);
  return base_;
}

bool Source::ending() const {
  std::lock_guard lock(mutex_);
  if (finished_ || !fd_) return false;
  return eof_ || device_->writers_gone(*fd_);
}

bool Source::awaits_newline() const {
  return device_->has_returns() && !buffer_.empty() && buffer_.back() == '\r' && !draining_ &&
         !eof_ && std::chrono::steady_clock::now() < newline_until_;
}

std::uint64_t Source::before_torn_newline(std::uint64_t limit) const {
  if (!device_->has_returns() || limit <= sent_ || buffer_[limit - base_ - 1] != '\r') return limit;
  const bool torn = limit < end() ? buffer_[limit - base_] == '\n' : awaits_newline();
  return torn ? limit - 1 : limit;
}

void Source::run() {
  std::string piece;
  std::unique_lock lock(mutex_);
  while (!stopped_) {
    if (gone_ && fd_) {
      device_->end_reading(*fd_);
      fd_.reset();
      base_ = end();
      buffer_.clear();
    }
    if (channel_ && reply_drained_) {
      reply_drained_ = false;
      send(lock, {.type = StreamFrameType::kDrainedOk});
      continue;
    }
    if (channel_ && fd_ && opened_ && state_due_ && sent_ >= state_at_) {
      send_state(lock);
      continue;
    }
    std::uint64_t limit = draining_ ? end() : std::min(end(), window_end_);
    limit = before_torn_newline(std::min<std::uint64_t>(limit, sent_ + kPieceBytes));
    if (opened_ && state_due_) limit = std::min(limit, std::max(state_at_, sent_));
    if (channel_ && sent_ < limit && !finished_) {
      const std::size_t size = limit - sent_;
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
    const bool want = fd_ && !eof_ && !finished_ && (emptying || end() < window_end_) &&
                      !device_->waits_for_reader();
    if (want && !emptying && !device_->may_read(*fd_)) {
      wait(lock, false, 0, kBackgroundMs);
      continue;
    }
    const bool tries = emptying || (want && (device_->hides_its_end() || device_->holds_more()));
    const short events = wait(lock, want, POLLIN, tries ? 0 : awaits_newline() ? kNewlineMs : -1);
    if (stopped_ || !want || !fd_) continue;
    if (events == 0 && !tries) continue;
    // It may be the shell's by now, whose user has typed this.
    if (!emptying && !device_->may_read(*fd_)) continue;
    const std::size_t room =
        emptying
            ? kPieceBytes
            : std::min<std::uint64_t>(kPieceBytes, window_end_ > end() ? window_end_ - end() : 0);
    if (room == 0) continue;
    const std::size_t had = buffer_.size();
    buffer_.resize(had + room);
    const ssize_t got = device_->read(*fd_, buffer_.data() + had, room);
    const int error = errno;
    buffer_.resize(had + static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
    if (device_->state_changed()) tell_state(end());
    if (got > 0 && keep_until_read_ && device_->piecewise())
      window_end_ = std::min(window_end_, end());
    if (got > 0) {
      newline_until_ = std::chrono::steady_clock::now() + std::chrono::milliseconds(kNewlineMs);
    }
    if (got == 0) eof_ = true;
    if (got < 0 && error != EAGAIN && error != EINTR) eof_ = true;  // a terminal that hung up
    if (emptying && (eof_ || (got < 0 && error == EAGAIN))) emptied_ = true;
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
    if (!emptied_ || (written ? written_ : base_) < end()) return false;
    return !written || (!state_due_ && states_set_ == states_sent_);
  });
  draining_ = false;
  return done && !stopped_;
}

}  // namespace ssi::migrate
