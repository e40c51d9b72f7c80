// How a process goes to another node before it becomes a command there.
#pragma once

#include <string>
#include <vector>

#include "ssid/base/result.h"

namespace ssi::cli {

struct RemoteRun {
  std::string node;  // number, name, `home` or `best`
  bool pinned = false;
  std::vector<std::string> command;
};

// Takes the words behind `runon`: [-p] NODE [--] CMD ARGS...; what follows CMD is the command's
// own. kUsage: something is missing, or an option is unknown. Pure.
Result<RemoteRun> parse_remote_run(const std::vector<std::string>& arguments);

// Returns when this process runs on `node` (or was there already). Single-threaded processes only;
// whatever it has open goes along. Errors: as ssid says; then it is where it was.
Result<> go_to(const std::string& node, bool pinned);

// Becomes the command. Returns only if that fails: 127 (not found) or 126, after a line on stderr.
int become(const std::string& name, const std::vector<std::string>& command);

}  // namespace ssi::cli
