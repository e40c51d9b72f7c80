// What `ssips` selects and prints, from ssid's answer (docs/control-socket.md). Pure.
#pragma once

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

// Who asks, for the default selection: one's own processes on one's own terminal; all one's own if
// there is no terminal.
struct PsAsker {
  std::string user;
  std::string uid;
  std::string tty;  // "pts/0", "" if none
};

// BSD style, without a dash: "aux", "ax"; PIDs too.
Result<> parse_bsd_word(const std::string& word, PsOptions& options);

// Names -o understands, for --help.
std::string ps_column_names();

// kUsage for a column that does not exist.
Result<std::string> ssips_text(const nlohmann::json& answer, const PsOptions& options,
                               const PsAsker& asker, std::int64_t now_s);

}  // namespace ssi::cli
