#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <utility>

#include "migrate/streams/stream_end.h"

namespace ssi::migrate {
namespace {

constexpr int kTickMsMin = 1;
constexpr int kTickMsMax = 50;

}  // namespace

Sink::Sink(UniqueFd fd, std::uint64_t capacity, bool guest_reads,
           std::unique_ptr<StreamDevice> device)
    : StreamEnd(std::move(fd), std::move(device)),
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
  return written_ - std::min(written_, device_->unread(*fd_));
}

bool Sink::credit_due(std::uint64_t used, StreamFrame& credit) const {
  credit = {.type = StreamFrameType::kCredit,
            .a = guest_reads_ ? used : received_,
            .b = window_ == Window::kFree ? used + capacity_ : std::max(received_, demand_end_),
            .c = written_,
            .d = state_set_};
  if (eof_) credit.flags = StreamFrame::kEofSeen;
  if (credit_forced_ || credit.flags != credit_sent_.flags || credit.d != credit_sent_.d) {
    return true;
  }
  if (window_ != Window::kFree && credit.b != credit_sent_.b) return true;
  if (credit.b - credit_sent_.b >= capacity_ / 4) return true;
  if (device_->tells_what_is_read() && credit.a != credit_sent_.a) return true;
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
      if (guest_reads_ && device_->piecewise()) demand_end_ = std::min(demand_end_, received_);
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
    case StreamFrameType::kTerminal: {
      if (!device_->has_state() || data.size() != sizeof(TerminalState)) return false;
      TerminalState state;
      std::memcpy(&state, data.data(), sizeof state);
      state_ = state;
      state_at_ = received_;
      state_number_ = frame.b;
      ++states_;
      break;
    }
    default:
      return false;
  }
  lock.unlock();
  wake_all();
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
      device_->end_writing(*fd_);
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
      if (fd_) device_->end_writing(*fd_);
      fd_.reset();  // the reader sees the end
      finished_ = true;
      changed_.notify_all();
      continue;
    }
    if (channel_ && ask_state_) {
      ask_state_ = false;
      send(lock, {.type = StreamFrameType::kTerminalAsk});
      continue;
    }
    bool state_waits = false;
    if (state_ && written_ >= state_at_ && fd_) {
      state_waits = !device_->set_state(*fd_, *state_);
      if (!state_waits) {
        state_.reset();
        state_set_ = state_number_;
        changed_.notify_all();
        continue;
      }
    }
    tick_ms = used != last_consumed ? kTickMsMin : std::min(tick_ms * 2, eof_ ? 5 : kTickMsMax);
    last_consumed = used;
    const bool unread = guest_reads_ && used < written_;
    const short events = wait(lock, static_cast<bool>(fd_), pending_.empty() ? short{0} : POLLOUT,
                              unread        ? tick_ms
                              : state_waits ? kTickMsMax
                                            : -1);
    if (stopped_ || !fd_ || paused_) continue;
    if (device_->unreadable(events)) {
      broken_ = true;
    } else if ((events & POLLOUT) != 0 && !pending_.empty()) {
      const ssize_t put = device_->write(*fd_, pending_.data(), writable_now());
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

// Up to where the terminal is set anew.
std::size_t Sink::writable_now() const {
  if (!state_ || state_at_ <= written_) return pending_.size();
  return std::min<std::size_t>(pending_.size(), state_at_ - written_);
}

bool Sink::refresh_state(int timeout_ms) {
  std::unique_lock lock(mutex_);
  const std::uint64_t before = states_;
  ask_state_ = true;
  wake();
  return changed_.wait_for(lock, std::chrono::milliseconds(timeout_ms),
                           [&] { return stopped_ || finished_ || (states_ > before && !state_); });
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
    const std::uint64_t used = consumed();
    if (device_->piecewise() && used < received_) return;
    demand_end_ = std::max(demand_end_, used + bytes);
  }
  wake();
}

bool Sink::expect_messages(std::size_t waiting) {
  std::lock_guard lock(mutex_);
  return !fd_ || device_->expect_messages(*fd_, waiting);
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
      const std::uint64_t taken = device_->take_back(*fd_);
      // Never below what home was told to have been read.
      const std::uint64_t before = written_;
      written_ = std::max(written_ - std::min(taken, written_), credit_sent_.a);
      if (device_->keeps_what_is_taken_back()) left_there_ = before - written_;
    }
    pending_.clear();
    received_ = written_;
    eof_ = false;
    drained_known_ = true;
    drained_sent_ = false;
    wake();
  }
  const auto over = [&] { return finished_ && home_lacks_it_; };
  changed_.wait_until(lock, deadline, [&] { return drained_ok_ || stopped_ || over(); });
  return drained_ok_;
}

void Sink::resume() {
  {
    std::lock_guard lock(mutex_);
    if (!paused_) return;
    paused_ = false;
    received_ = written_ += std::exchange(left_there_, 0);
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
