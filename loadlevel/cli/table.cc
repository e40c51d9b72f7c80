#include "loadlevel/cli/table.h"

#include <algorithm>

#include "ssid/base/check.h"

namespace ssi::cli {

std::string table_text(const std::vector<Column>& columns,
                       const std::vector<std::vector<std::string>>& rows, bool titles) {
  std::vector<std::string> heads;
  std::vector<std::size_t> widths;
  for (const Column& column : columns) {
    heads.push_back(column.title);
    widths.push_back(titles ? column.title.size() : 0);
  }
  for (const auto& row : rows) {
    SSI_CHECK(row.size() == columns.size());
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string text;
  const auto add = [&](const std::vector<std::string>& cells) {
    for (std::size_t i = 0; i < cells.size(); ++i) {
      const std::size_t pad = widths[i] - cells[i].size();
      const bool right = columns[i].align == Align::kRight;
      const bool last = i + 1 == cells.size();
      text += (i > 0 ? " " : "") + (right ? std::string(pad, ' ') : "") + cells[i] +
              (!right && !last ? std::string(pad, ' ') : "");
    }
    text += "\n";
  };
  if (titles) add(heads);
  for (const auto& row : rows) add(row);
  return text;
}

}  // namespace ssi::cli
