// Messages (of seqpacket sockets) as the bytes of a stream: 4 bytes of length, little-endian, then
// the message. Pure.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>

namespace ssi::migrate {

inline constexpr std::size_t kMessageBytesMax = 1 << 20;
inline constexpr std::size_t kMessageHead = 4;

// `message`: at most kMessageBytesMax.
void append_message(std::string& stream, std::string_view message);

// Puts messages together again.
class MessageAssembler {
 public:
  // How many of `bytes` belong to the message that has begun, or begins. 0: there are none.
  std::size_t wanted(std::string_view bytes) const;
  void take(std::string_view bytes) { begun_.append(bytes); }
  // The last ones were taken by mistake.
  void untake(std::size_t bytes) { begun_.resize(begun_.size() - bytes); }

  // Its length makes no sense.
  bool broken() const { return has_head() && length() > kMessageBytesMax; }
  bool complete() const { return has_head() && begun_.size() == kMessageHead + length(); }
  // Of one that is complete.
  std::string_view message() const { return std::string_view(begun_).substr(kMessageHead); }
  void next() { begun_.clear(); }

  std::size_t bytes_begun() const { return begun_.size(); }

 private:
  bool has_head() const { return begun_.size() >= kMessageHead; }
  std::size_t length() const;

  std::string begun_;
};

// How much of what was written is not read yet, as bytes of the stream, from what the kernel tells:
// the bytes of all messages that wait.
class UnreadMessages {
 public:
  void written(std::size_t message_bytes) { sizes_.push_back(message_bytes); }
  // Empty messages that were written before all that wait count as read. Forgets what was read.
  std::uint64_t stream_bytes(std::uint64_t bytes_waiting);
  std::uint64_t stream_bytes_of_all() const;

 private:
  std::deque<std::size_t> sizes_;  // the newest at the end
};

}  // namespace ssi::migrate
