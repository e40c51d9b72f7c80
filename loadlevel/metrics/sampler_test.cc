// Against the kernel this test runs on: what the parsers expect is what it writes.
#include "loadlevel/metrics/sampler.h"

#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>

using namespace ssi;

TEST_CASE("the real /proc: this process is there, busy, and named rightly") {
  SystemClock clock;
  auto opened = Sampler::open({}, clock);
  REQUIRE(opened.ok());
  auto sampler = std::move(opened).value();
  sampler.sample();
  const auto until_us = clock.now_us() + 300'000;
  volatile unsigned work = 0;
  while (clock.now_us() < until_us) work = work + 1;
  const NodeSample& now = sampler.sample();
  const ProcessSample* self = nullptr;
  for (const auto& p : now.scan.processes) {
    if (p.key.pid == ::getpid()) self = &p;
  }
  REQUIRE(self);
  CHECK(self->demand > 0.7);
  CHECK(self->demand < 1.5);
  CHECK(self->exe == std::filesystem::read_symlink("/proc/self/exe").string());
  CHECK(self->uid == ::getuid());
  CHECK(self->ppid == ::getppid());
  CHECK(self->rss_bytes > 100'000);
  CHECK(self->age_s < 600);
  CHECK(now.scan.runnable >= self->demand);
  CHECK(now.node.cpus >= 1);
  CHECK(now.node.memory_available_bytes <= now.node.memory_total_bytes);
  CHECK(now.node.speed_mhz > 50);
}
