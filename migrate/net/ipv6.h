// What IPv6 needs beyond IPv4, in the calling thread's network namespace. Blocking, some
// milliseconds.
#pragma once

#include <string>

#include "ssid/base/result.h"

namespace ssi::net {

// Whether this kernel has it, and it is not disabled as a whole.
bool has_ipv6();

// A device of our own, before it is up: no address, no neighbours to look for; packets of ::1 that
// come by it are given kLoopbackAlias, or the kernel would drop them.
Result<> prepare_ipv6_device(const std::string& device);

// net.ipv6.conf.all.forwarding. The other devices stay those of a host: they believe the routers
// they hear, and what they learned of them stays.
bool forwards_ipv6();
Result<> turn_ipv6_forwarding_on();

}  // namespace ssi::net
