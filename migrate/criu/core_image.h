// Pure: what is read from criu's image of a thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "ssid/base/result.h"

namespace ssi::migrate {

// `tid`: a thread's; the process's is that of its first.
inline std::string core_image_name(int tid) { return "core-" + std::to_string(tid) + ".img"; }

// The numbers of the signals that waited for the thread, or for its process; one for each signal.
Result<std::vector<int>> signals_in_core(std::string_view image);

}  // namespace ssi::migrate
