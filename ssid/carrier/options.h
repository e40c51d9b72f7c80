// Command line and configuration of ssid-carrier.
#pragma once

#include <optional>
#include <string>

#include "ssid/base/ids.h"
#include "ssid/wire/carrier/carrier_messages.h"

namespace ssi {

struct CarrierOptions {
  NodeId node;
  std::string address;
  std::uint16_t port = kCarrierPort;
  std::string key_file = "/etc/corosync/authkey";
  std::string socket = kCarrierSocket;
  std::string root = "/";
  bool force = false;  // SIGTERM ends it even with views mounted
};

// Empty: the program is to end with `status` (help was shown, or the usage is wrong).
std::optional<CarrierOptions> parse_carrier_options(int argc, char** argv, int& status);

}  // namespace ssi
