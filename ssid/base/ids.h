// The names of things in the cluster. A number of one kind can't be passed for another.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "ssid/base/result.h"

namespace ssi {

// A node is a machine that runs ssid: 1..N, the corosync node id. 0 is no node.
struct NodeId {
  std::uint32_t value = 0;
  explicit operator bool() const { return value != 0; }
  auto operator<=>(const NodeId&) const = default;
};

// Grows with every committed move of a process; whoever holds an older one must stand back.
struct Epoch {
  std::uint64_t value = 0;
  Epoch next() const { return {value + 1}; }
  auto operator<=>(const Epoch&) const = default;
};

// A process as the whole cluster names it: where it was born, and its PID there. Never changes.
// PIDs are allocated in ranges (node n: n*kPidsPerNode ..), so the PID alone tells the home; a
// process older than ssid lies outside its home's range and is written NODE:PID.
struct SsiPid {
  static constexpr std::int32_t kPidsPerNode = 65536;

  NodeId home;
  std::int32_t pid = 0;

  bool in_range() const { return static_cast<std::uint32_t>(pid / kPidsPerNode) == home.value; }
  std::string to_string() const {
    return in_range() ? std::to_string(pid)
                      : std::to_string(home.value) + ":" + std::to_string(pid);
  }
  // "70041", "1:345"; a bare PID outside every range is taken to be of `here`.
  static Result<SsiPid> parse(std::string_view text, NodeId here);

  auto operator<=>(const SsiPid&) const = default;
};

}  // namespace ssi

template <>
struct std::hash<ssi::NodeId> {
  std::size_t operator()(ssi::NodeId n) const noexcept { return n.value; }
};
template <>
struct std::hash<ssi::SsiPid> {
  std::size_t operator()(const ssi::SsiPid& p) const noexcept {
    return (static_cast<std::size_t>(p.home.value) << 32) ^ static_cast<std::size_t>(p.pid);
  }
};
