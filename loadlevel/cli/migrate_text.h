// What `migrate` prints, from ssid's answers (docs/control-socket.md). Pure.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

namespace ssi::cli {

// "70041: 1 -> 2, frozen 41 ms, 64 MiB\n"
std::string migrate_text(const nlohmann::json& answer);
// The same and "70041: check 0.8 ms, freeze 0.4 ms, dump 12 ms, send 3.1 ms, restore 15 ms, commit
// 2 ms\n"
std::string migrate_text_with_steps(const nlohmann::json& answer);
// "70041: waiting: it is being moved\n"
std::string migrate_progress_text(const nlohmann::json& part);

}  // namespace ssi::cli
