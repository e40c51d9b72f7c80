#include "fs/view/lease_step.h"

namespace ssi::fs {

LeaseStep next_lease_step(const LeaseSides& sides) {
  using What = LeaseStep::What;
  const int known = lease_strength(sides.known);
  const int guest = lease_strength(sides.guest.type), home = lease_strength(sides.home.type);
  if (guest > home) {
    // Only letting go ends a break: it has, and took it anew before we looked.
    if (sides.told && sides.guest.breaking == 0) return {What::kSetHomes, sides.home.type};
    // Home's is what it was: it is the guest's that has changed.
    const bool is_new = home == known && sides.home.breaking == 0 && sides.guest.breaking == 0;
    return is_new ? LeaseStep{What::kTakeAtHome, sides.guest.type}
                  : LeaseStep{What::kBreakGuests, sides.home.type};
  }
  if (sides.guest.breaking != 0) return {};  // it was told, and has not answered
  if (home > guest || sides.home.breaking != 0) return {What::kSetHomes, sides.guest.type};
  return {};
}

}  // namespace ssi::fs
