// A name for a file in memory that calls_of_criu.cc understands: it is descriptor N of the criu
// that was started. Longer than the kernel allows: where that library is not in effect, no file is
// made, and nobody takes an empty one for the memory. Without the library of C++.
#pragma once

#include <stddef.h>

namespace ssi::migrate {

inline constexpr const char* kGivenMemfdPrefix = "ssid-given:";
inline constexpr size_t kGivenMemfdNameBytes = 300;

}  // namespace ssi::migrate
