// What `loadlevel` prints, from ssid's answers (docs/control-socket.md). Pure.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

namespace ssi::cli {

// "70041: enabled\n"
std::string loadlevel_set_text(const nlohmann::json& answer);
// The balancer and a table of this node's enabled processes; or "70041: enabled, on node 1: by uid
// 0\n".
std::string loadlevel_status_text(const nlohmann::json& answer);
// "70041: on node 1\n", what stops it from moving, and the reasons, one a line.
std::string loadlevel_why_text(const nlohmann::json& answer);
// "balancer: 1: on 2: on\n"
std::string loadlevel_balancer_text(const nlohmann::json& answer);
// The paths, one a line; lines of the file that are no paths as comments.
std::string loadlevel_list_text(const nlohmann::json& answer);

}  // namespace ssi::cli
