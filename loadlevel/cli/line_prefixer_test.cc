#include "loadlevel/cli/line_prefixer.h"

#include <doctest/doctest.h>

using namespace ssi::cli;

TEST_CASE("lines get their prefix, however they come") {
  LinePrefixer lines("2: ");
  CHECK(lines.add("one\ntw") == "2: one\n");
  CHECK(lines.add("o") == "");
  CHECK(lines.add("\n\nlast") == "2: two\n2: \n");
  CHECK(lines.end() == "2: last\n");
  CHECK(lines.end() == "");
}

TEST_CASE("a line without end is not kept for ever") {
  LinePrefixer lines("1: ");
  const std::string text = lines.add(std::string(100 << 10, 'x'));
  CHECK(text == "1: " + std::string(100 << 10, 'x') + "\n");
}
