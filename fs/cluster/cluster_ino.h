// Inode numbers of /cluster: what a number names can be read from it, so nothing has to be
// remembered about what the kernel has looked up. Only the names of etc/ are numbered as they come.
#pragma once

#include <cstdint>
#include <optional>

#include "fs/cluster/cluster_source.h"

namespace ssi::fs {

enum class InoKind : std::uint64_t { kDirectory = 0, kEtcFile = 1, kProcess = 2, kNode = 3 };

inline constexpr std::uint64_t kRootIno = 1;
inline constexpr std::uint64_t kEtcIno = 2;
inline constexpr std::uint64_t kProcIno = 3;
inline constexpr std::uint64_t kNodesIno = 4;

inline InoKind kind_of(std::uint64_t ino) { return static_cast<InoKind>(ino >> 60); }
inline std::uint64_t etc_ino(std::uint64_t number) { return (1ull << 60) | number; }

// Where a node's files are mounted.
inline std::uint64_t node_ino(NodeId node) { return (3ull << 60) | node.value; }

// The directory of a process.
inline std::uint64_t process_ino(SsiPid pid) {
  return (2ull << 60) | (std::uint64_t{pid.home.value} & 0xffffff) << 36 |
         std::uint64_t{static_cast<std::uint32_t>(pid.pid)} << 4;
}
inline std::uint64_t process_ino(SsiPid pid, ProcFile file) {
  return process_ino(pid) | static_cast<std::uint64_t>(file);
}
inline SsiPid process_of(std::uint64_t ino) {
  return {NodeId{static_cast<std::uint32_t>(ino >> 36 & 0xffffff)},
          static_cast<std::int32_t>(ino >> 4 & 0xffffffff)};
}
// nullopt: the directory itself.
inline std::optional<ProcFile> proc_file_of(std::uint64_t ino) {
  if ((ino & 15) == 0) return std::nullopt;
  return static_cast<ProcFile>(ino & 15);
}

}  // namespace ssi::fs
