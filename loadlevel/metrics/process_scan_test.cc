#include "loadlevel/metrics/process_scan.h"

#include <doctest/doctest.h>

#include <random>

#include "loadlevel/metrics/fake_proc.h"

using namespace ssi;

namespace {

// One second later, on the clock and in /proc.
struct Bench {
  FakeProc proc;
  ManualClock clock{20'000'000};
  ProcessScanResult now;
  ProcessScan scan;

  explicit Bench(ProcessScanOptions options = {}) : scan(make(proc, clock, std::move(options))) {}
  static ProcessScan make(FakeProc& proc, ManualClock& clock, ProcessScanOptions options) {
    options.proc_root = proc.root();
    if (!options.cost_us) options.cost_us = [] { return 0; };
    auto scan = ProcessScan::open(std::move(options), clock);
    REQUIRE(scan.ok());
    return std::move(scan).value();
  }
  void pass() { scan.pass(now); }
  void tick() {
    clock.advance_ms(1000);
    pass();
  }
  const ProcessSample* find(int pid) {
    for (const auto& p : now.processes) {
      if (p.key.pid == pid) return &p;
    }
    return nullptr;
  }
};

}  // namespace

TEST_CASE("four jobs on one CPU are four runnable tasks") {
  Bench b;
  for (int i = 0; i < 4; ++i) b.proc.put({.pid = 100 + i, .state = 'R', .cpu_ticks = 500});
  b.pass();
  CHECK(b.now.runnable == 0);  // nothing to compare with yet
  for (int i = 0; i < 4; ++i) {
    b.proc.put({.pid = 100 + i, .state = 'R', .cpu_ticks = 525, .wait_ms = 750});
  }
  b.tick();
  CHECK(b.now.runnable == doctest::Approx(4).epsilon(0.01));
  REQUIRE(b.find(100));
  CHECK(b.find(100)->cpu_share == doctest::Approx(0.25).epsilon(0.01));
  CHECK(b.find(100)->demand == doctest::Approx(1).epsilon(0.01));
  CHECK(b.find(100)->wanted_s == doctest::Approx(5.25 + 0.75));
  CHECK(b.find(100)->exe == "/usr/bin/job");
  CHECK(b.find(100)->uid == 1000);
  CHECK(b.find(100)->rss_bytes == 256 * 4096);
  CHECK(b.find(100)->age_s == doctest::Approx(11));
}

TEST_CASE("threads of one process add up, the ones that only sleep cost nothing") {
  Bench b;
  b.proc.put({.pid = 100, .state = 'S', .cpu_ticks = 100, .threads = 3});
  for (int tid = 100; tid < 103; ++tid) b.proc.thread(100, tid, 300, 0);
  b.pass();
  b.proc.put({.pid = 100, .state = 'S', .cpu_ticks = 200, .threads = 3});
  b.proc.thread(100, 101, 800, 500);
  b.proc.thread(100, 102, 800, 500);
  b.tick();
  CHECK(b.now.runnable == doctest::Approx(2));
  CHECK(b.find(100)->cpu_share == doctest::Approx(1));
}

TEST_CASE("of a process with very many threads some are read, and the rest is scaled up") {
  Bench b({.threads_read_max = 10});
  const auto put = [&](int run_ms, int wait_ms) {
    b.proc.put({.pid = 1000,
                .state = 'S',
                .cpu_ticks = static_cast<std::uint64_t>(run_ms) * 10,
                .threads = 100});
    for (int tid = 1000; tid < 1100; ++tid) {
      b.proc.thread(1000, tid, static_cast<std::uint64_t>(run_ms),
                    static_cast<std::uint64_t>(wait_ms));
    }
  };
  put(100, 0);
  b.pass();
  put(120, 80);  // each 20 ms on a CPU, 80 ms waiting
  b.tick();
  CHECK(b.now.runnable == doctest::Approx(10).epsilon(0.05));
}

TEST_CASE("a process younger than the interval counts with the rate of its short life") {
  Bench b;
  b.pass();
  b.proc.put({.pid = 200, .state = 'R', .start_ticks = 2050, .cpu_ticks = 25, .wait_ms = 250});
  b.tick();  // now 21 s after boot; it was born at 20.5
  CHECK(b.now.runnable == doctest::Approx(1).epsilon(0.01));
}

TEST_CASE("a reused PID is another process") {
  Bench b;
  b.proc.put({.pid = 100, .comm = "old", .state = 'R', .cpu_ticks = 900});
  b.pass();
  b.tick();
  b.proc.put(
      {.pid = 100, .comm = "new", .start_ticks = 2150, .cpu_ticks = 3, .exe = "/usr/bin/new"});
  b.tick();
  REQUIRE(b.find(100));
  CHECK(b.find(100)->key.start_ticks == 2150);
  CHECK(b.find(100)->exe == "/usr/bin/new");
  CHECK(b.find(100)->cpu_s == doctest::Approx(0.03));
}

