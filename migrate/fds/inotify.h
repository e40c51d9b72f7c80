// An inotify instance that goes along: one that watches nothing, with nothing left to be read. criu
// makes another one, and where the process goes a view tells it of what is watched from then on
// (fs/view/watch_news.h). Watches stay: between the dump and the restore nobody would listen for
// them, and criu drops what was not read.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace ssi::fds {

// How many watches the text of an fdinfo names. Pure.
std::size_t watches_in(std::string_view fdinfo);

// As the end of a sentence; none: nothing stands against it. Pure.
std::optional<std::string> inotify_why_not(std::size_t watches, int unread_bytes);

}  // namespace ssi::fds
