// ssid-bench-metrics [IDLE [BUSY [SECONDS]]]: what one pass a second costs, with so many processes
// of its own beside those already there. Prints one line a second and the mean; ends its own
// processes only.
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <vector>

#include "loadlevel/metrics/sampler.h"

namespace {

double cpu_s(clockid_t clock) {
  timespec t{};
  ::clock_gettime(clock, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) / 1e9;
}

void start(std::vector<pid_t>& children, int count, bool busy) {
  for (int i = 0; i < count; ++i) {
    const pid_t child = ::fork();
    if (child == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (!busy) {
        for (;;) ::pause();
      }
      if (::nice(19) == -1) ::_exit(1);
      for (volatile unsigned x = 0;;) x = x + 1;
    }
    if (child > 0) children.push_back(child);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const int idle = argc > 1 ? std::atoi(argv[1]) : 300;
  const int busy = argc > 2 ? std::atoi(argv[2]) : 8;
  const int seconds = argc > 3 ? std::atoi(argv[3]) : 20;
  std::vector<pid_t> children;
  start(children, idle, false);
  start(children, busy, true);

  const ssi::SystemClock clock;
  auto opened = ssi::Sampler::open({}, clock);
  int status = 1;
  if (!opened) {
    std::fprintf(stderr, "ssid-bench-metrics: %s\n", opened.error().message().c_str());
  } else {
    auto sampler = std::move(opened).value();
    sampler.sample();
    double total_s = 0;
    double settled_s = 0;
    for (int i = 0; i < seconds; ++i) {
      ::sleep(1);
      const double before = cpu_s(CLOCK_THREAD_CPUTIME_ID);
      const auto& now = sampler.sample();
      const double cost = cpu_s(CLOCK_THREAD_CPUTIME_ID) - before;
      total_s += cost;
      if (i >= seconds / 2) settled_s += cost;
      std::printf("%2d s: %4zu processes, %4zu read, runnable %6.2f, %6.0f us = %.3f%% of a CPU\n",
                  i + 1, now.scan.processes.size(), sampler.scan().read_last_pass(),
                  now.scan.runnable, cost * 1e6, cost * 100);
    }
    std::printf("mean %.3f%% of a CPU, second half %.3f%%\n", total_s / seconds * 100,
                settled_s / (seconds - seconds / 2) * 100);
    status = 0;
  }
  for (const pid_t child : children) ::kill(child, SIGKILL);
  for (const pid_t child : children) ::waitpid(child, nullptr, 0);
  return status;
}
