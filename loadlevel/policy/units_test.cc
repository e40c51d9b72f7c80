#include "loadlevel/policy/units.h"

#include <doctest/doctest.h>

#include "loadlevel/policy/test_views.h"

namespace ssi {

using namespace test;

TEST_CASE("units: what moves together is one, whatever is alone stays as it is") {
  std::vector<ProcessLoad> all{job(1), job(2, 9), job(3), job(4)};
  all[1].demand = 0.5;
  all[1].state = 'S';
  const SsiPid unit = all[1].pid;
  const auto merged = merge_units(all, {{all[1].pid, unit}, {all[3].pid, unit}});
  REQUIRE(merged.size() == 3);
  CHECK(merged[0].pid == all[0].pid);
  CHECK(merged[1].pid == unit);
  CHECK(merged[1].demand == doctest::Approx(1.5));
  CHECK(merged[1].wanted_s == doctest::Approx(9));
  CHECK(merged[1].rss_bytes == 40 * kMiB);
  CHECK(merged[1].state == 'R');
  CHECK(merged[1].enabled);
  CHECK(merged[2].pid == all[2].pid);
}

TEST_CASE("units: one that is not enabled, or pinned, speaks for all") {
  std::vector<ProcessLoad> all{job(1), job(2)};
  const std::map<SsiPid, SsiPid> unit_of{{all[0].pid, all[0].pid}, {all[1].pid, all[0].pid}};
  all[1].enabled = false;
  CHECK(!merge_units(all, unit_of)[0].enabled);
  all[1].enabled = true;
  all[1].pinned = true;
  CHECK(merge_units(all, unit_of)[0].pinned);
  all[1].pinned = false;
  all[1].moving = true;
  CHECK(merge_units(all, unit_of)[0].moving);
}

}  // namespace ssi
