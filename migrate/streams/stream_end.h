// One end of a moved pipe, in the carrier of the node where that end is. A source reads a
// descriptor and sends; a sink receives and writes to a descriptor. Each has a thread that moves
// bytes; frames come from the thread that reads the connection, which calls on_frame(). A
// connection may be lost and replaced at any time: positions say what is missing, and the source
// keeps what may be asked for again.
//
//     guest writes:  [guest] pipe -> Source (target) ==== Sink (home) -> pipe [reader at home]
//     guest reads:   [writer at home] pipe -> Source (home) ==== Sink (target) -> pipe [guest]
//
// Thread-safe. Owned by the table of exports (home) or of attachments (target).
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "migrate/streams/stream_device.h"
#include "migrate/streams/stream_wire.h"
#include "ssid/base/unique_fd.h"
#include "ssid/wire/carrier/channel.h"

namespace ssi::migrate {

using StreamChannel = std::shared_ptr<Channel>;

class StreamEnd {
 public:
  virtual ~StreamEnd() = default;

  // A frame that came on that connection; false: it makes no sense, or the connection is not in use
  // any more (what it still brings is out of date): it must end.
  virtual bool on_frame(const Channel* channel, const StreamFrame& frame, ByteSpan data) = 0;

  // Uses this connection from now on; the other end goes on from `position`.
  void connect(StreamChannel channel, std::uint64_t position);
  // How far this end has come; what a restarted carrier at home is told.
  std::uint64_t position() const;
  // That connection is gone (another one may be in use already).
  void disconnect(const Channel* channel);

  // The other end is gone for good: a reader here sees the end of file, a writer a broken pipe.
  void give_up();
  // Nothing will come or go any more: end of file was passed on, or nobody reads.
  bool finished() const;
  // And home, asked last, has let go of the stream.
  bool over_at_home() const;
  void set_home_lacks_it(bool lacks);
  // Of its descriptor. kGone: it has none any more.
  Result<UniqueFd> duplicate() const;

 protected:
  // `fd`: opened for this end alone, non-blocking. No device: a pipe.
  StreamEnd(UniqueFd fd, std::unique_ptr<StreamDevice> device);
  void start(void (*run)(StreamEnd&));
  void stop();  // by the destructor of the derived class

  virtual void on_connect(std::uint64_t position) = 0;  // mutex_ held
  virtual std::uint64_t position_locked() const = 0;

  // The pump thread.
  void wake();
  // It, and whoever waits for a change.
  void wake_all();
  // Sends without holding the lock; false: the connection is gone.
  bool send(std::unique_lock<std::mutex>& lock, const StreamFrame& frame, ByteSpan data = {});
  // Waits for events on fd (if wanted), a wake-up, or the timeout (-1: none). Returns revents of
  // fd.
  short wait(std::unique_lock<std::mutex>& lock, bool want_fd, short events, int timeout_ms);

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  const std::unique_ptr<StreamDevice> device_;
  UniqueFd fd_;
  StreamChannel channel_;
  bool stopped_ = false;
  bool finished_ = false;
  bool home_lacks_it_ = false;  // at the last attempt to reach it
  bool gone_ = false;           // the pump closes fd_, which it may be waiting on

 private:
  UniqueFd wake_;
  std::thread thread_;
};

// Reads the descriptor and sends what it read.
class Source final : public StreamEnd {
 public:
  // `keep_until_read`: at home: bytes are kept until the guest itself has read them.
  Source(UniqueFd fd, bool keep_until_read, std::unique_ptr<StreamDevice> device = nullptr);
  ~Source() override { stop(); }

  bool on_frame(const Channel* channel, const StreamFrame& frame, ByteSpan data) override;

  // Everything that is in the pipe now is at the other end afterwards; `written`: and in its pipe,
  // and its terminal is set. False: not in time.
  bool drain(int timeout_ms, bool written);
  // The terminal is the guest's from now on: its settings count.
  void open();
  // Where a new sink has to begin.
  std::uint64_t base() const;
  // Nobody writes any more, but the other end does not have everything yet.
  bool ending() const;

 private:
  static void run(StreamEnd& end);
  void run();
  void on_connect(std::uint64_t position) override;
  std::uint64_t position_locked() const override { return base_; }
  void drop_below(std::uint64_t position);
  void tell_state(std::uint64_t position);
  void send_state(std::unique_lock<std::mutex>& lock);
  std::uint64_t end() const { return base_ + buffer_.size(); }
  // Up to where of `limit` may be sent without tearing a return from its newline, which may be on
  // its way for a moment.
  std::uint64_t before_torn_newline(std::uint64_t limit) const;
  bool awaits_newline() const;

