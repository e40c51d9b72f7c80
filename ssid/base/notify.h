// Tells the service manager (systemd: $NOTIFY_SOCKET) how it goes; does nothing without one.
#pragma once

#include <string_view>

namespace ssi {
void notify_manager(std::string_view state);  // "READY=1", "STOPPING=1"
}
