// `mon` on a terminal: draws a frame a second, and whenever a key is pressed or the size changes.
#pragma once

#include <functional>
#include <nlohmann/json.hpp>

#include "ssid/base/result.h"

namespace ssi::cli {

struct MonAnswers {
  nlohmann::json status;
  nlohmann::json events;
};

// Until `q` is pressed. `ask` blocks for some seconds at most; its error is shown in the place of
// the title until it answers again. An error: this is no terminal that can be drawn on.
Result<> run_mon(const std::function<Result<MonAnswers>()>& ask);

}  // namespace ssi::cli