TEST_CASE("exec is noticed even under the same name; a replaced program keeps its path") {
  Bench b;
  b.proc.put({.pid = 100});
  b.pass();
  b.proc.put({.pid = 100, .stack = 140734000000000, .exe = "/opt/job (deleted)", .uid = 7});
  b.tick();
  REQUIRE(b.find(100));
  CHECK(b.find(100)->exe == "/opt/job");
  CHECK(b.find(100)->exe_deleted);
  CHECK(b.find(100)->uid == 7);
}

TEST_CASE("kernel threads are left out and ssid's own work is counted apart") {
  Bench b;
  b.proc.put({.pid = 2, .comm = "kthreadd", .flags = 0x200000});
  b.proc.put({.pid = 50, .comm = "criu", .state = 'R', .exe = "/usr/sbin/criu"});
  b.pass();
  b.proc.put({.pid = 50, .comm = "criu", .state = 'R', .cpu_ticks = 100, .exe = "/usr/sbin/criu"});
  b.tick();
  CHECK_FALSE(b.find(2));
  CHECK(b.now.runnable == 0);
  CHECK(b.now.runnable_services == doctest::Approx(1));
  CHECK(b.find(50)->service);
}

TEST_CASE("a look at one process, between the passes") {
  Bench b;
  b.proc.put({.pid = 70, .comm = "new", .start_ticks = 77, .exe = "/usr/bin/new"});
  b.proc.put({.pid = 2, .comm = "kthreadd", .flags = 0x200000});
  b.proc.put({.pid = 71, .comm = "dead", .state = 'Z'});
  const auto found = b.scan.look(70);
  REQUIRE(found.ok());
  CHECK(found->key == ProcessKey{70, 77});
  CHECK(found->exe == "/usr/bin/new");
  CHECK(found->comm == "new");
  CHECK(found->vsz_bytes == 3133440);
  CHECK(found->tty == 0);
  b.pass();  // from now on it knows when the machine was booted
  CHECK(b.scan.look(70)->age_s == doctest::Approx(20 - 0.77));
  CHECK(b.find(70)->vsz_bytes == 3133440);
  CHECK(b.scan.look(2).error().message() == "process 2: a kernel thread");
  CHECK(b.scan.look(71).error().code() == ErrorCode::kRefused);
  CHECK(b.scan.look(72).error().code() == ErrorCode::kGone);
  CHECK(b.scan.look(-1).error().code() == ErrorCode::kUsage);
}

TEST_CASE("idle processes are read rarely, watched ones always, and waking up is noticed") {
  Bench b;
  for (int pid = 100; pid < 140; ++pid) b.proc.put({.pid = pid});
  b.pass();
  for (int i = 0; i < 8; ++i) b.tick();
  std::size_t reads = 0;
  for (int i = 0; i < 4; ++i) {
    b.tick();
    reads += b.scan.read_last_pass();
  }
  CHECK(reads == 40);  // each once in four passes
  b.scan.watch({{100, 1000}});
  b.tick();
  b.tick();
  CHECK(b.scan.read_last_pass() >= 10);
  b.proc.put({.pid = 101, .state = 'R', .cpu_ticks = 100});
  for (int i = 0; i < 4 && b.find(101)->cpu_share == 0; ++i) b.tick();
  CHECK(b.find(101)->cpu_share > 0.2);
  b.proc.remove(101);
  b.tick();
  CHECK_FALSE(b.find(101));
}

TEST_CASE("too expensive passes make idle processes wait longer, cheap ones shorter again") {
  std::int64_t cost = 0;
  std::int64_t step = 5000;
  Bench b({.cost_us = [&] { return cost += step; }});
  b.pass();
  for (int i = 0; i < 40; ++i) b.tick();
  CHECK(b.scan.cost_share() == doctest::Approx(0.005).epsilon(0.01));
  CHECK(b.scan.idle_every() == 32);
  step = 100;
  for (int i = 0; i < 80; ++i) b.tick();
  CHECK(b.scan.idle_every() == 4);
}

TEST_CASE("without schedstat a process caught runnable counts as one") {
  Bench b;
  b.proc.put({.pid = 100, .state = 'R'});
  std::filesystem::remove(b.proc.path("100/schedstat"));
  b.pass();
  b.proc.put({.pid = 100, .state = 'R', .cpu_ticks = 50});
  std::filesystem::remove(b.proc.path("100/schedstat"));
  b.tick();
  CHECK(b.now.runnable == doctest::Approx(1));
}

TEST_CASE(
    "garbage in /proc does not stop the pass; repeat: loadlevel_metrics_tests -tc='garbage in*'") {
  std::mt19937 random(7);
  Bench b;
  for (int round = 0; round < 60; ++round) {
    for (int pid = 100; pid < 110; ++pid) {
      b.proc.put({.pid = pid,
                  .state = 'R',
                  .cpu_ticks = random() % 1000,
                  .threads = 1 + static_cast<int>(random() % 2)});
      const char* names[] = {"stat", "schedstat", "status"};
      std::string junk;
      for (auto n = random() % 300; n > 0; --n) junk += static_cast<char>(random());
      b.proc.file(std::to_string(pid) + "/" + names[random() % 3], junk);
      if (random() % 5 == 0) b.proc.remove(pid);
    }
    b.tick();
    for (const auto& p : b.now.processes) CHECK((p.demand >= 0 && p.demand <= p.threads));
  }
}
