// What `cluster drain` and `cluster bring` print, from ssid's answers (docs/control-socket.md).
// Pure.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

namespace ssi::cli {

// "70041: 2 -> 1, frozen 41 ms, 64 MiB\n" of a part about a process; "" of another.
std::string drain_part_text(const nlohmann::json& part);
// "[=====>              ] 12 of 50" of a part with progress; "" of another, or if there is nothing
// to do.
std::string drain_bar(const nlohmann::json& part);
// "70041: stays: a device is open: /dev/kvm\n", a line each, and the last line:
// "node 2 is drained: 49 moved, 1 stays, 1 of other nodes; `cluster bring 2` opens it again\n"
std::string drain_text(const nlohmann::json& answer);
// "node 2 takes guests again\n"
std::string bring_text(const nlohmann::json& answer);
// What is said when somebody has had enough of watching.
std::string drain_interrupted_text(const std::string& node, bool drained);

}  // namespace ssi::cli
