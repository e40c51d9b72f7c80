#include "ssid/config/config_keys.h"

#include <algorithm>
#include <array>
#include <vector>

#include "ssid/base/log.h"

namespace ssi {
namespace {

constexpr std::array kKeys = {
    ConfigKey{"", "log_level", TextOf([](Config& c) -> std::string& { return c.log_level; }),
              kLogLevelNames, TextKind::kLogLevel},
    ConfigKey{"", "run_dir", TextOf([](Config& c) -> std::string& { return c.run_dir; }),
              "sockets and what must outlive ssid but not a boot", TextKind::kPath},
    ConfigKey{"", "state_dir", TextOf([](Config& c) -> std::string& { return c.state_dir; }),
              "what must outlive a boot: this node's copy of /cluster/etc", TextKind::kPath},
    ConfigKey{"", "socket", TextOf([](Config& c) -> std::string& { return c.socket; }),
              "the control socket", TextKind::kPath},

    ConfigKey{"cluster", "group", TextOf([](Config& c) -> std::string& { return c.cluster.group; }),
              "name of the group in corosync", TextKind::kName},
    ConfigKey{"cluster", "key_file",
              TextOf([](Config& c) -> std::string& { return c.cluster.key_file; }),
              "the cluster's key, made by corosync-keygen", TextKind::kPath},
    ConfigKey{"cluster", "grace_s",
              NumberOf([](Config& c) -> double& { return c.cluster.grace_s; }),
              "a node that left is waited for so long before its processes are given up",
              TextKind::kAny, 0, 3600},

    ConfigKey{"link", "address", TextOf([](Config& c) -> std::string& { return c.link.address; }),
              "listen here only; empty: on every address"},
    ConfigKey{"link", "port", PortOf([](Config& c) -> std::uint16_t& { return c.link.port; }),
              "TCP port of ssid on every node", TextKind::kAny, 1, 65535},
    ConfigKey{"link", "carrier_port",
              PortOf([](Config& c) -> std::uint16_t& { return c.link.carrier_port; }),
              "TCP port of ssid-carrier on every node", TextKind::kAny, 1, 65535},
    ConfigKey{"link", "connect_timeout_s",
              NumberOf([](Config& c) -> double& { return c.link.connect_timeout_s; }),
              "for reaching another node", TextKind::kAny, 0.1, 60},

    ConfigKey{"move", "criu", TextOf([](Config& c) -> std::string& { return c.move.criu; }),
              "path of criu; empty: look for it", TextKind::kPathOrEmpty},
    ConfigKey{"move", "timeout_s", NumberOf([](Config& c) -> double& { return c.move.timeout_s; }),
              "a move is undone when the other side is silent for so long", TextKind::kAny, 1,
              3600},
    ConfigKey{"move", "out_max",
              CountOf([](Config& c) -> std::uint32_t& { return c.move.out_max; }),
              "moves away from this node at a time", TextKind::kAny, 1, 64},
    ConfigKey{"move", "in_max", CountOf([](Config& c) -> std::uint32_t& { return c.move.in_max; }),
              "moves to this node at a time", TextKind::kAny, 1, 64},

    ConfigKey{"loadlevel", "on", FlagOf([](Config& c) -> bool& { return c.loadlevel.on; }),
              "whether the balancer starts switched on"},
    ConfigKey{"loadlevel", "accepting",
              FlagOf([](Config& c) -> bool& { return c.loadlevel.accepting; }),
              "whether the balancers of other nodes may send processes to this one"},
};

std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t above = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)});
      diagonal = above;
    }
  }
  return row[b.size()];
}

}  // namespace

std::span<const ConfigKey> config_keys() { return kKeys; }

std::string_view nearest_key(std::string_view section, std::string_view name) {
  std::string_view nearest;
  std::size_t least = 3;  // further away is another word
  const auto look_at = [&](std::string_view candidate) {
    const std::size_t d = distance(name.substr(0, 64), candidate);
    if (d < least && d < candidate.size()) {
      least = d;
      nearest = candidate;
    }
  };
  for (const ConfigKey& key : kKeys) {
    if (key.section == section) look_at(key.name);
    if (section.empty() && !key.section.empty()) look_at(key.section);
  }
  if (section == "loadlevel") {
    for (const PolicyKey& key : policy_keys()) look_at(key.name);
  }
  return nearest;
}

}  // namespace ssi
