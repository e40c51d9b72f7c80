#include "ssid/config/config.h"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <fstream>
#include <optional>
#include <sstream>

#include "ssid/base/log.h"
#include "ssid/config/config_keys.h"

#define TOML_EXCEPTIONS 0
#include <toml++/toml.h>

namespace ssi {
namespace {

constexpr std::size_t kFileBytesMax = 1u << 20;

class ConfigReader {
 public:
  explicit ConfigReader(std::string_view name) : name_(name) {}

  Result<Config> read(std::string_view text) {
    const toml::parse_result parsed = toml::parse(text);
    if (!parsed) {
      return wrong(parsed.error().source(), std::string(parsed.error().description()));
    }
    SSI_TRY(read_section("", parsed.table()));
    return config_;
  }

 private:
  Error wrong(const toml::source_region& where, const std::string& what) const {
    return Error(ErrorCode::kUsage, name_ + ":" + std::to_string(where.begin.line) + ": " + what);
  }

  static bool is_section(std::string_view name) {
    return std::any_of(config_keys().begin(), config_keys().end(),
                       [name](const ConfigKey& key) { return key.section == name; });
  }

  Result<> read_section(std::string_view section, const toml::table& table) {
    for (const auto& [key, node] : table) {
      const std::string_view name = key.str();
      if (section.empty() && is_section(name)) {
        if (!node.is_table())
          return wrong(key.source(), quoted(name) + " is a section: [" + std::string(name) + "]");
        SSI_TRY(read_section(name, *node.as_table()));
        continue;
      }
      SSI_TRY(read_key(section, name, key.source(), node));
    }
    return {};
  }

  static std::string quoted(std::string_view name) { return "\"" + std::string(name) + "\""; }

  Result<> read_key(std::string_view section, std::string_view name, const toml::source_region& at,
                    const toml::node& node) {
    for (const ConfigKey& key : config_keys()) {
      if (key.section == section && key.name == name) return set(key, at, node);
    }
    if (section == "loadlevel") {
      const auto policy = policy_keys();
      if (std::any_of(policy.begin(), policy.end(),
                      [name](const PolicyKey& key) { return key.name == name; })) {
        const auto number = node.value<double>();
        if (!node.is_number() || !number) return wrong(at, quoted(name) + " must be a number");
        if (auto done = set_policy_key(config_.loadlevel.policy, name, *number); !done) {
          return wrong(at, done.error().message());
        }
        return {};
      }
    }
    std::string what = node.is_table() ? "unknown section [" + std::string(name) + "]"
                                       : "unknown key " + quoted(name);
    if (!section.empty()) what += " in [" + std::string(section) + "]";
    if (const auto meant = nearest_key(section, name); !meant.empty()) {
      what += "; did you mean " + quoted(meant) + "?";
    }
    return wrong(at, what);
  }

  Result<> set(const ConfigKey& key, const toml::source_region& at, const toml::node& node) {
    const std::string name = quoted(key.name);
    if (const auto* text_of = std::get_if<TextOf>(&key.value)) {
      if (!node.is_string()) return wrong(at, name + " must be a text in quotes");
      const std::string text = node.as_string()->get();
      if (const auto why = unfit(key.kind, text)) return wrong(at, name + " " + *why);
      (*text_of)(config_) = text;
      return {};
    }
    if (const auto* flag_of = std::get_if<FlagOf>(&key.value)) {
      if (!node.is_boolean()) return wrong(at, name + " must be true or false");
      (*flag_of)(config_) = node.as_boolean()->get();
      return {};
    }
    const auto* number_of = std::get_if<NumberOf>(&key.value);
    const bool right_type = number_of != nullptr ? node.is_number() : node.is_integer();
    const double number = right_type ? node.value<double>().value_or(NAN) : NAN;
    if (!(number >= key.least && number <= key.most)) {
      std::ostringstream what;
      what << name << " must be a" << (number_of != nullptr ? "" : " whole") << " number from "
           << key.least << " to " << key.most;
      return wrong(at, what.str());
    }
    if (number_of != nullptr) {
      (*number_of)(config_) = number;
    } else if (const auto* port_of = std::get_if<PortOf>(&key.value)) {
      (*port_of)(config_) = static_cast<std::uint16_t>(number);
    } else {
      std::get<CountOf>(key.value)(config_) = static_cast<std::uint32_t>(number);
    }
    return {};
  }

  static std::optional<std::string> unfit(TextKind kind, const std::string& text) {
    switch (kind) {
      case TextKind::kAny:
        return std::nullopt;
      case TextKind::kPathOrEmpty:
        if (text.empty()) return std::nullopt;
        [[fallthrough]];
      case TextKind::kPath:
        if (text.starts_with('/')) return std::nullopt;
        return "must be an absolute path";
      case TextKind::kName:
        if (!text.empty() && text.size() < 128) return std::nullopt;
        return "must have 1 to 127 characters";
      case TextKind::kLogLevel:
        if (parse_log_level(text)) return std::nullopt;
        return "must be " + std::string(kLogLevelNames);
    }
    return std::nullopt;
  }

  std::string name_;
  Config config_;
};

std::string number_text(double value) {
  std::ostringstream text;
  text << value;
  return text.str();
}

}  // namespace

Result<Config> parse_config(std::string_view text, std::string_view name) {
  return ConfigReader(name).read(text);
}

Result<Config> read_config(const std::string& path) {
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    if (errno == ENOENT) return Config{};
    return Error::from_errno(path);
  }
  std::string text(kFileBytesMax + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (file.bad()) return Error(path + ": can't be read");
  text.resize(static_cast<std::size_t>(file.gcount()));
  if (text.size() > kFileBytesMax) return Error(ErrorCode::kUsage, path + ": longer than 1 MiB");
  return parse_config(text, path);
}

std::string default_config_text() {
  Config defaults;
  std::ostringstream out;
  out << "# " << kConfigPath << ": settings of this node. All have defaults; an empty file does.\n"
      << "# Who is in the cluster and at which address is said in /etc/corosync/corosync.conf.\n";
  std::string_view section;
  const auto line = [&out](std::string_view name, const std::string& value,
                           std::string_view meaning) {
    out << "\n# " << meaning << "\n#" << name << " = " << value << "\n";
  };
  for (const ConfigKey& key : config_keys()) {
    if (key.section != section) {
      section = key.section;
      out << "\n[" << section << "]\n";
    }
    struct Text {
      Config& c;
      std::string operator()(TextOf of) const { return "\"" + of(c) + "\""; }
      std::string operator()(FlagOf of) const { return of(c) ? "true" : "false"; }
      std::string operator()(PortOf of) const { return std::to_string(of(c)); }
      std::string operator()(CountOf of) const { return std::to_string(of(c)); }
      std::string operator()(NumberOf of) const { return number_text(of(c)); }
    };
    line(key.name, std::visit(Text{defaults}, key.value), key.meaning);
  }
  // [loadlevel] is the last section of the table.
  for (const PolicyKey& key : policy_keys()) {
    line(key.name, number_text(defaults.loadlevel.policy.*key.member), key.meaning);
  }
  return out.str();
}

}  // namespace ssi
