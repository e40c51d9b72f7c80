// What all commands have in common: the way they fail, help, usage and --json.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "ssid/base/command_line.h"
#include "ssid/base/result.h"
#include "ssid/wire/control_client.h"

namespace ssi::cli {

inline constexpr int kExitFailed = 1;
inline constexpr int kExitUsage = 2;

// `NAME: WHAT: WHY`, one line. WHAT may be empty, and is not said twice. Pure.
std::string failure_line(const std::string& name, const std::string& what, const Error& error);

// Prints that line to stderr; gives the exit status.
int fail(const std::string& name, const std::string& what, const Error& error);

using ssi::parse_arguments;

// Becomes the command, found as a shell finds it. Returns only if that fails: errno.
int execute(std::vector<std::string> command);

// Prints to stdout; false (and a line on stderr) if that fails: a full disk, a closed pipe.
bool print(const std::string& name, const std::string& text);

// One question to ssid, whose answer is printed: as JSON, or as `to_text` says.
struct Question {
  std::string name;  // of the command
  std::string what;  // it is about, for errors
  std::string op;
  nlohmann::json args = nlohmann::json::object();
  bool json = false;
  std::int64_t timeout_ms = 60'000;
};
// The answer; none: the command has failed and said so, and `status` is its exit status. Each part
// before it goes to `on_part`, which returns false to ask no further (then the answer is null).
struct Asked {
  std::optional<nlohmann::json> answer;
  int status = 0;
};
Asked ask(const Question& question, const std::function<bool(const nlohmann::json&)>& on_part);
// Prints the answer as --json does; gives the exit status.
int print_json(const Question& question, const nlohmann::json& answer);
int ask_and_print(const Question& question,
                  const std::function<std::string(const nlohmann::json&)>& to_text);

// The same for replies in parts; each part and the answer is printed as it comes; empty texts are
// not. Parts go to stderr if `parts_are_progress`.
int follow_and_print(const Question& question, bool parts_are_progress,
                     const std::function<std::string(const nlohmann::json&)>& part_text,
                     const std::function<std::string(const nlohmann::json&)>& to_text);

}  // namespace ssi::cli
