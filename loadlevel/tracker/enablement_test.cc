#include "loadlevel/tracker/enablement.h"

#include <doctest/doctest.h>

#include <random>

using namespace ssi;
using Source = Enablement::Source;

TEST_CASE("reasons in words") {
  CHECK(Enablement{.on = true, .by_uid = 1000}.reason() == "enabled by uid 1000");
  CHECK(Enablement{.on = false}.reason() == "disabled by uid 0");
  CHECK(Enablement{.on = false, .pinned = true, .by_uid = 7}.reason() == "pinned by uid 7");
  CHECK(Enablement{.on = true, .source = Source::kInherited, .from = "70041"}.reason() ==
        "inherited from 70041");
  CHECK(Enablement{.on = true, .source = Source::kList, .from = "/usr/bin/xz"}.reason() ==
        "on the list: /usr/bin/xz");
}

TEST_CASE("written lines are read back; garbage is refused") {
  const Enablement all[] = {
      {.on = true, .by_uid = 4294967295},
      {.on = false, .by_uid = 1},
      {.on = false, .pinned = true, .by_uid = 1},
      {.on = true, .source = Source::kInherited, .from = "1:345", .arrived = true},
      {.on = true, .source = Source::kList, .from = "/a b%\n\t\x7f\xc3\xa4"}};
  for (const auto& e : all) {
    CAPTURE(e.to_line());
    CHECK(e.to_line().find('\n') == std::string::npos);
    const auto back = Enablement::from_line(e.to_line());
    REQUIRE(back);
    CHECK(*back == e);
  }
  for (const char* bad : {"", "on", "on user here 5", "on user here =", "maybe user here 5 =",
                          "on user here 99999999999 =", "on user here 5 =%2", "on user here 5 =%zz",
                          "on user here 5 =a b", "on nobody here 5 =", "on user there 5 ="}) {
    CAPTURE(bad);
    CHECK_FALSE(Enablement::from_line(bad));
  }
  std::mt19937 random(3);
  for (int round = 0; round < 20000; ++round) {
    std::string line = all[random() % std::size(all)].to_line();
    for (auto n = random() % 4; n > 0 && !line.empty(); --n) {
      line[random() % line.size()] = static_cast<char>(random());
    }
    if (const auto e = Enablement::from_line(line)) {
      const auto back = Enablement::from_line(e->to_line());
      REQUIRE(back);
      CHECK(*back == *e);
    }
  }
}
