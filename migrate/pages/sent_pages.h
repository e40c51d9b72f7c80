// What the target has of a unit's memory, by content: a hash of each page as it was sent last. So
// it needs no watching of writes, which the kernel does for one process's private memory only, and
// nothing is missed of processes that begin and end meanwhile.
//
// XXH3, 128 bits: two different contents of one page are told apart but for one case in 2^128.
// Owned by one mover's thread at a time.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>

#include "migrate/pages/page_stream.h"

namespace ssi::migrate {

class SentPages {
 public:
  // Whether the target lacks this content of the page; it has it from now on.
  bool is_news(PageOwner owner, std::uint64_t address, const std::uint8_t* page);

 private:
  static constexpr std::uint64_t kPagesPerPart = 512;
  struct Hash {
    std::uint64_t low = 0;  // both 0: nothing was sent
    std::uint64_t high = 0;
    bool operator==(const Hash&) const = default;
  };
  using Part = std::array<Hash, kPagesPerPart>;
  static Hash hash_of(const std::uint8_t* page);

  std::map<PageOwner, std::map<std::uint64_t, std::unique_ptr<Part>>> parts_;
};

}  // namespace ssi::migrate
