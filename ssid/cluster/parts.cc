#include "ssid/cluster/parts.h"

#include <algorithm>

namespace ssi {
namespace {

constexpr std::uint64_t kMagic = 0x3130545241504953;  // "SIPART01"

template <typename T>
void put(std::uint8_t* to, T value) {
  for (std::size_t i = 0; i < sizeof(T); ++i) to[i] = static_cast<std::uint8_t>(value >> (8 * i));
}

template <typename T>
T get(const std::uint8_t* from) {
  T value = 0;
  for (std::size_t i = 0; i < sizeof(T); ++i) value |= static_cast<T>(from[i]) << (8 * i);
  return value;
}

}  // namespace

void PartHead::write(std::span<std::uint8_t, kBytes> to) const {
  put(&to[0], kMagic);
  put(&to[8], number);
  put(&to[16], part);
  put(&to[20], parts);
  put(&to[24], message_bytes);
  put(&to[28], std::uint32_t{0});
}

Result<PartHead> PartHead::read(std::span<const std::uint8_t> frame) {
  if (frame.size() < kBytes || get<std::uint64_t>(&frame[0]) != kMagic) {
    return Error(ErrorCode::kRefused, "a message that is not of ssid");
  }
  const PartHead head{.number = get<std::uint64_t>(&frame[8]),
                      .part = get<std::uint32_t>(&frame[16]),
                      .parts = get<std::uint32_t>(&frame[20]),
                      .message_bytes = get<std::uint32_t>(&frame[24])};
  const bool whole = head.parts == 1 && frame.size() - kBytes == head.message_bytes;
  const bool part = head.parts > 1 && head.part < head.parts && frame.size() > kBytes &&
                    frame.size() - kBytes < head.message_bytes;
  if (!whole && !part) return Error(ErrorCode::kRefused, "a damaged message");
  return head;
}

Result<> Outbox::push(std::span<const std::uint8_t> message) {
  if (message.size() > limits_.message_bytes_max) return Error("message too long for the group");
  if (queued_bytes_ + message.size() > limits_.queue_bytes_max) {
    return Error("too many messages are waiting for the group");
  }
  const std::size_t parts = std::max<std::size_t>(
      1, (message.size() + limits_.part_bytes_max - 1) / limits_.part_bytes_max);
  queue_.push_back({.bytes = {message.begin(), message.end()},
                    .number = ++last_number_,
                    .parts = static_cast<std::uint32_t>(parts)});
  queued_bytes_ += message.size();
  return {};
}

std::span<const std::uint8_t> Outbox::next() {
  if (queue_.empty() || queue_.front().again) return {};
  if (queue_.front().parts_sent == queue_.front().parts) return {};
  const Message& message = queue_.front();
  const std::size_t from = message.parts_sent * limits_.part_bytes_max;
  const std::size_t size = std::min(limits_.part_bytes_max, message.bytes.size() - from);
  frame_.resize(PartHead::kBytes + size);
  PartHead{.number = message.number,
           .part = message.parts_sent,
           .parts = message.parts,
           .message_bytes = static_cast<std::uint32_t>(message.bytes.size())}
      .write(std::span(frame_).first<PartHead::kBytes>());
  std::copy_n(message.bytes.begin() + static_cast<std::ptrdiff_t>(from), size,
              frame_.begin() + PartHead::kBytes);
  return frame_;
}

void Outbox::sent() {
  SSI_CHECK(!queue_.empty());
  Message& message = queue_.front();
  ++message.parts_sent;
  if (message.parts > 1) return;  // kept until it has come back
  queued_bytes_ -= message.bytes.size();
  queue_.pop_front();
}

void Outbox::came_back(std::span<const std::uint8_t> frame, bool whole) {
  const auto head = PartHead::read(frame);
  if (!head || head->parts == 1 || queue_.empty()) return;
  Message& message = queue_.front();
  if (message.number != head->number) return;
  ++message.parts_back;
  if (whole) {
    queued_bytes_ -= message.bytes.size();
    queue_.pop_front();
  } else if (message.again && message.parts_back == message.parts_sent) {
    start_again(message);
  }
}

void Outbox::view_changed() {
  if (queue_.empty() || queue_.front().parts_sent == 0) return;
  Message& message = queue_.front();
  message.again = true;
  if (message.parts_back == message.parts_sent) start_again(message);
}

void Outbox::start_again(Message& message) {
  message.number = ++last_number_;
  message.parts_sent = 0;
  message.parts_back = 0;
  message.again = false;
}

void Outbox::clear() {
  queue_.clear();
  queued_bytes_ = 0;
}

Result<std::optional<std::span<const std::uint8_t>>> Inbox::add(
    NodeId from, std::span<const std::uint8_t> frame) {
  using Whole = std::optional<std::span<const std::uint8_t>>;
  SSI_ASSIGN(const PartHead head, PartHead::read(frame));
  const auto body = frame.subspan(PartHead::kBytes);
  if (head.message_bytes > message_bytes_max_) {
    return Error(ErrorCode::kRefused, "a message beyond the limit");
  }
  if (head.parts == 1) return Whole(body);

  Partial& partial = partial_[from];
  if (head.part == 0) {
    partial = {.number = head.number,
               .parts = head.parts,
               .next_part = 0,
               .message_bytes = head.message_bytes,
               .bytes = {}};
  } else if (partial.number != head.number || partial.next_part != head.part ||
             partial.parts != head.parts || partial.message_bytes != head.message_bytes) {
    return Whole();  // the rest of one that is sent again
  }
  partial.bytes.insert(partial.bytes.end(), body.begin(), body.end());
  ++partial.next_part;
  const bool last = partial.next_part == partial.parts;
  if (partial.bytes.size() > partial.message_bytes ||
      (last && partial.bytes.size() != partial.message_bytes)) {
    partial_.erase(from);
    return Error(ErrorCode::kRefused, "a damaged message");
  }
  if (!last) return Whole();
  whole_ = std::move(partial.bytes);
  partial_.erase(from);
  return Whole(whole_);
}

}  // namespace ssi
