// Columns of text, each as wide as its widest cell. Pure.
#pragma once

#include <string>
#include <vector>

namespace ssi::cli {

enum class Align { kLeft, kRight };

struct Column {
  std::string title;
  Align align = Align::kLeft;
};

// Rows have as many cells as there are columns. The last column is not padded. No title line if
// `titles` is false.
std::string table_text(const std::vector<Column>& columns,
                       const std::vector<std::vector<std::string>>& rows, bool titles = true);

}  // namespace ssi::cli
