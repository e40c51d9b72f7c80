// What is to be done about a lease that two kernels have: the guest's, on the file of the view, and
// home's, on the file itself. Pure.
//
// Home's is what keeps others from the file; the guest's is how the guest is told, and how it lets
// go. So a break goes from home to the guest, and what the guest lets go goes from it to home. What
// the guest took anew or made stronger goes home, too, if home's kernel agrees.
#pragma once

#include <cstdint>

#include "ssid/base/lease.h"

namespace ssi::fs {

struct LeaseSides {
  std::uint32_t known = F_UNLCK;  // the type on which both agreed last
  Lease guest;
  Lease home;
  bool told = false;  // the guest's was broken by us, and we have not seen the answer
};

struct LeaseStep {
  enum class What { kNothing, kBreakGuests, kSetHomes, kTakeAtHome };
  What what = What::kNothing;
  std::uint32_t type = F_UNLCK;  // what it is to become
  bool operator==(const LeaseStep&) const = default;
};

LeaseStep next_lease_step(const LeaseSides& sides);

}  // namespace ssi::fs
