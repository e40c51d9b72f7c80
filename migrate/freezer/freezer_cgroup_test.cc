#include "migrate/freezer/freezer_cgroup.h"

#include <doctest/doctest.h>

namespace ssi::migrate {

TEST_CASE("a copy's name says pid and epoch and is read back") {
  const CopyName name{{NodeId{1}, 70041}, Epoch{3}};
  CHECK(name.to_string() == "1-70041-3");
  CHECK(CopyName::parse("1-70041-3") == name);
  for (const char* wrong :
       {"", "1-2", "1-2-3-4", "0-2-3", "1--2-3", "a-b-c", "1-2-3x", "cgroup.procs"}) {
    CAPTURE(wrong);
    CHECK(!CopyName::parse(wrong));
  }
}

}  // namespace ssi::migrate
