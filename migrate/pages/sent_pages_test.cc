#include "migrate/pages/sent_pages.h"

#include <doctest/doctest.h>

#include <vector>

namespace ssi::migrate {

TEST_CASE("sent pages: a page is news once, and again when it has changed") {
  SentPages sent;
  const PageOwner process{PageOwner::Kind::kProcess, 7}, memory{PageOwner::Kind::kShmem, 7};
  std::vector<std::uint8_t> page(kPageBytes);
  CHECK(sent.is_news(process, 0x7f0000001000, page.data()));  // zeros are a content, too
  CHECK(!sent.is_news(process, 0x7f0000001000, page.data()));
  CHECK(sent.is_news(process, 0x7f0000002000, page.data()));
  CHECK(sent.is_news(memory, 0x7f0000001000, page.data()));
  page.back() = 1;
  CHECK(sent.is_news(process, 0x7f0000001000, page.data()));
  CHECK(!sent.is_news(process, 0x7f0000001000, page.data()));
  page.back() = 0;  // as it was, but not as it was sent last
  CHECK(sent.is_news(process, 0x7f0000001000, page.data()));
  CHECK(!sent.is_news(memory, 0x7f0000001000, page.data()));
}

}  // namespace ssi::migrate
