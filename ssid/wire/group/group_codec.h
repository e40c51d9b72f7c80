// The messages that ssid sends to all nodes in one order, as plain structs, and their frames.
//
// A frame is one FlatBuffer with a file identifier and a version (group.fbs). decode() trusts
// nothing: the verifier runs before any access, then every count, length and number is checked;
// what it returns may be used without looking again. Pure functions, any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "ssid/base/ids.h"
#include "ssid/base/result.h"

namespace ssi::group {

inline constexpr std::uint16_t kVersion = 1;
inline constexpr std::size_t kFrameBytesMax = 8u << 20;
inline constexpr std::size_t kNameBytesMax = 255;   // comm, op, address, version, boot id
inline constexpr std::size_t kTextBytesMax = 4096;  // paths, reasons, errors
inline constexpr std::size_t kJsonBytesMax = 4u << 20;
inline constexpr std::size_t kSnapshotPartItemsMax = 4096;  // of each kind
inline constexpr std::size_t kNodesMax = 1024;
inline constexpr std::size_t kMembersMax = 1024;  // of a tree

// One of a tree that moves as one.
struct Member {
  std::int32_t pid = 0;
  std::uint64_t start_time = 0;
  std::string comm;
  std::uint32_t uid = 0;
  std::string exe;
  bool operator==(const Member&) const = default;
};

// A process changes hands, and with it all that are below it. `epoch` is the new one.
struct Commit {
  SsiPid process;
  NodeId from;
  NodeId to;
  Epoch epoch;
  std::uint64_t start_time = 0;  // ticks after boot of its home, of the original
  std::string comm;
  std::uint32_t uid = 0;
  std::string exe;
  std::uint64_t at_ms = 0;     // wall clock of the proposer
  std::uint64_t proposal = 0;  // set by TableReplica
  std::uint64_t term = 0;      // likewise: it counts in this term only
  std::vector<Member> members{};
  bool operator==(const Commit&) const = default;
};

// A guest has ended (or is given up), at the epoch it has.
struct Retire {
  SsiPid process;
  Epoch epoch;
  std::uint64_t start_time = 0;
  std::int32_t wait_status = 0;  // as from waitpid
  std::string reason;
  NodeId node;                 // where it ended
  std::uint64_t proposal = 0;  // set by TableReplica
  bool operator==(const Retire&) const = default;
};

// One line of the process table.
struct TableEntry {
  SsiPid process;
  NodeId where;
  Epoch epoch;
  std::uint64_t start_time = 0;
  std::string comm;
  std::uint32_t uid = 0;
  std::string exe;
  std::uint32_t nmigs = 0;
  std::uint64_t since_ms = 0;  // wall clock of the last move
  bool gone = false;           // its node or its home has booted since: it can't come back
  std::int32_t unit = 0;       // PID of the process that it moves with; 0: none
  bool operator==(const TableEntry&) const = default;
};

// "I run this one": from a node whose guest the table does not know (all of ssid was restarted).
struct Claim {
  TableEntry entry;
  std::uint64_t proposal = 0;  // set by TableReplica
  bool operator==(const Claim&) const = default;
};

// What became of a process, kept for a while so that late messages and returning nodes learn it.
struct Tombstone {
  SsiPid process;
  Epoch epoch;
  std::uint64_t start_time = 0;
  std::int32_t wait_status = 0;
  std::string reason;
  NodeId node;
  bool operator==(const Tombstone&) const = default;
};

struct Boot {
  NodeId node;
  std::string boot_id;
  bool operator==(const Boot&) const = default;
};

// Which boot of which node is in the view; never sent alone, a part of the table's log.
struct Boots {
  std::vector<Boot> boots;
  bool operator==(const Boots&) const = default;
};

// A node is closed for arriving guests, and everything that can leave it must; or it is open again.
struct SetDrained {
  NodeId node;
  bool drained = true;
  std::uint64_t proposal = 0;  // set by TableReplica
  std::uint64_t term = 0;      // it counts in this term only
  bool operator==(const SetDrained&) const = default;
};

using Operation = std::variant<Commit, Retire, Claim, Boots, SetDrained>;

struct PendingOperation {
  NodeId sender;
  Operation operation;
  bool operator==(const PendingOperation&) const = default;
};

// See ssid/registry/table_replica.h for these four.
struct Snapshot {
  std::uint64_t nonce = 0;
  std::uint64_t ballot = 0;
  std::uint32_t part = 0;
  std::uint32_t parts = 1;
  std::uint64_t committed = 0;
  std::vector<TableEntry> entries;
  std::vector<Tombstone> tombstones;
  std::vector<Boot> boots;
  std::vector<PendingOperation> pending;
  std::vector<NodeId> drained;
  bool operator==(const Snapshot&) const = default;
};
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
  std::string boot_id;
  std::uint32_t nodes = 0;
  bool operator==(const SyncReply&) const = default;
};
struct Ack {
  std::uint64_t term = 0;
  std::uint64_t held = 0;
  bool operator==(const Ack&) const = default;
};

