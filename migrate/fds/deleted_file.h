// Files without a name: deleted, or replaced under the process. They stay the same files, whoever
// else has them: home's carrier holds them, and criu opens that (held_file.h). Rejected: criu's own
// way, which copies the content and makes a new file for a moment at the old name. It would be
// another file than the one that a process at home still has, and seen there.
//
// Pure: what keeps one at home.
#pragma once

#include <string>
#include <string_view>

namespace ssi::fds {

// `target`: as /proc shows it. "" if nothing does.
std::string why_deleted_stays(std::string_view target);

}  // namespace ssi::fds
