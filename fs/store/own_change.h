// Which events a request makes by itself, among those that Watches hears. See watches.h.
#pragma once

#include <optional>

#include "fs/store/session.h"

namespace ssi::fs {

// None: the session watches nothing, or the request makes no event. `body` is what stands behind
// the head.
std::optional<Watches::Doing> doing_of(Session& session, const RequestHead& head, ByteReader body);

}  // namespace ssi::fs
