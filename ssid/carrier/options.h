// What ssid-carrier goes by: ssid.toml, and its command line, which is stronger.
#pragma once

#include <optional>
#include <string>

#include "ssid/base/ids.h"
#include "ssid/base/log.h"
#include "ssid/wire/carrier/carrier_messages.h"

namespace ssi {

struct CarrierOptions {
  NodeId node;
  std::string config;  // where it was read
  LogLevel log_level = LogLevel::kInfo;
  std::string address;  // to listen at; empty: every one
  std::uint16_t port = kCarrierPort;
  std::string key_file = "/etc/corosync/authkey";
  std::string socket = kCarrierSocket;
  std::string root = "/";
  bool nodes = false;  // only shows the nodes at /cluster/node, for the carrier that started it
  bool force = false;  // SIGTERM ends it even with views mounted
};

// Empty: the program is to end with `status` (help was shown, or usage or settings are wrong and a
// line on stderr has said so).
std::optional<CarrierOptions> parse_carrier_options(int argc, char** argv, int& status);

}  // namespace ssi
