// What `cluster` prints, from ssid's answers (docs/control-socket.md). Pure.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

namespace ssi::cli {

// "1: UP 2: DOWN\n"
std::string cluster_text(const nlohmann::json& status);
// A line a node, each beginning "N: UP", "N: DOWN" or "N: JOINING", then DRAINED if it is; the last
// one says quorum.
std::string cluster_text_long(const nlohmann::json& status);
// "2026-11-22 05:10:00 node 2 joined\n", in local time; without a time if the event has none.
std::string event_text(const nlohmann::json& event);
// Those of an answer that has a list of them.
std::string events_text(const nlohmann::json& answer);

}  // namespace ssi::cli
