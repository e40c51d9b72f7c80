// A small file as a whole, such as those of /proc. Any thread.
#pragma once

#include <fstream>
#include <iterator>
#include <string>

namespace ssi {

// Empty: there is none, or it can't be read.
inline std::string text_of_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace ssi
