// What home has to know of a process that a guest of its has started away from it: as JSON between
// nodes, read from /proc where it runs. Plain values and functions; any thread.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "ssid/base/ids.h"
#include "ssid/base/proc_status.h"
#include "ssid/base/result.h"

namespace ssi {

// PIDs are those of its realm, which are home's.
struct BirthFacts {
  pid_t pid = 0;
  pid_t parent = 0;
  pid_t group = 0;
  pid_t session = 0;
  std::uint64_t start_time = 0;  // of the node where it began: part of its name, no time at home
  ProcIds uids{};
  ProcIds gids{};
  std::string comm;
  std::string exe;
  std::string command;  // as `ps` shows it
};

// nullopt: it has ended.
std::optional<BirthFacts> read_birth_facts(pid_t local_pid);

nlohmann::json to_json(const BirthFacts& facts);
Result<BirthFacts> birth_facts_from_json(const nlohmann::json& json);

}  // namespace ssi
