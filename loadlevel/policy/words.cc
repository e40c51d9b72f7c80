#include "loadlevel/policy/words.h"

#include <array>
#include <cstdarg>
#include <cstdio>

namespace ssi {

std::string words(const char* format, ...) {
  std::array<char, 512> text;
  va_list arguments;
  va_start(arguments, format);
  const int size = std::vsnprintf(text.data(), text.size(), format, arguments);
  va_end(arguments);
  if (size < 0) return {};
  return {text.data(), std::min(static_cast<std::size_t>(size), text.size() - 1)};
}

std::string reasons_words(const std::vector<std::string>& reasons) {
  std::string all;
  for (const std::string& r : reasons) all += (all.empty() ? "" : "; ") + r;
  return all;
}

std::string node_words(NodeId id) { return "node " + std::to_string(id.value); }

std::string bytes_words(double bytes) {
  if (bytes < 1024.0 * 1024) return words("%.0f KiB", bytes / 1024);
  if (bytes < 1024.0 * 1024 * 1024) return words("%.0f MiB", bytes / (1024.0 * 1024));
  return words("%.1f GiB", bytes / (1024.0 * 1024 * 1024));
}

std::string seconds_words(double seconds) {
  if (seconds < 1) return words("%.0f ms", seconds * 1000);
  if (seconds < 120) return words("%.1f s", seconds);
  return words("%.0f min", seconds / 60);
}

std::string cpus_words(int cpus) { return cpus == 1 ? "1 CPU" : std::to_string(cpus) + " CPUs"; }

}  // namespace ssi
