// Pure: anonymous shared memory in criu's images, which dumps it as files in memory (memfd). One
// that is here already, filled, is given to criu instead of a new one.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "ssid/base/result.h"

namespace ssi::migrate {

inline constexpr const char* kMemfdImage = "memfd.img";
// What criu calls anonymous shared memory, as the kernel does.
inline constexpr const char* kAnonymousMemfdName = "/dev/zero";

// The same, but those with these ids are not made: they are these descriptors of criu. All of them
// must be there, and be such as the kernel makes for anonymous memory.
Result<std::string> with_given_memory(std::string_view image,
                                      const std::map<std::uint64_t, int>& given);

}  // namespace ssi::migrate
