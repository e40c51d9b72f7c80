// What ssid and libssi agree on.
#pragma once

namespace ssi {

// A process that has a file in memory of this name open is pinned: it stays where it is. The kernel
// tells of it as of any descriptor, wherever the process runs, and whatever it is linked with.
inline constexpr const char* kPinName = "ssi:pin";

}  // namespace ssi
