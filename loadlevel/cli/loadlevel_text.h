// What `loadlevel` prints, from ssid's answers (docs/control-socket.md). Pure.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

namespace ssi::cli {

// "70041: enabled\n"
std::string loadlevel_set_text(const nlohmann::json& answer);
// The balancer on each node, then the enabled processes as a table.
std::string loadlevel_status_text(const nlohmann::json& answer);
// "70041: on node 1, home 1, enabled" and the reasons, one a line.
std::string loadlevel_why_text(const nlohmann::json& answer);
// "balancer: 1: on 2: off\n"
std::string loadlevel_balancer_text(const nlohmann::json& answer);
// The paths, one a line.
std::string loadlevel_list_text(const nlohmann::json& answer);

}  // namespace ssi::cli
