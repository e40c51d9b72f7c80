#include "loadlevel/list/resolved_list.h"

#include <cstdlib>
#include <memory>

namespace ssi {

std::optional<std::string> resolve_in_file_system(const std::string& path) {
  const std::unique_ptr<char, decltype(&std::free)> real(::realpath(path.c_str(), nullptr),
                                                         &std::free);
  if (!real) return {};
  return std::string(real.get());
}

ResolvedList::ResolvedList(const LoadLevelList& list, const PathResolver& resolve) {
  for (const auto& path : list.paths()) {
    entry_by_exe_.emplace(path, path);
    if (const auto real = resolve(path)) entry_by_exe_.emplace(*real, path);
  }
}

std::string_view ResolvedList::entry_for(std::string_view exe) const {
  const auto at = entry_by_exe_.find(std::string(exe));
  return at == entry_by_exe_.end() ? std::string_view() : std::string_view(at->second);
}

std::set<std::string> ResolvedList::programs() const {
  std::set<std::string> programs;
  for (const auto& [exe, entry] : entry_by_exe_) programs.insert(exe);
  return programs;
}

bool ResolvedList::has_entry(std::string_view entry) const {
  return entry_by_exe_.contains(std::string(entry));
}

}  // namespace ssi