// A node about itself, each second.
struct NodeInfo {
  NodeId node;
  std::string boot_id;
  std::uint32_t cpus = 0;
  std::uint32_t cpu_speed_mhz = 0;
  double runnable = 0;  // mean number of runnable tasks over the last second
  double load1 = 0;
  std::uint64_t mem_total = 0;  // bytes
  std::uint64_t mem_free = 0;   // bytes that can be had without swapping
  std::uint32_t guests_in = 0;
  std::uint32_t guests_out = 0;
  bool accepting = true;
  bool drained = false;
  std::string address;
  std::string version;
  std::string cpu_features;  // list or hash; compared, not read
  double cpu_pressure = 0;   // per cent, "some" over 10 s
  double mem_pressure = 0;
  double movable = 0;  // the part of `runnable` that its own planner may move
  bool operator==(const NodeInfo&) const = default;
};

struct Signal {
  SsiPid process;
  Epoch epoch;
  std::int32_t signo = 0;
  std::int64_t value = 0;  // sigqueue's
  std::uint32_t sender_uid = 0;
  std::int32_t sender_pid = 0;
  bool by_terminal = false;  // its terminal's (Ctrl-C): to all that are in the foreground with it
  bool to_group = false;     // its shell's (fg, kill %1): to its process group
  bool operator==(const Signal&) const = default;
};
struct GuestStopped {
  SsiPid process;
  Epoch epoch;
  std::int32_t signo = 0;
  bool operator==(const GuestStopped&) const = default;
};
struct GuestContinued {
  SsiPid process;
  Epoch epoch;
  bool operator==(const GuestContinued&) const = default;
};

// A command for another node (or, with `to` 0, for all), and its answer.
struct Request {
  std::uint64_t id = 0;
  NodeId from;
  NodeId to;
  std::string op;
  std::string json;
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  bool operator==(const Request&) const = default;
};
struct Reply {
  std::uint64_t id = 0;
  NodeId to;
  std::int32_t code = 0;  // 0: done
  std::string error;
  std::string json;
  bool operator==(const Reply&) const = default;
};

// Something that a user watching `cluster events` wants to see.
struct Event {
  std::string text;
  std::string json;
  bool operator==(const Event&) const = default;
};

// What the copies of /cluster/etc say to each other: a frame of ssid/wire/etc, not looked into
// here.
struct EtcFrame {
  std::vector<std::uint8_t> frame;
  bool operator==(const EtcFrame&) const = default;
};

using GroupMessage =
    std::variant<Commit, Retire, Claim, Snapshot, SyncRequest, SyncReply, Ack, NodeInfo, Signal,
                 GuestStopped, GuestContinued, Request, Reply, Event, SetDrained, EtcFrame>;

// Texts longer than their limit are cut (they come from other programs); counts above theirs are a
// bug.
std::vector<std::uint8_t> encode(const GroupMessage& message);

// Error kRefused: not ours, another version, damaged or beyond the limits; the text says which.
Result<GroupMessage> decode(std::span<const std::uint8_t> frame);

// "Commit", "Retire", ...: for logs.
const char* name_of(const GroupMessage& message);

}  // namespace ssi::group
