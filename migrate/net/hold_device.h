// Where packets wait while the process that they are for stands still: a tun device of home's to
// which the rules send them. The kernel keeps them, in order; nobody reads until it is known where
// the process goes on. Then they are given back to the kernel, which asks the rules anew.
//
// If ssid dies, the device goes, what waited is lost, and what comes is dropped by the black hole
// behind it (ensure_hold_route): TCP sends it again.
//
// Owned by HomeNet; one thread at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "ssid/base/result.h"
#include "ssid/base/unique_fd.h"

namespace ssi::net {

class HoldDevice {
 public:
  static Result<HoldDevice> open();
  using Keep = std::function<bool(std::span<const std::uint8_t> packet)>;
  // What waits and is to be kept. Packets of processes that stay held come back by the same way.
  Result<> release(const Keep& keep);

 private:
  explicit HoldDevice(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
};

}  // namespace ssi::net
