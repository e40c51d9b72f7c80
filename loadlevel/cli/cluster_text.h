// What `cluster` prints, from ssid's answers (docs/control-socket.md). Pure.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

namespace ssi::cli {

// "1: UP 2: DOWN\n"
std::string cluster_text(const nlohmann::json& status);
// A line a node, each beginning "N: UP", "N: DOWN" or "N: JOINING"; the last one says quorum.
std::string cluster_text_long(const nlohmann::json& status);
// "2026-11-22 05:10:00 node 2 (n2) is up\n", in local time.
std::string event_text(const nlohmann::json& event);

}  // namespace ssi::cli
