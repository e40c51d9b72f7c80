// ssid-record-load [SECONDS [LEAST_CPU_S]] > FILE: the processes that started on this machine
// meanwhile, one line each: when, CPU seconds used, largest resident size. No names: only the shape
// of a load is kept.
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>

#include "loadlevel/metrics/process_scan.h"

int main(int argc, char** argv) {
  const double seconds = argc > 1 ? std::atof(argv[1]) : 60;
  const double least_s = argc > 2 ? std::atof(argv[2]) : 0.05;
  const ssi::SystemClock clock;
  auto opened = ssi::ProcessScan::open({.budget = 1}, clock);
  if (!opened) {
    std::fprintf(stderr, "ssid-record-load: %s\n", opened.error().message().c_str());
    return 1;
  }
  auto scan = std::move(opened).value();
  struct Seen {
    double start_s = 0;
    double cpu_s = 0;
    double rss_mib = 0;
  };
  std::map<ssi::ProcessKey, Seen> seen;
  const auto begin_us = clock.now_us();
  ssi::ProcessScanResult now;
  for (;;) {
    scan.pass(now);
    const double at_s = static_cast<double>(clock.now_us() - begin_us) / 1e6;
    for (const auto& p : now.processes) {
      if (p.age_s > at_s) continue;  // it was there before
      auto& s = seen.try_emplace(p.key, Seen{at_s - p.age_s}).first->second;
      s.cpu_s = std::max(s.cpu_s, p.cpu_s);
      s.rss_mib = std::max(s.rss_mib, static_cast<double>(p.rss_bytes) / (1024 * 1024));
    }
    if (at_s > seconds) break;
    const timespec nap{0, 50'000'000};
    ::nanosleep(&nap, nullptr);
  }
  std::printf("# start_s cpu_s rss_mib\n");
  for (const auto& [key, s] : seen) {
    if (s.cpu_s >= least_s) std::printf("%.2f %.2f %.1f\n", s.start_s, s.cpu_s, s.rss_mib);
  }
  return 0;
}
