// The messages between the copies of /cluster/etc (fs/etc), as plain structs, and their frames.
//
// decode() trusts nothing: the verifier runs before any access, then every name, length and number
// is checked; what it returns may be used without looking again. Pure functions, any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "ssid/base/ids.h"
#include "ssid/base/result.h"

namespace ssi::etc {

inline constexpr std::uint16_t kVersion = 1;
inline constexpr std::size_t kNameBytesMax = 255;
inline constexpr std::size_t kFileBytesMax = 64u << 10;
inline constexpr std::size_t kTotalBytesMax = 1u << 20;  // of all contents
inline constexpr std::size_t kFilesMax = 1024;
inline constexpr std::size_t kPendingMax = 1024;         // each node has one under way at a time
inline constexpr std::size_t kFrameBytesMax = 7u << 20;  // within a group message

inline constexpr std::uint64_t kAnyVersion = ~std::uint64_t{0};
inline constexpr std::uint64_t kNoFile = 0;  // a version: there is no such file

enum class Kind : std::uint8_t {
  kPut = 1,
  kAppend = 2,
  kRemove = 3,
  kRename = 4,
  kBeginTerm = 5,
  kAttributes = 6,  // mode and mtime; no new version
};

struct Change {
  Kind kind = Kind::kPut;
  std::string name;
  std::string to;        // rename: the new name
  std::string contents;  // put: all of it; append: what comes behind
  std::uint32_t mode = 0644;
  std::int64_t mtime_ns = 0;
  std::uint64_t expects = kAnyVersion;  // version that `name` (rename: `to`) must have
  NodeId sender;                        // these three are set by EtcReplica
  std::uint64_t proposal = 0;
  std::uint64_t term = 0;
  bool operator==(const Change&) const = default;
};

struct File {
  std::string contents;
  std::uint32_t mode = 0644;
  std::int64_t mtime_ns = 0;
  std::uint64_t version = 0;  // the place of the last change of its contents among all, from 1
  bool operator==(const File&) const = default;
};

struct State {
  std::uint64_t committed = 0;
  std::uint64_t history = 0;
  std::vector<std::pair<std::string, File>> files;     // sorted by name
  std::vector<std::pair<NodeId, std::uint64_t>> done;  // node, its last proposal carried out
  std::vector<Change> pending;
  bool operator==(const State&) const = default;
};

// See fs/etc/etc_replica.h for these.
struct SyncRequest {
  std::uint64_t nonce = 0;
  std::uint64_t ballot = 0;
  bool operator==(const SyncRequest&) const = default;
};
struct SyncReply {
  std::uint64_t nonce = 0;
  std::uint64_t ballot = 0;
  std::uint64_t promised = 0;
  std::uint64_t term = 0;
  std::uint64_t held = 0;
  std::uint64_t history = 0;
  std::uint32_t nodes = 0;
  bool operator==(const SyncReply&) const = default;
};
struct Snapshot {
  std::uint64_t nonce = 0;
  std::uint64_t ballot = 0;
  State state;
  bool operator==(const Snapshot&) const = default;
};
struct Ack {
  std::uint64_t term = 0;
  std::uint64_t held = 0;
  bool durable = false;
  bool operator==(const Ack&) const = default;
};
struct Saved {
  std::uint64_t term = 0;
  std::uint64_t promised = 0;
  State state;
  bool operator==(const Saved&) const = default;
};

using Message = std::variant<Change, SyncRequest, SyncReply, Snapshot, Ack, Saved>;

// A name that a file here may have: not empty, not "." or "..", no slash, no control character.
bool is_file_name(std::string_view name);

std::vector<std::uint8_t> encode(const Message& message);

// Error kRefused: not ours, another version, damaged or beyond the limits; the text says which.
Result<Message> decode(std::span<const std::uint8_t> frame);

}  // namespace ssi::etc
