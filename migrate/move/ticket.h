// The words of one move. Plain values.
#pragma once

#include <sys/socket.h>
#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "ssid/base/ids.h"

namespace ssi::migrate {

// A pipe of the process whose other end is not in it, or one direction of its terminal or of a unix
// socket. The
// carriers relay it; `id` names it in the whole cluster for as long as the guest lives,
// `generation` grows with each move (old ones are refused).
struct StreamRef {
  std::uint64_t id = 0;
  std::string key;         // what criu calls it: "pipe:[123]", "tty[8803:15]", "socket:[123]"
  bool write_end = false;  // the process writes
  std::uint32_t capacity = 65536;
  std::uint32_t generation = 0;
  bool on_demand = false;  // others at home read it, too: not a byte is taken ahead of the guest
  std::uint64_t terminal = 0;  // not 0: both directions of a terminal have it
  std::string also_key;   // what criu calls the same terminal opened as /dev/tty; empty: it is not
  std::string local_key;  // of what the carrier made where the guest runs; empty at home
  std::uint64_t socket = 0;  // not 0: both directions of a unix socket have it
  // Of that: who is at its other end.
  std::uint32_t peer_uid = 0;
  std::uint32_t peer_gid = 0;
  std::uint32_t fifo_mode = 0;  // st_mode of a named pipe, where criu still takes it for one
  // Not empty: it is a unix socket that others reach by its name, and this its address
  // (connect(2)): a path, or an abstract name. If it listens its clients become streams; it has
  // none itself. One for datagrams is a stream to the process.
  std::string address{};
  // Of that: a process that has it (its PID at home), and as which descriptor.
  std::int32_t pid = 0;
  std::int32_t number = -1;
  std::uint32_t socket_type = SOCK_STREAM;  // of a unix socket

  bool is_named() const { return !address.empty(); }
  bool listens() const { return is_named() && socket_type != SOCK_DGRAM; }
  bool takes_datagrams() const { return is_named() && socket_type == SOCK_DGRAM; }
};

// One of the tree of processes that moves with a ticket's.
struct UnitMember {
  pid_t pid = 0;  // at home, as in its realm
  std::uint64_t start_time = 0;
  std::string comm;
  std::string exe;
  std::uint32_t uid = 0;
};

// Who moves, from where to where, and the epoch that the move will bring. Never changes once made.
struct MoveTicket {
  SsiPid pid;
  NodeId from;
  NodeId to;
  Epoch epoch;
  std::uint64_t start_time = 0;  // of the original, clock ticks since boot
  std::string comm;
  std::string exe;
  std::uint32_t uid = 0;
  std::int32_t parent = 0;      // PID at home
  std::uint64_t rss_bytes = 0;  // of all that move
  std::uint64_t term = 0;  // of the cluster, in which the move began: its commit counts in no other
  // All below it that home knows; they move with it or not at all.
  std::vector<UnitMember> members{};
  std::uint32_t processes = 1;  // that move: with those that it has started while it was away
  // Its being load-levelled travels with it (loadlevel/tracker); empty: nobody asked for it.
  std::string enablement;

  // What the target's planner wants to know.
  bool by_user = true;         // a person's `migrate`, not a planner's
  bool must_leave = false;     // the source is drained or runs dry
  double demand = 1;           // CPUs that it would use if it could
  double source_slowdown = 1;  // seconds for a second of work, where it is

  std::string to_string() const {
    return "migrate " + pid.to_string() + " " + std::to_string(from.value) + " -> " +
           std::to_string(to.value) + " epoch " + std::to_string(epoch.value);
  }
};

// The steps of a move, in their order; the one closed set of words for it.
enum class MoveStep { kCheck, kFreeze, kDump, kSend, kRestore, kCommit, kDone };
const char* to_string(MoveStep step);

// What a move took. Times in microseconds. check and copy pass before the freeze, while the process
// runs. dump and send overlap (pages are sent while criu dumps), so `send_us` is only what sending
// took after the dump was complete.
struct MoveReport {
  std::uint64_t check_us = 0;
  std::uint64_t copy_us = 0;
  std::uint64_t freeze_us = 0;
  std::uint64_t dump_us = 0;
  std::uint64_t send_us = 0;
  std::uint64_t restore_us = 0;
  std::uint64_t commit_us = 0;
  std::uint64_t frozen_us = 0;     // from the freeze to the delivered commit, seen at the source
  std::uint64_t memory_bytes = 0;  // all that it has
  std::uint64_t copied_bytes = 0;  // sent before the freeze, also what was sent again
  std::uint64_t frozen_bytes = 0;  // sent while it stood still
  std::uint64_t file_bytes = 0;
  std::string why_not_copied;  // before the freeze; "" if it was
};

// What became of a commit that was sent.
enum class CommitFate { kCommitted, kAborted };

}  // namespace ssi::migrate
