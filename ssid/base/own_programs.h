// Which programs are ssid itself: never moved, never enabled, their load counted apart.
#pragma once

#include <string_view>

namespace ssi {

// By the path of the executable, or its name: ssid's programs, criu, and corosync.
bool is_own_program(std::string_view exe);
bool is_deputy_program(std::string_view exe);

}  // namespace ssi
