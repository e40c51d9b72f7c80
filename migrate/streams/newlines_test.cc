#include "migrate/streams/newlines.h"

#include <doctest/doctest.h>

using namespace ssi::migrate;

TEST_CASE("returns before newlines go, others stay") {
  CHECK(without_returns("a\r\nb\rc\n\r\n") == "a\nb\rc\n\n");
  CHECK(without_returns("end\r") == "end\r");
  CHECK(without_returns("\r\r\n") == "\r\n");
}

TEST_CASE("what was written is counted in what was given") {
  const std::string text = "ab\r\ncd\r\n";
  CHECK(bytes_before_returns_went(text, 0) == 0);
  CHECK(bytes_before_returns_went(text, 2) == 2);
  CHECK(bytes_before_returns_went(text, 3) == 4);
  CHECK(bytes_before_returns_went(text, without_returns(text).size()) == text.size());
}
