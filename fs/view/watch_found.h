// Which files of a view somebody watches (inotify). FUSE is not told of it; the kernel says it in
// /proc/PID/fdinfo, where it names a file of a view as the view does. Any thread.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>

namespace ssi::fs {

// By the number with which the kernel names the file to the view: the events that are waited for.
using WatchedFiles = std::map<std::uint64_t, std::uint32_t>;

// Adds those that the text of an fdinfo names; `device` as stat(2) says it. Pure.
void add_watched(std::string_view fdinfo, std::uint64_t device, WatchedFiles& found);

// Of these processes' descriptors. Who is gone has none.
WatchedFiles find_watched(const std::set<pid_t>& processes, std::uint64_t device);

// The cgroup v2 of a thread, as a path below the hierarchy; empty: it is gone. Pure: the text of
// /proc/PID/cgroup.
std::string cgroup_in(std::string_view text);

}  // namespace ssi::fs
