// The keys of ssid.toml as one table: reading, checking and the documented default file come from
// it.
#pragma once

#include <span>
#include <string_view>
#include <variant>

#include "ssid/config/config.h"

namespace ssi {

// Each alternative finds the value in a Config.
using TextOf = std::string& (*)(Config&);
using FlagOf = bool& (*)(Config&);
using PortOf = std::uint16_t& (*)(Config&);
using CountOf = std::uint32_t& (*)(Config&);
using NumberOf = double& (*)(Config&);

enum class TextKind { kAny, kPath, kPathOrEmpty, kName, kLogLevel };

struct ConfigKey {
  std::string_view section;  // empty: top level
  std::string_view name;
  std::variant<TextOf, FlagOf, PortOf, CountOf, NumberOf> value;
  std::string_view meaning;
  TextKind kind = TextKind::kAny;
  double least = 0;  // of numbers
  double most = 0;
};

std::span<const ConfigKey> config_keys();

// "log_level" is meant by "loglevel": the nearest of the section's keys, or empty if none is near.
std::string_view nearest_key(std::string_view section, std::string_view name);

}  // namespace ssi
