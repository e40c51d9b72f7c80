#include "migrate/criu/limits_text.h"

#include <doctest/doctest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <fstream>
#include <sstream>
#include <string>

namespace ssi::migrate {
namespace {

std::string own_limits() {
  std::ostringstream text;
  text << std::ifstream("/proc/self/limits").rdbuf();
  return text.str();
}

}  // namespace

TEST_CASE("limits in /proc are those that the kernel tells") {
  const std::string text = own_limits();
  for (unsigned resource = 0; resource < RLIM_NLIMITS; ++resource) {
    CAPTURE(resource);
    rlimit64 told{}, read{};
    REQUIRE(::prlimit64(0, static_cast<__rlimit_resource>(resource), nullptr, &told) == 0);
    REQUIRE(limits_in(text, resource, read));
    CHECK(read.rlim_cur == told.rlim_cur);
    CHECK(read.rlim_max == told.rlim_max);
  }
  rlimit64 read{};
  CHECK(!limits_in(text, RLIM_NLIMITS, read));
  CHECK(!limits_in("", 0, read));
  CHECK(!limits_in("Limit\nMax cpu time\n", 0, read));
  CHECK(!limits_in("Limit\nMax cpu time              x                    1\n", 0, read));
}

}  // namespace ssi::migrate