  const bool keep_until_read_;
  std::string buffer_;  // bytes from base_ on
  std::uint64_t base_ = 0;
  std::uint64_t sent_ = 0;
  std::uint64_t rewinds_ = 0;  // grows whenever sent_ is set anew
  std::uint64_t window_end_ = 0;
  std::uint64_t written_ = 0;  // by the other end to its pipe
  bool eof_ = false;
  bool eof_sent_ = false;
  bool held_ = true;  // no credit came since the connection or a drain: nobody listens
  bool draining_ = false;
  bool emptied_ = false;  // since draining began, the pipe was found empty
  bool reply_drained_ = false;
  std::chrono::steady_clock::time_point newline_until_{};
  bool opened_;             // the device's state is worth telling
  bool state_due_ = false;  // to be told when everything below state_at_ is sent
  std::uint64_t state_at_ = 0;
  std::uint64_t states_sent_ = 0;
  std::uint64_t states_set_ = 0;  // by the other end
};

// Receives and writes to the descriptor.
class Sink final : public StreamEnd {
 public:
  // `guest_reads`: the pipe is the guest's, and what it has not read does not count as consumed.
  // Such a sink asks for nothing before open(): until the commit the bytes are home's.
  Sink(UniqueFd fd, std::uint64_t capacity, bool guest_reads,
       std::unique_ptr<StreamDevice> device = nullptr);
  ~Sink() override { stop(); }

  bool on_frame(const Channel* channel, const StreamFrame& frame, ByteSpan data) override;

  // From now on bytes are taken from home: a pipe full ahead of the guest, or (`on_demand`, because
  // others read the same pipe at home) not one more than demand() says that it waits for.
  void open(bool on_demand);
  void demand(std::uint64_t bytes);
  // StreamDevice::expect_messages().
  bool expect_messages(std::size_t waiting);
  // Takes back what the (frozen) guest has not read and tells home. False: home was not told in
  // time; it may be called again.
  bool drain(int timeout_ms);
  // After drain(): goes on after all.
  void resume();
  // Terminals: asks home how it is set now, and sets the guest's so. False: not in time.
  bool refresh_state(int timeout_ms);
  // Where the source has to go on. A sink that has not received anything believes what the source
  // says
  // (`source_position`): home's carrier was restarted, and only the source knows how far it was.
  std::uint64_t received(std::uint64_t source_position);
  // Waits until everything received is in the pipe and the end was seen.
  bool wait_finished(int timeout_ms);

 private:
  static void run(StreamEnd& end);
  void run();
  void on_connect(std::uint64_t position) override;
  std::uint64_t position_locked() const override { return received_; }
  enum class Window { kHeld, kOnDemand, kFree };
  bool credit_due(std::uint64_t used, StreamFrame& credit) const;
  std::uint64_t consumed() const;
  std::size_t writable_now() const;

  const std::uint64_t capacity_;
  const bool guest_reads_;
  Window window_;
  std::uint64_t demand_end_ = 0;  // kOnDemand: the guest waits for the bytes below
  std::string pending_;           // received, not yet written
  std::uint64_t received_ = 0;
  std::uint64_t written_ = 0;
  bool eof_ = false;
  bool broken_ = false;
  bool broken_sent_ = false;
  bool credit_forced_ = false;  // also when nothing changed
  StreamFrame credit_sent_;
  bool paused_ = false;         // drained
  bool idle_ = true;            // the pump thread is not inside a write
  bool drained_known_ = false;  // how far the guest has read, for good
  bool drained_sent_ = false;
  bool drained_ok_ = false;
  std::uint64_t left_there_ = 0;  // by the drain: what the guest reads first if it stays
  // Terminals: as the source said, to be set when everything below state_at_ is written.
  std::optional<TerminalState> state_;
  std::uint64_t state_at_ = 0;
  std::uint64_t state_number_ = 0;
  std::uint64_t state_set_ = 0;  // the number of the last one that was
  std::uint64_t states_ = 0;     // that came
  bool ask_state_ = false;
};

// An own, non-blocking opening of the pipe (or terminal) that `fd` is: flags of an open file are
// shared with everybody who holds it, so O_NONBLOCK must not be set on the original.
Result<UniqueFd> reopen_nonblocking(int fd, int access_mode);

}  // namespace ssi::migrate
