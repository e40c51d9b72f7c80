// Where root lacks CAP_SYS_RESOURCE (in a container), a criu that dumps processes of other users is
// given a library that reads their limits in /proc (limits_for_criu.cc).
//
// Rejected: a criu with the real uid and gid of the process, to which the kernel does tell them. It
// has only one, and the processes of a tree may be of several users.
#pragma once

#include <string>

namespace ssi::migrate {

// What it is called, beside ssid's programs and in criu's bundle.
inline constexpr const char* kCriuLimitsLibrary = "ssid-criu-limits.so";

bool criu_needs_limits_library();

struct CriuFiles {
  std::string program;
  std::string limits_library;
};

}  // namespace ssi::migrate
