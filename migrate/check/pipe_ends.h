// Which ends of pipes some processes have. Pure.
#pragma once

#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "migrate/check/facts.h"

namespace ssi::check {

class PipeEnds {
 public:
  void add(const std::vector<FdFact>& fds);
  // Says of each pipe among them whether those added have both of its ends, or one that is both.
  void pair(std::vector<FdFact>& fds) const;

 private:
  struct Ends {
    bool read = false;
    bool written = false;
    bool duplex = false;
  };
  std::map<std::pair<std::uint64_t, std::uint64_t>, Ends> ends_;  // by device and inode
};

}  // namespace ssi::check
