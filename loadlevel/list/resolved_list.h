// The list as the kernel would say it: /proc/PID/exe names the file behind all symbolic links, so
// /usr/bin/python3 on the list has to match /usr/bin/python3.11.
#pragma once

#include <functional>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>

#include "loadlevel/list/load_level_list.h"

namespace ssi {

// Follows symbolic links; nullopt if the file does not exist (yet).
using PathResolver = std::function<std::optional<std::string>(const std::string&)>;
std::optional<std::string> resolve_in_file_system(const std::string& path);  // realpath(3)

// Role: answers "is this program on the list?". Pure but for the resolver passed in. Links change
// when packages are upgraded: make a new one now and then.
class ResolvedList {
 public:
  ResolvedList() = default;
  ResolvedList(const LoadLevelList& list, const PathResolver& resolve);

  // The line of the list that names the program `exe`, as it stands there; empty if none does.
  std::string_view entry_for(std::string_view exe) const;
  // Whether a line with this path is there.
  bool has_entry(std::string_view entry) const;
  // The programs: paths as they stand there, and what they lead to.
  std::set<std::string> programs() const;
  bool operator==(const ResolvedList&) const = default;

 private:
  std::unordered_map<std::string, std::string> entry_by_exe_;
};

}  // namespace ssi
