// Time is passed in, so that decisions can be tested without waiting. Monotonic: never goes back,
// has nothing to do with the time of day.
#pragma once

#include <atomic>
#include <cstdint>
#include <ctime>

namespace ssi {

// Role: the one source of time of whatever it is passed to. Thread-safe. Can't fail.
class Clock {
 public:
  virtual ~Clock() = default;
  // Microseconds since some fixed moment in the past (on Linux: boot, without time asleep).
  virtual std::int64_t now_us() const = 0;
  std::int64_t now_ms() const { return now_us() / 1000; }
};

// The machine's own. Used by composition roots only.
class SystemClock final : public Clock {
 public:
  std::int64_t now_us() const override {
    timespec t{};
    ::clock_gettime(CLOCK_MONOTONIC, &t);
    return static_cast<std::int64_t>(t.tv_sec) * 1'000'000 + t.tv_nsec / 1000;
  }
};

// For tests and the simulator: stands still until it is moved.
class ManualClock final : public Clock {
 public:
  explicit ManualClock(std::int64_t start_us = 0) : now_us_(start_us) {}
  std::int64_t now_us() const override { return now_us_.load(std::memory_order_relaxed); }
  void advance_us(std::int64_t us) { now_us_.fetch_add(us, std::memory_order_relaxed); }
  void advance_ms(std::int64_t ms) { advance_us(ms * 1000); }

 private:
  std::atomic<std::int64_t> now_us_;
};

}  // namespace ssi
