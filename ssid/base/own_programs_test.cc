#include "ssid/base/own_programs.h"

#include <doctest/doctest.h>

namespace ssi {

TEST_CASE("ssid's own programs are known by the name of their file") {
  for (const char* exe : {"/usr/sbin/ssid", "/usr/lib/ssid/ssid-carrier", "/usr/lib/ssid/criu",
                          "/usr/sbin/corosync", "/usr/lib/ssid/ssid-realm (deleted)", "ssid"}) {
    CHECK(is_own_program(exe));
  }
  for (const char* exe : {"", "/usr/bin/ssid2", "/home/ssid/x", "/usr/bin/xz"}) {
    CHECK_FALSE(is_own_program(exe));
  }
}

}  // namespace ssi
