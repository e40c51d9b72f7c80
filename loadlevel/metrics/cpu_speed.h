// How fast one CPU of this node is, in MHz: a scale on which nodes compare, not a promise.
#pragma once

#include <string_view>

namespace ssi {

// The highest clock the CPU may run at (cpufreq), else the one in the text of /proc/cpuinfo, else
// what a loop of dependent additions measures in 20 ms. Never 0.
double cpu_speed_mhz(std::string_view cpuinfo_text);

// Best of five runs of the loop: one addition a cycle. Uses the CPU for about 20 ms.
double measure_cpu_mhz();

}  // namespace ssi
