// /etc/ssi/ssid.toml: this node's settings. Everything has a default; an empty or missing file will
// do. Who is in the cluster, and at which addresses, is corosync's configuration and not repeated
// here.
//
// Read once when ssid or ssid-carrier starts. What is wrong is one line with file and line number;
// nothing is guessed, and a key that nobody knows is an error and not ignored.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "loadlevel/policy/policy_config.h"
#include "ssid/base/result.h"

namespace ssi {

inline constexpr const char* kConfigPath = "/etc/ssi/ssid.toml";

struct Config {
  // top level
  std::string log_level = "info";  // kLogLevelNames
  std::string run_dir = "/run/ssid";
  std::string state_dir = "/var/lib/ssid";
  std::string socket = "/run/ssid/ssid.sock";  // the control socket

  struct Cluster {
    std::string group = "ssid";  // of corosync; two clusters on one corosync need two names
    std::string key_file = "/etc/corosync/authkey";
    double grace_s =
        10;  // a node that left is waited for so long before its processes are given up
  } cluster;

  struct Link {
    std::string address;  // to listen on; empty: every address of this node
    std::uint16_t port = 7788;
    std::uint16_t carrier_port = 7789;
    double connect_timeout_s = 3;
  } link;

  struct Move {
    std::string criu;           // path; empty: the one that the set-up chose, then $PATH
    double timeout_s = 60;      // the other side of a move is silent so long: it is undone
    std::uint32_t out_max = 4;  // moves away from this node at a time
    std::uint32_t in_max = 4;   // moves to this node at a time
  } move;

  struct LoadLevel {
    bool on = true;         // the balancer of this node, as it starts
    bool accepting = true;  // other nodes' balancers may send processes here
    PolicyConfig policy;    // its keys stand in [loadlevel] too
  } loadlevel;
};

// A file that does not exist is an empty one.
Result<Config> read_config(const std::string& path = kConfigPath);

// The same for a text; `name` stands in the errors for the file.
Result<Config> parse_config(std::string_view text, std::string_view name);

// Every key with its default and meaning, as a commented file that parses to the defaults.
std::string default_config_text();

}  // namespace ssi
