// A byte buffer for one frame. Grows, never shrinks and never clears what it grows by, so that a
// buffer of 1 MiB is reused by a connection without being zeroed for every frame. Not thread-safe.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string_view>
#include <type_traits>

namespace ssi {

class FrameBuffer {
 public:
  std::uint8_t* data() { return bytes_.get(); }
  const std::uint8_t* data() const { return bytes_.get(); }
  std::size_t size() const { return size_; }
  std::span<const std::uint8_t> span() const { return {bytes_.get(), size_}; }
  void clear() { size_ = 0; }

  void reserve(std::size_t capacity) {
    if (capacity <= capacity_) return;
    const std::size_t wanted = capacity + capacity / 2;
    std::unique_ptr<std::uint8_t[]> bigger(new std::uint8_t[wanted]);
    if (size_ > 0) std::memcpy(bigger.get(), bytes_.get(), size_);
    bytes_ = std::move(bigger);
    capacity_ = wanted;
  }
  // New bytes are not initialised: the caller writes them.
  void resize(std::size_t size) {
    reserve(size);
    size_ = size;
  }
  void append(const void* bytes, std::size_t size) {
    if (size == 0) return;
    reserve(size_ + size);
    std::memcpy(bytes_.get() + size_, bytes, size);
    size_ += size;
  }
  void append(std::string_view text) { append(text.data(), text.size()); }
  // A fixed little-endian structure as it stands in memory.
  template <typename T>
  requires std::is_trivially_copyable_v<T> &&
      (!std::is_convertible_v<T, std::string_view>)void append(const T& value) {
    append(&value, sizeof(value));
  }

 private:
  std::unique_ptr<std::uint8_t[]> bytes_;
  std::size_t size_ = 0;
  std::size_t capacity_ = 0;
};

// Reads fixed structures and strings from the front of a received frame; every read is checked, and
// a reader that failed once stays failed.
class ByteReader {
 public:
  explicit ByteReader(std::span<const std::uint8_t> bytes) : rest_(bytes) {}

  bool ok() const { return ok_; }
  bool done() const { return ok_ && rest_.empty(); }  // all of it was understood
  std::size_t left() const { return rest_.size(); }

  template <typename T>
  requires std::is_trivially_copyable_v<T> T get() {
    T value{};
    const auto bytes = take(sizeof(T));
    if (bytes.size() == sizeof(T)) std::memcpy(&value, bytes.data(), sizeof(T));
    return value;
  }
  std::span<const std::uint8_t> take(std::size_t size) {
    if (!ok_ || size > rest_.size()) {
      ok_ = false;
      return {};
    }
    const auto taken = rest_.first(size);
    rest_ = rest_.subspan(size);
    return taken;
  }
  std::string_view text(std::size_t size) {
    const auto bytes = take(size);
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
  std::span<const std::uint8_t> rest() { return take(rest_.size()); }

 private:
  std::span<const std::uint8_t> rest_;
  bool ok_ = true;
};

}  // namespace ssi
