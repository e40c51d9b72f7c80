// Which addresses home has: what a realm has to look like it.
#pragma once

#include <string>
#include <vector>

#include "ssid/base/result.h"

namespace ssi::net {

// A realm has them all, and one of a family that a new connection comes from.
struct HomeAddresses {
  std::vector<std::string> all;  // of both families; without 127/8, ::1 and link-local ones
  std::string source;            // of IPv4; "": none
  std::string source6{};         // of IPv6; "": none
};

// Of the calling thread's network namespace. Blocking, a millisecond.
Result<HomeAddresses> read_home_addresses();

}  // namespace ssi::net
