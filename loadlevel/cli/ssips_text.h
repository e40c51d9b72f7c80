// What `ssips` selects and prints, from ssid's answer (docs/control-socket.md). Pure.
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "ssid/base/result.h"

namespace ssi::cli {

// What ps's options ask for.
struct PsOptions {
  bool everyone = false;           // -e -A, BSD a and x together
  bool all_users = false;          // BSD a: everyone's with a terminal
  bool without_tty = false;        // BSD x: one's own, with a terminal or not
  bool terminals = false;          // -a: all with a terminal
  std::vector<std::string> users;  // -u: names or numbers
  std::vector<std::string> pids;   // -p
  enum class Format { kPlain, kFull, kUser } format = Format::kPlain;  // none, -f, BSD u
  std::vector<std::string> columns;                                    // -o, instead of a format
  bool titles = true;
};

// Who asks, and when. By default shown are one's own processes on one's own terminal; all one's own
// if there is no terminal, or ssid does not know those of the processes.
struct PsAsker {
  std::int64_t uid = 0;
  std::string tty;  // "pts/0", "" if none
  std::int64_t now_s = 0;
  std::function<std::string(std::int64_t uid)> user_name;  // "" if it has none
};

// BSD style, without a dash: "aux", "ax"; PIDs too.
Result<> parse_bsd_word(const std::string& word, PsOptions& options);

// Names -o understands, for --help.
std::string ps_column_names();

// kUsage for a column that does not exist.
Result<std::string> ssips_text(const nlohmann::json& answer, const PsOptions& options,
                               const PsAsker& asker);

// Nodes that did not answer: "2, 3"; empty if all did.
std::string ssips_silent(const nlohmann::json& answer);

}  // namespace ssi::cli
