#include "migrate/streams/messages.h"

#include <algorithm>
#include <array>
#include <numeric>

namespace ssi::migrate {

void append_message(std::string& stream, std::string_view message) {
  for (std::size_t i = 0; i < kMessageHead; ++i) {
    stream.push_back(static_cast<char>(message.size() >> (8 * i) & 0xff));
  }
  stream.append(message);
}

std::size_t MessageAssembler::length() const {
  std::size_t length = 0;
  for (std::size_t i = 0; i < kMessageHead; ++i) {
    length |= std::size_t{static_cast<std::uint8_t>(begun_[i])} << (8 * i);
  }
  return length;
}

std::size_t MessageAssembler::wanted(std::string_view bytes) const {
  const std::size_t all = has_head() ? kMessageHead + length() : kMessageHead;
  return std::min(all - begun_.size(), bytes.size());
}

std::uint64_t UnreadMessages::stream_bytes(std::uint64_t bytes_waiting) {
  std::uint64_t waiting = 0, in_stream = 0;
  std::size_t count = 0;
  while (waiting < bytes_waiting && count < sizes_.size()) {
    ++count;
    waiting += sizes_[sizes_.size() - count];
    in_stream += kMessageHead + sizes_[sizes_.size() - count];
  }
  sizes_.erase(sizes_.begin(), sizes_.end() - static_cast<std::ptrdiff_t>(count));
  return in_stream;
}

std::uint64_t UnreadMessages::stream_bytes_of_all() const {
  return std::accumulate(sizes_.begin(), sizes_.end(), kMessageHead * sizes_.size());
}

}  // namespace ssi::migrate
