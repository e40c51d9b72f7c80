#include "migrate/pages/sent_pages.h"

#include <xxhash.h>

#include <utility>

namespace ssi::migrate {

SentPages::Hash SentPages::hash_of(const std::uint8_t* page) {
  const XXH128_hash_t hash = XXH3_128bits(page, kPageBytes);
  return {hash.low64, hash.high64};
}

bool SentPages::is_news(PageOwner owner, std::uint64_t address, const std::uint8_t* page) {
  const std::uint64_t number = address / kPageBytes;
  auto& part = parts_[owner][number / kPagesPerPart];
  if (!part) part = std::make_unique<Part>();
  const Hash now = hash_of(page);
  return std::exchange((*part)[number % kPagesPerPart], now) != now;
}

}  // namespace ssi::migrate
