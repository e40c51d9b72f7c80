#include "loadlevel/cli/remote_run.h"

#include <doctest/doctest.h>

using namespace ssi;
using namespace ssi::cli;

TEST_CASE("runon: what belongs to it, and what to the command") {
  auto run = parse_remote_run({"2", "ls", "-p", "--", "x"});
  REQUIRE(run.ok());
  CHECK(run->node == "2");
  CHECK(!run->pinned);
  CHECK(run->command == std::vector<std::string>{"ls", "-p", "--", "x"});

  run = parse_remote_run({"-p", "best", "--", "-odd-name"});
  REQUIRE(run.ok());
  CHECK(run->pinned);
  CHECK(run->node == "best");
  CHECK(run->command == std::vector<std::string>{"-odd-name"});
}

TEST_CASE("runon: what is wrong is said") {
  const auto why = [](std::vector<std::string> arguments) {
    const auto run = parse_remote_run(arguments);
    REQUIRE_FALSE(run.ok());
    CHECK(run.error().code() == ErrorCode::kUsage);
    return run.error().message();
  };
  CHECK(why({}) == "NODE is missing (see --help)");
  CHECK(why({"2"}) == "CMD is missing (see --help)");
  CHECK(why({"2", "--"}) == "CMD is missing (see --help)");
  CHECK(why({"-x", "2", "ls"}) == "unknown option -x (see --help)");
}
