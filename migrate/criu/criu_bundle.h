// criu with its loader and libraries in one directory, so that it can be started inside a realm
// whose files are another machine's: `ld.so --library-path DIR DIR/criu`.
#pragma once

#include <string>

#include "ssid/base/result.h"

namespace ssi::migrate {

// Fills `dir` (made if missing, on a tmpfs) from the criu program at `criu_path`. Cheap if it is up
// to date.
Result<> make_criu_bundle(const std::string& criu_path, const std::string& dir);

}  // namespace ssi::migrate
