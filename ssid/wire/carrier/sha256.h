// SHA-256 of bytes that come in pieces. (OpenSSL stays inside ssid/wire.)
#pragma once

#include <array>
#include <cstdint>
#include <span>

namespace ssi {

using Sha256Digest = std::array<std::uint8_t, 32>;

class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;

  void add(std::span<const std::uint8_t> bytes);
  Sha256Digest finish();  // once

 private:
  void* context_;
};

}  // namespace ssi
