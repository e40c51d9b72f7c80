// nftables of the calling thread's network namespace, by libnftables. Blocking, some milliseconds.
#pragma once

#include <string>

#include "ssid/base/result.h"

namespace ssi::net {

// All of the commands take effect at once, or none.
Result<> apply_nft(const std::string& commands);

}  // namespace ssi::net
