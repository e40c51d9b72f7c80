#include "ssid/daemon/pid_range.h"

#include <doctest/doctest.h>

namespace ssi {

TEST_CASE("the allocator is put back when it is outside of the node's own half of its range") {
  CHECK(last_pid_for(NodeId{1}, 400) == 65536);
  CHECK(last_pid_for(NodeId{1}, 65536) == -1);
  CHECK(last_pid_for(NodeId{1}, 70000) == -1);
  CHECK(last_pid_for(NodeId{1}, 65536 + 32768) == 65536);
  CHECK(last_pid_for(NodeId{2}, 70000) == 131072);
}

}  // namespace ssi
