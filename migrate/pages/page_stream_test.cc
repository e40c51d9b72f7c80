#include "migrate/pages/page_stream.h"

#include <doctest/doctest.h>

#include <cstring>
#include <random>
#include <string>
#include <vector>

namespace ssi::migrate {
namespace {

struct Recorder : PageStreamHandler {
  std::string log;
  std::uint64_t bytes = 0;
  Result<> on_open(PageOwner o) override {
    log += "open " + std::to_string(o.id) + ";";
    return {};
  }
  Result<> on_run(const PageRun& r) override {
    log += "run " + std::to_string(r.pages) + ";";
    return {};
  }
  Result<> on_data(std::span<const std::uint8_t> b) override {
    bytes += b.size();
    return {};
  }
  Result<> on_parent_query(PageOwner) override {
    log += "parent;";
    return {};
  }
  Result<> on_close() override {
    log += "close;";
    return {};
  }
};

void put(std::vector<std::uint8_t>& out, std::uint32_t cmd, std::uint64_t pages,
         std::uint64_t vaddr, std::uint64_t dst) {
  const std::size_t at = out.size();
  out.resize(at + PageStreamParser::kHeaderBytes);
  std::memcpy(&out[at], &cmd, 4);
  std::memcpy(&out[at + 8], &pages, 8);
  std::memcpy(&out[at + 16], &vaddr, 8);
  std::memcpy(&out[at + 24], &dst, 8);
}

std::vector<std::uint8_t> sample() {
  std::vector<std::uint8_t> s;
  put(s, 4, 0, 0, (7u << 8) | 1);
  put(s, (4u << 16) | 6, 2, 0x1000, (7u << 8) | 1);
  s.resize(s.size() + 2 * kPageBytes, 0xab);
  put(s, (2u << 16) | 6, 5, 0x9000, (7u << 8) | 1);  // lazy only: no data follows
  put(s, 0x1023, 0, 0, 0);
  return s;
}

}  // namespace

TEST_CASE("a page stream reads the same however it is cut") {
  const auto stream = sample();
  for (const std::size_t step :
       {std::size_t{1}, std::size_t{7}, std::size_t{4096}, stream.size()}) {
    Recorder r;
    PageStreamParser parser(r);
    for (std::size_t at = 0; at < stream.size(); at += step) {
      const std::size_t n = std::min(step, stream.size() - at);
      REQUIRE(parser.feed({stream.data() + at, n}).ok());
    }
    CHECK(r.log == "open 7;run 2;run 5;close;");
    CHECK(r.bytes == 2 * kPageBytes);
    CHECK(parser.closed());
  }
}

TEST_CASE("a damaged page stream is refused or read, never worse") {
  std::mt19937 random(20);
  for (int round = 0; round < 20000; ++round) {
    auto stream = sample();
    for (int i = 0; i < 3; ++i) stream[random() % 64] = static_cast<std::uint8_t>(random());
    Recorder r;
    PageStreamParser parser(r);
    (void)parser.feed(stream);
  }
}

TEST_CASE("pages without an owner and bytes after the end are errors") {
  std::vector<std::uint8_t> s;
  put(s, (4u << 16) | 6, 1, 0x1000, 1);
  Recorder r;
  CHECK(!PageStreamParser(r).feed(s).ok());
  s = sample();
  s.push_back(0);
  PageStreamParser parser(r);
  CHECK(!parser.feed(s).ok());
}

}  // namespace ssi::migrate
