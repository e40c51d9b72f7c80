// What ssid and a realm's init say to each other: fixed messages over a SEQPACKET unix socket in
// ssid's private directory. Requests are answered by kReply on the same connection, in order;
// events go to the connection that subscribed. Descriptors travel beside the message (SCM_RIGHTS).
#pragma once

#include <cstdint>
#include <type_traits>

namespace ssi::migrate {

enum class RealmOp : std::uint32_t {
  // Requests. PIDs are those inside the realm.
  kSpawnDump =
      1,  // fds: cgroup.procs to start in, RPC socket (-> 3), images dir (-> 4), more (-> 5..);
          // value: 1: in an IPC namespace of its own
  kPutInCgroup = 2,  // fds: cgroup.procs; pid
  kRegister =
      3,        // pid is a guest, rebuilt by the criu `value`: its end is reported, and kept until
                // it is acknowledged
  kForget = 4,  // pid is no guest of this node any more: its end is nobody's business
  kSignal = 5,  // pid, value = signal number
  kSubscribe = 6,  // events go to this connection; first a kGuest for each guest
  kAckExit = 7,    // the end of pid has been taken over
  kQuit = 8,       // end the realm; refused while it has guests
  kInstall =
      9,  // fds: userfaultfd, staged memory, its index, cgroup.kill; pid: a pager installs it
  kInstallAll = 10,  // pid runs: all its memory is to be installed, not only what it touches
  kPagersLeft = 11,  // reply's value: how many pagers still work for pid
  kSpawnRestore =
      12,             // fds: as of kSpawnDump, and our own end of the RPC socket; pid: the parent's
                      // that the guest has at home; value: the guest
  kSignalJob = 13,    // as kSignal, to the process group that is in the foreground of pid's
                      // terminal; if it has none, to its own
  kCleanUp = 14,      // all processes of pid were killed: whatever still works for it ends
  kSignalGroup = 15,  // as kSignal, to the process group that pid leads; if it leads none, to pid
  kRegisterMember = 16,  // pid is a guest that was rebuilt below another: its end is reported, too
  kNetwork = 17,         // fds: a unix socket, over which the realm's network namespace is sent

  kSharedMemory = 18,  // fds: as of kNetwork; the realm's /dev/shm

  kReply = 100,  // pid: of the spawned process; error: errno or 0
  // Events.
  kGuest = 101,       // pid is a registered guest that lives
  kExited = 102,      // pid, value = wait status
  kStopped = 103,     // pid, value = signal that stopped it
  kContinued = 104,   // pid
  kChildEnded = 105,  // pid, value = wait status: a criu that this connection spawned
};

struct RealmMessage {
  std::uint32_t op = 0;
  std::int32_t pid = 0;
  std::int32_t value = 0;
  std::int32_t error = 0;
};
static_assert(std::is_trivially_copyable_v<RealmMessage> && sizeof(RealmMessage) == 16);

constexpr int kRealmMaxFds = 250;  // of SCM_MAX_FD, 253

// Where a realm keeps criu, the cgroup tree and its own things, seen from inside.
constexpr const char* kRealmPrivateDir = "/run/ssid";

}  // namespace ssi::migrate
