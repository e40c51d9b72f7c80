// The mark that `loadlevel run` leaves in the environment of what it starts, for those that look
// for it (loadlevel/tracker/environ_mark.h).
#pragma once

namespace ssi {

inline constexpr const char* kEnvironMarkName = "SSI_LOADLEVEL";
inline constexpr const char* kEnvironMarkValue = "run";

}  // namespace ssi
