// A library that is loaded into criu, and answers some of its calls (calls_of_criu.cc): where it
// rebuilds, memory that is here already is given to it (memfd_image.h); where root lacks
// CAP_SYS_RESOURCE (in a container), a criu that dumps processes of other users reads their limits
// in /proc.
//
// Rejected: a criu with the real uid and gid of the process, to which the kernel does tell them. It
// has only one, and the processes of a tree may be of several users.
#pragma once

#include <string>

namespace ssi::migrate {

// What it is called, beside ssid's programs and in criu's bundle.
inline constexpr const char* kCriuLibrary = "ssid-criu-calls.so";

bool criu_needs_limits();

struct CriuFiles {
  std::string program;
  std::string library;
};

}  // namespace ssi::migrate
