// What is mounted in this mount namespace. Reads the table; never looks at a mount, which could
// hang.
#pragma once

#include <string>
#include <string_view>

namespace ssi {

// How many mounts of that type (as in /proc/self/mountinfo) stand on the directory, one above the
// other.
int mounts_on(const std::string& directory, std::string_view type);

// The type of the file system with that device number; empty if it is mounted nowhere here.
std::string mounted_type(unsigned int major, unsigned int minor);

// Where the cgroups of version 2 are mounted; empty: nowhere.
std::string cgroup2_mount();

}  // namespace ssi
