#include "loadlevel/policy/cost.h"

#include <doctest/doctest.h>

#include "loadlevel/policy/test_views.h"

using namespace ssi;
using namespace ssi::test;

namespace {
Level level(double runnable, int cpus = 1, double speed = 1, double used = 0) {
  Level l;
  l.id = {1};
  l.cpus = cpus;
  l.speed = speed;
  l.runnable = runnable;
  l.memory_total_bytes = 1000;
  l.memory_available_bytes = 1000 * (1 - used);
  return l;
}
}  // namespace

TEST_CASE("slowdown: how long a second of work takes") {
  CHECK(slowdown(level(0)) == 1);
  CHECK(slowdown(level(1)) == 1);
  CHECK(slowdown(level(4)) == 4);
  CHECK(slowdown(level(4, 4)) == 1);
  CHECK(slowdown(level(6, 4)) == 1.5);
  CHECK(slowdown(level(1, 1, 2)) == 0.5);
  CHECK(slowdown(level(4, 1, 2)) == 2);
}

TEST_CASE("four tasks on one CPU lose 16 seconds a second, two and two lose 8") {
  const PolicyConfig config{.memory_weight = 0};
  CHECK(cpu_cost(level(4)) == 16);
  CHECK(cpu_cost(level(2)) == 4);
  Level to = level(0);
  to.id = {2};
  CHECK(move_gain(level(4), to, {}, 1, 0, config) == doctest::Approx(6));
  CHECK(move_gain(level(1), to, {}, 1, 0, config) == doctest::Approx(0));
  CHECK(move_gain(level(1), to, {1}, 1, 0, config) == doctest::Approx(-config.home_preference));
  CHECK(move_gain(level(1), to, {2}, 1, 0, config) == doctest::Approx(config.home_preference));
}

TEST_CASE("memory costs little while there is enough and much when it runs out") {
  const PolicyConfig config;
  CHECK(memory_cost(level(0, 1, 1, 0.5), config) < 0.001);
  CHECK(memory_cost(level(0, 1, 1, 0.95), config) == doctest::Approx(config.memory_weight));
  CHECK(memory_cost(level(0, 4, 1, 1.0), config) > 4 * config.memory_weight);
  Level unknown = level(0);
  unknown.memory_total_bytes = 0;
  CHECK(memory_cost(unknown, config) == 0);
}

TEST_CASE("both costs are convex: the second task more costs more than the first") {
  const PolicyConfig config;
  for (int cpus : {1, 2, 8}) {
    for (double l = 0; l < 20; l += 0.5) {
      const double a = cpu_cost(level(l, cpus));
      const double b = cpu_cost(level(l + 1, cpus));
      const double c = cpu_cost(level(l + 2, cpus));
      CHECK(c - b >= b - a - 1e-9);
    }
  }
  for (double u = 0; u < 0.8; u += 0.1) {
    const double a = memory_cost(level(0, 1, 1, u), config);
    const double b = memory_cost(level(0, 1, 1, u + 0.1), config);
    const double c = memory_cost(level(0, 1, 1, u + 0.2), config);
    CHECK(c - b >= b - a);
  }
}

TEST_CASE("the cost of a move and the residence after it") {
  PolicyConfig config;
  ClusterLoad v;
  CHECK(move_cost_s(v, 100.0 * kMiB, config) == doctest::Approx(1.05));
  v.link_bytes_s = 1000.0 * kMiB;
  v.freeze_s = 0.02;
  CHECK(move_cost_s(v, 100.0 * kMiB, config) == doctest::Approx(0.12));
  CHECK(residence_s(0, config) == 0);
  CHECK(residence_s(1, config) == config.residence_s);
  CHECK(residence_s(2, config) == config.residence_s * config.residence_growth);
  CHECK(residence_s(1000, config) == config.residence_max_s);
}

TEST_CASE("a level is what was published, corrected by what is on its way") {
  NodeLoad n = node(1, 2);
  n.demand_arriving = 1.5;
  n.demand_leaving = 1;
  n.bytes_arriving = 10 * kMiB;
  const Level l = Level::of(n, 1000);
  CHECK(l.runnable == 2.5);
  CHECK(l.speed == 2);
  CHECK(l.memory_available_bytes == 6134.0 * kMiB);
  n.demand_leaving = 9;
  CHECK(Level::of(n, 1000).runnable == 0);
}
