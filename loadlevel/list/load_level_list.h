// The loadlevellist: programs whose processes are load-levelled wherever and however they are
// started.
//
//     # compressors
//     /usr/bin/xz
//     /usr/bin/zstd        # a comment may follow a blank
//
// Absolute paths, one a line; blank lines and # comments are kept as they are by add and remove.
// Pure text in, text out.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "ssid/base/result.h"

namespace ssi {

class LoadLevelList {
 public:
  struct Problem {
    std::size_t line = 0;  // from 1
    std::string what;      // "line 3: `xz`: not an absolute path"
  };

  // Never fails: wrong lines are kept in the text, take no effect and are told by problems().
  static LoadLevelList parse(std::string_view text);

  // Paths in the order of the file, without duplicates; normalised ("//" and "/./" gone, no final
  // slash).
  const std::vector<std::string>& paths() const { return paths_; }
  const std::vector<Problem>& problems() const { return problems_; }
  bool contains(std::string_view path) const;
  const std::string& text() const { return text_; }

  // The new list. kUsage if the path is no good, or there already (add), or not there (remove).
  Result<LoadLevelList> add(std::string_view path) const;
  Result<LoadLevelList> remove(std::string_view path) const;

 private:
  std::string text_;
  std::vector<std::string> paths_;
  std::vector<Problem> problems_;
};

// The path as the list keeps it, or why it can't be on it.
Result<std::string> normal_path(std::string_view path);

}  // namespace ssi
