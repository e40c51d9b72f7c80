#include "loadlevel/metrics/node_meter.h"

#include <doctest/doctest.h>

#include "loadlevel/metrics/cpu_speed.h"
#include "loadlevel/metrics/fake_proc.h"

using namespace ssi;

namespace {
NodeMeter meter(const FakeProc& proc, const Clock& clock, std::string cgroup_dir) {
  auto m = NodeMeter::open({.proc_root = proc.root(),
                            .cgroup_dir = std::move(cgroup_dir),
                            .cpus = [] { return 3; },
                            .speed_mhz = [] { return 2000.0; }},
                           clock);
  REQUIRE(m.ok());
  return std::move(m).value();
}
}  // namespace

TEST_CASE("memory, CPUs and speed") {
  FakeProc proc;
  ManualClock clock;
  auto m = meter(proc, clock, "");
  const auto& now = m.read();
  CHECK(now.cpus == 3);
  CHECK(now.speed_mhz == 2000);
  CHECK(now.memory_total_bytes == 16000000ULL * 1024);
  CHECK(now.memory_available_bytes == 8000000ULL * 1024);
  CHECK_FALSE(now.cpu_pressure);
}

TEST_CASE("a cgroup's memory limit is the node's, and the trend shows it running dry") {
  FakeProc proc;
  ManualClock clock;
  proc.file("cg/memory.max", "1000000000\n");
  proc.file("cg/memory.current", "500000000\n");
  proc.file("cg/memory.stat", "anon 1\ninactive_file 100000000\n");
  proc.file("cg/cpu.pressure", "some avg10=12.50 avg60=0 avg300=0 total=1\n");
  auto m = meter(proc, clock, proc.path("cg"));
  CHECK(m.read().memory_total_bytes == 1000000000);
  CHECK(m.read().memory_available_bytes == 600000000);
  CHECK(m.read().cpu_pressure->some_avg10 == doctest::Approx(12.5));
  for (int i = 1; i <= 20; ++i) {
    proc.file("cg/memory.current", std::to_string(500000000 + i * 10000000) + "\n");
    clock.advance_ms(1000);
    m.read();
  }
  CHECK(m.read().memory_trend_bytes_s == doctest::Approx(-1e7).epsilon(0.02));
}

TEST_CASE("no limit, a limit above the machine's memory, and no /proc") {
  FakeProc proc;
  ManualClock clock;
  proc.file("cg/memory.max", "max\n");
  CHECK(meter(proc, clock, proc.path("cg")).read().memory_total_bytes == 16000000ULL * 1024);
  proc.file("cg/memory.max", "99999999999999\n");
  CHECK(meter(proc, clock, proc.path("cg")).read().memory_total_bytes == 16000000ULL * 1024);
  CHECK_FALSE(NodeMeter::open({.proc_root = proc.path("nothing")}, clock).ok());
  CHECK_FALSE(NodeMeter::open({.proc_root = proc.path("cg")}, clock).ok());
}

TEST_CASE("the calibrated loop says something a CPU can run at") {
  const double mhz = measure_cpu_mhz();
  CHECK(mhz > 50);
  CHECK(mhz < 20000);
}
