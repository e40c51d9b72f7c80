// Can this process be moved? Pure; asked before anything is frozen (and again when it is, as facts
// change).
#pragma once

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "migrate/check/facts.h"

namespace ssi::check {

// Which kinds of descriptors this version moves.
struct SupportedFds {
  std::array<bool, kFdKinds> kinds{};
  bool has(FdKind kind) const { return kinds[static_cast<std::size_t>(kind)]; }
  static SupportedFds of_this_version();
};

struct CheckContext {
  // The process runs in a realm of ours, so that namespaces and root differ from ssid's for a good
  // reason.
  bool is_guest = false;
  SupportedFds fds = SupportedFds::of_this_version();
};

struct Refusal {
  std::vector<std::string>
      reasons;          // never empty; the most basic first; each one line in plain words
  bool passes = false;  // all of them are over in a moment: another time may be better
  const std::string& reason() const { return reasons.front(); }
};

std::optional<Refusal> check(const ProcessFacts& facts, const CheckContext& context);

// "fd 5 is an open network connection (tcp 10.77.0.1:41000 -> 10.77.0.2:80)"
std::string describe(const FdFact& fd);

}  // namespace ssi::check
