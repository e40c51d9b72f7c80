// What ssid and a deputy say to each other over /run/ssid/deputy.sock (SOCK_SEQPACKET: one message
// is one packet). Shared with the stub, which is freestanding: no library types here. Both ends run
// on the same kernel, so native byte order and layout. Every message starts with a Header and has
// exactly the size of its struct; anything else is refused.
//
//   deputy -> ssid   Hello      first message of a connection
//                    Signal     a signal came for the process; resent after a reconnect until acked
//                    StopEnded  a requested stop is over (or could not be: orphaned process group)
//                    NotBorn    a Birth came to nothing; of one that did not the Hello of the new
//                    one tells
//   ssid -> deputy   SignalAck  ssid has taken over this signal and all before it
//                    Exit       the guest exited: end with this status
//                    Die        the guest was killed by a signal: die of the same
//                    Stop       the guest is stopped: stop by the same signal, so that the parent
//                    sees it
//                    Birth      the guest has a child: fork a deputy for it. The only message that
//                               is longer than kMessageBytesMax
// There is no "continue" message: a stopped deputy reads nothing. ssid sends it a marked SIGCONT
// (continue_deputy), which it does not forward.
#pragma once

#include <stdint.h>

namespace ssi::deputy {

inline constexpr uint32_t kMagic = 0x50454453;  // "SDEP"
inline constexpr uint16_t kVersion = 1;
inline constexpr uint32_t kWindow = 16;  // signals sent and not yet acked, at most
inline constexpr uint32_t kMessageBytesMax = 64;
inline constexpr uint32_t kTitleBytesMax = 1024;

// si_value of the SIGCONT that ssid itself sends.
inline constexpr uint64_t kContinueCookie = 0x5353494443544e55;

// The stub's parameters travel in its environment, so that argv stays what `ps` showed before.
inline constexpr char kEnvEpoch[] = "SSID_DEPUTY_EPOCH=";    // decimal
inline constexpr char kEnvSocket[] = "SSID_DEPUTY_SOCKET=";  // path
// Decimal: the process's own. The original may be forbidden to ask for it.
inline constexpr char kEnvPid[] = "SSID_DEPUTY_PID=";
inline constexpr char kEnvComm[] = "SSID_DEPUTY_COMM=";  // the original's comm
// Decimal, each followed by a comma: signals in the queue that were dumped too and so already
// travel with the guest.
inline constexpr char kEnvDrop[] = "SSID_DEPUTY_DROP=";
// Decimal, rising, each followed by a comma: descriptors that stay open, because of record locks.
inline constexpr char kEnvKeep[] = "SSID_DEPUTY_KEEP=";
// "1": its terminal went with the guest. That it hangs up here is no news to the guest.
inline constexpr char kEnvTerminalLeft[] = "SSID_DEPUTY_TERMINAL_LEFT=";

enum class Type : uint16_t {
  kHello = 1,
  kSignal = 2,
  kStopEnded = 3,
  kNotBorn = 4,
  kSignalAck = 65,
  kExit = 66,
  kDie = 67,
  kStop = 68,
  kBirth = 69,
};

struct Header {
  uint32_t magic = kMagic;
  uint16_t version = kVersion;
  Type type;
};

struct Hello {
  Header header{.type = Type::kHello};
  int32_t home_pid = 0;   // as the deputy sees itself; the kernel's SO_PEERCRED is what counts
  int32_t born_with = 0;  // not 0: forked by a Birth, for one of the unit that began with this PID
  uint64_t epoch = 0;     // of the commit that made it a deputy
};

struct Signal {
  Header header{.type = Type::kSignal};
  uint64_t sequence = 0;  // 1, 2, 3 ... over the whole life of the deputy
  int32_t signo = 0;
  int32_t code = 0;    // si_code
  uint64_t value = 0;  // si_value
  int32_t sender_pid = 0;
  uint32_t sender_uid = 0;
};

struct StopEnded {
  Header header{.type = Type::kStopEnded};
  int32_t signo = 0;
  uint32_t was_stopped = 0;  // 0: the kernel ignored it, as it does in an orphaned process group
};

struct SignalAck {
  Header header{.type = Type::kSignalAck};
  uint64_t sequence = 0;
};

struct Exit {
  Header header{.type = Type::kExit};
  int32_t status = 0;  // 0..255
  uint32_t reserved = 0;
};

struct Die {
  Header header{.type = Type::kDie};
  int32_t signo = 0;
  uint32_t reserved = 0;
};

struct Stop {
  Header header{.type = Type::kStop};
  int32_t signo = 0;  // SIGSTOP, SIGTSTP, SIGTTIN or SIGTTOU
  uint32_t reserved = 0;
};

struct NotBorn {
  Header header{.type = Type::kNotBorn};
  int32_t pid = 0;
  int32_t error = 0;  // errno
};

// Who the deputy of a guest's child is to be. `title` (as long as the packet says, 1 to
// kTitleBytesMax bytes, the last one 0) is what `ps` shows for its command.
struct Birth {
  Header header{.type = Type::kBirth};
  int32_t pid = 0;
  int32_t born_with = 0;
  uint64_t epoch = 0;
  int32_t group = 0;       // of processes; 0: its parent's
  uint32_t is_orphan = 0;  // its parent has ended: init is its parent, not the deputy that forks
  uint32_t new_session = 0;
  uint32_t sets_users = 0;  // the deputy that forks is root's, the child is not
  uint32_t users[3] = {};   // real, effective, saved
  uint32_t groups[3] = {};
  char comm[16] = {};
  char title[kTitleBytesMax] = {};
};
inline constexpr uint32_t kBirthBytesMin = sizeof(Birth) - kTitleBytesMax + 1;

static_assert(sizeof(Header) == 8 && sizeof(Hello) == 24 && sizeof(Signal) == 40);
static_assert(sizeof(StopEnded) == 16 && sizeof(SignalAck) == 16 && sizeof(Exit) == 16);
static_assert(sizeof(NotBorn) == 16 && sizeof(Birth) == 80 + kTitleBytesMax);
static_assert(sizeof(Die) == 16 && sizeof(Stop) == 16 && sizeof(Signal) <= kMessageBytesMax);

}  // namespace ssi::deputy
