// Pure: puts a prefix before each line of what comes in pieces.
#pragma once

#include <string>
#include <string_view>

namespace ssi::cli {

class LinePrefixer {
 public:
  explicit LinePrefixer(std::string prefix) : prefix_(std::move(prefix)) {}
  // What is to be printed now: whole lines. A line that gets too long is printed in pieces.
  std::string add(std::string_view piece);
  // The rest, as a line.
  std::string end();

 private:
  std::string prefix_;
  std::string line_;
};

}  // namespace ssi::cli
