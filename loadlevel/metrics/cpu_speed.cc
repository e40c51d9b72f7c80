#include "loadlevel/metrics/cpu_speed.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <ctime>

#include "loadlevel/metrics/proc_text.h"
#include "ssid/base/unique_fd.h"

namespace ssi {

double measure_cpu_mhz() {
  constexpr std::uint64_t kSteps = 4'000'000;
  double best_mhz = 1;
  for (int run = 0; run < 5; ++run) {
    timespec begin{}, end{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &begin);
    std::uint64_t x = begin.tv_nsec & 1 ? 1u : 3u;
    for (std::uint64_t i = 0; i < kSteps; ++i) {
      x += i;
      asm volatile("" : "+r"(x));  // each step waits for the one before
    }
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end);
    const double us = static_cast<double>(end.tv_sec - begin.tv_sec) * 1e6 +
                      static_cast<double>(end.tv_nsec - begin.tv_nsec) / 1e3;
    if (us > 0) best_mhz = std::max(best_mhz, static_cast<double>(kSteps) / us);
  }
  return best_mhz;
}

double cpu_speed_mhz(std::string_view cpuinfo_text) {
  const UniqueFd fd(
      ::open("/sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq", O_RDONLY | O_CLOEXEC));
  if (fd) {
    std::array<char, 64> text;
    const ssize_t got = ::read(*fd, text.data(), text.size());
    if (got > 0) {
      const auto khz = proc::parse_number({text.data(), static_cast<std::size_t>(got)});
      if (khz && *khz > 0) return static_cast<double>(*khz) / 1000;
    }
  }
  if (const auto mhz = proc::parse_cpuinfo_mhz(cpuinfo_text)) return *mhz;
  return measure_cpu_mhz();
}

}  // namespace ssi
