// Cutting messages into the parts that go through the group one by one, and putting them together
// again.
//
// A message is delivered with its last part. When the view changes in between, everybody forgets
// the parts so far and the sender sends all of it again: so a node that joins in the middle gets
// the whole message or nothing, like everybody else in its view. He waits with that until every
// part that he sent before has come back to himself (what one sends always does): they may still
// have made a whole message in the new view. To keep the order of one sender's messages, nothing is
// sent behind a message of several parts until it is done.
//
// Pure; one thread, owned by a driver.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <span>
#include <vector>

#include "ssid/base/ids.h"
#include "ssid/base/result.h"

namespace ssi {

// The head of every part; 32 bytes, little endian.
struct PartHead {
  static constexpr std::size_t kBytes = 32;

  std::uint64_t number =
      0;  // of the message, counted by the sender; a message sent again gets a new one
  std::uint32_t part = 0;
  std::uint32_t parts = 1;
  std::uint32_t message_bytes = 0;

  void write(std::span<std::uint8_t, kBytes> to) const;
  // Checks everything that can be checked by itself.
  static Result<PartHead> read(std::span<const std::uint8_t> frame);
};

class Outbox {
 public:
  struct Limits {
    std::size_t part_bytes_max;
    std::size_t message_bytes_max;
    std::size_t queue_bytes_max;
  };
  explicit Outbox(Limits limits) : limits_(limits) {}

  Result<> push(std::span<const std::uint8_t> message);
  // The next frame to hand to the group; empty: nothing to send now. Valid until the next call of
  // anything.
  std::span<const std::uint8_t> next();
  // The frame has been taken by the group.
  void sent();
  // A frame of ours has come back; `whole`: and with it the message was delivered.
  void came_back(std::span<const std::uint8_t> frame, bool whole);
  void view_changed();
  // We are in no group any more.
  void clear();

  std::size_t queued_bytes() const { return queued_bytes_; }

 private:
  struct Message {
    std::vector<std::uint8_t> bytes;
    std::uint64_t number = 0;
    std::uint32_t parts = 1;
    std::uint32_t parts_sent = 0;
    std::uint32_t parts_back = 0;
    bool again = false;  // once all that was sent is back
  };
  void start_again(Message& message);

  Limits limits_;
  std::deque<Message>
      queue_;  // the front one may be partly sent, or wholly and not back (several parts)
  std::vector<std::uint8_t> frame_;
  std::uint64_t last_number_ = 0;
  std::size_t queued_bytes_ = 0;
};

class Inbox {
 public:
  explicit Inbox(std::size_t message_bytes_max) : message_bytes_max_(message_bytes_max) {}

  // A message, valid until the next call; nullopt: more parts to come, or the start of it was not
  // seen.
  Result<std::optional<std::span<const std::uint8_t>>> add(NodeId from,
                                                           std::span<const std::uint8_t> frame);
  void view_changed() { partial_.clear(); }

 private:
  struct Partial {
    std::uint64_t number = 0;
    std::uint32_t parts = 0;
    std::uint32_t next_part = 0;
    std::uint32_t message_bytes = 0;
    std::vector<std::uint8_t> bytes;
  };

  std::size_t message_bytes_max_;
  std::map<NodeId, Partial> partial_;
  std::vector<std::uint8_t> whole_;
};

}  // namespace ssi
