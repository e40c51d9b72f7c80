// The list on disk: read, and replaced in one piece, so that nobody ever reads half of it.
#pragma once

#include <string>

#include "loadlevel/list/load_level_list.h"

namespace ssi {

inline constexpr const char* kLoadLevelListPath = "/etc/ssi/loadlevellist";

// A file that does not exist is an empty list. Refuses what is no regular file or larger than 1
// MiB.
Result<LoadLevelList> read_list(const std::string& path);

// Writes beside the file and renames, keeping its mode and owner; makes the last directory of the
// path if it is missing. A symbolic link stays one: the file it names is replaced.
Result<> write_list(const std::string& path, const LoadLevelList& list);

}  // namespace ssi
