#include "loadlevel/list/load_level_list.h"

#include <doctest/doctest.h>

#include <random>

using namespace ssi;

namespace {
constexpr const char* kText =
    "# compressors\n"
    "/usr/bin/xz\n"
    "\n"
    "  /usr//bin/./zstd\t # fast\r\n"
    "xz\n"
    "/usr/bin/xz\n"
    "/opt/c#/bin\n"
    "/usr/../bin/sh\n"
    "/usr/bin/\n"
    "/last";
}

TEST_CASE("paths are read, wrong lines are named and take no effect") {
  const auto list = LoadLevelList::parse(kText);
  CHECK(list.paths() ==
        std::vector<std::string>{"/usr/bin/xz", "/usr/bin/zstd", "/opt/c#/bin", "/last"});
  REQUIRE(list.problems().size() == 4);
  CHECK(list.problems()[0].line == 5);
  CHECK(list.problems()[0].what == "line 5: `xz`: not an absolute path");
  CHECK(list.problems()[1].what == "line 6: `/usr/bin/xz`: there already");
  CHECK(list.problems()[2].what == "line 8: `/usr/../bin/sh`: contains `..`");
  CHECK(list.problems()[3].what == "line 9: `/usr/bin/`: a directory, not a program");
  CHECK(list.contains("/last"));
  CHECK_FALSE(list.contains("xz"));
}

TEST_CASE("adding keeps everything else as it was") {
  const auto list = LoadLevelList::parse(kText);
  const auto more = list.add("/usr/bin//gcc");
  REQUIRE(more.ok());
  CHECK(more->text() == std::string(kText) + "\n/usr/bin/gcc\n");
  CHECK(more->contains("/usr/bin/gcc"));
  CHECK_FALSE(more->add("/usr/bin/gcc").ok());
  CHECK(LoadLevelList::parse("").add("/a")->text() == "/a\n");
  for (const char* bad :
       {"", "gcc", "./gcc", "/", "//", "/a/../b", "/a\nb", "/a/", "/a #b", "/a "}) {
    CAPTURE(bad);
    const auto refused = list.add(bad);
    REQUIRE_FALSE(refused.ok());
    CHECK(refused.error().code() == ErrorCode::kUsage);
  }
  CHECK_FALSE(list.add("/" + std::string(5000, 'a')).ok());
  CHECK(list.add("gcc").error().message() == "`gcc`: not an absolute path");
}

TEST_CASE("removing takes all lines of the path, and nothing else") {
  const auto less = LoadLevelList::parse(kText).remove("/usr/bin/xz");
  REQUIRE(less.ok());
  CHECK(less->text() ==
        "# compressors\n\n  /usr//bin/./zstd\t # "
        "fast\r\nxz\n/opt/c#/bin\n/usr/../bin/sh\n/usr/bin/\n/last");
  CHECK(less->remove("/usr/bin/zstd")->paths() == std::vector<std::string>{"/opt/c#/bin", "/last"});
  CHECK(less->remove("/last")->text().ends_with("/usr/bin/\n"));
  CHECK_FALSE(less->remove("/usr/bin/xz").ok());
}

TEST_CASE("garbage never crashes, and what add wrote is read back") {
  std::mt19937 random(11);
  for (int round = 0; round < 3000; ++round) {
    std::string text;
    for (auto n = random() % 80; n > 0; --n) text += "/ab#\n\t .\r\0\xff"[random() % 12];
    const auto list = LoadLevelList::parse(text);
    CHECK(list.text() == text);
    for (const auto& path : list.paths()) {
      const auto without = list.remove(path);
      REQUIRE(without.ok());
      CHECK_FALSE(without->contains(path));
      CHECK(without->paths().size() == list.paths().size() - 1);
    }
    const auto more = list.add(text);
    if (more) CHECK(more->paths().size() == list.paths().size() + 1);
  }
}
