// Sentences with numbers in them, for people.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ssid/base/ids.h"

namespace ssi {

// printf into a string.
[[gnu::format(printf, 1, 2)]] std::string words(const char* format, ...);

std::string reasons_words(const std::vector<std::string>& reasons);  // "one; another"
std::string node_words(NodeId id);                                   // "node 2"
std::string bytes_words(double bytes);                               // "64 MiB"
std::string seconds_words(double seconds);                           // "41 ms", "2.5 s"
std::string cpus_words(int cpus);                                    // "1 CPU", "4 CPUs"

}  // namespace ssi
