// criu with its loader and libraries in one directory, so that it can be started inside a realm
// whose files are another machine's: `ld.so --library-path DIR DIR/criu`.
#pragma once

#include <string>

#include "migrate/criu/criu_library.h"
#include "ssid/base/result.h"

namespace ssi::migrate {

// Fills `dir` (made if missing, on a tmpfs). Cheap if it is up to date.
Result<> make_criu_bundle(const CriuFiles& criu, const std::string& dir);

}  // namespace ssi::migrate
