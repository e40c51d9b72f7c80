// ssid-deputy: what a process at home becomes while its program runs elsewhere as a guest. It keeps
// PID, parent, group, session and credentials (it runs as the user), forwards signals to ssid and
// ends as the guest ended. It has no heap, no threads, no libc and one rule: never end, and so tell
// the parent something false, unless ssid says so. ssid may come and go; signals wait meanwhile in
// the kernel's queue.
//
// Whoever made us blocked all signals before the exec, so there is no moment in which one could
// act. SIGKILL and SIGSTOP can't be taken: ssid sees them from outside (pidfd, StopWatcher).
#include <linux/capability.h>
#include <linux/prctl.h>
#include <linux/resource.h>
#include <linux/sched.h>
#include <linux/signal.h>
#include <linux/signalfd.h>
#include <linux/time.h>
#include <linux/un.h>

#include "migrate/deputy/deputy_protocol.h"
#include "migrate/deputy/stub/syscalls_x86_64.h"
#include "migrate/deputy/stub/title.h"
#include "ssid/base/deputy_lock_wire.h"

// The compiler may call these even in a freestanding program.
extern "C" void* memset(void* to, int byte, unsigned long n) {
  auto* p = static_cast<volatile char*>(to);
  for (unsigned long i = 0; i < n; ++i) p[i] = static_cast<char>(byte);
  return to;
}
extern "C" void* memcpy(void* to, const void* from, unsigned long n) {
  auto* p = static_cast<volatile char*>(to);
  auto* q = static_cast<const char*>(from);
  for (unsigned long i = 0; i < n; ++i) p[i] = q[i];
  return to;
}

namespace ssi::deputy {
namespace {

constexpr int kEperm = 1, kEintr = 4, kEagain = 11;
constexpr int kAfUnix = 1, kSockSeqpacket = 5, kSockCloexec = 02000000, kSockNonblock = 04000;
constexpr int kMsgNosignal = 0x4000, kMsgDontwait = 0x40, kMsgTrunc = 0x20;
constexpr short kPollIn = 1, kPollErr = 8, kPollHup = 16;
constexpr int kSolSocket = 1, kSoPeercred = 17;
constexpr int kFGetlk = 5, kFSetlk = 6;
constexpr int kNameAgainMs = 500;
constexpr int kAskedMs = 1000;  // who connects asks at once
constexpr int kWnohang = 1;
constexpr unsigned long kSigIgn = 1;
constexpr int kSignals = 64;
constexpr unsigned long kAllSignals = ~0UL;
constexpr long kBackoffNsMin = 50'000'000, kBackoffNsMax = 1'600'000'000;

struct PollFd {
  int fd;
  short events;
  short revents;
};

struct KernelSigaction {
  void (*handler)(int);
  unsigned long flags;
  void (*restorer)();
  unsigned long mask;
};

struct KernelFlock {
  short type;
  short whence;
  long start;
  long length;
  int pid;
};

struct PeerCredentials {
  int pid;
  unsigned uid;
  unsigned gid;
};

unsigned long bit(int signo) { return 1UL << (signo - 1); }

// The value of `name` ("X=") in the environment, or null.
const char* value_of(const char* const* environment, const char* name) {
  for (; *environment != nullptr; ++environment) {
    const char* entry = *environment;
    const char* n = name;
    while (*n != 0 && *n == *entry) ++n, ++entry;
    if (*n == 0) return entry;
  }
  return nullptr;
}

uint64_t decimal(const char*& text) {
  uint64_t value = 0;
  while (*text >= '0' && *text <= '9') value = value * 10 + static_cast<uint64_t>(*text++ - '0');
  return value;
}

void block_only(unsigned long mask) {
  sys::call(__NR_rt_sigprocmask, SIG_SETMASK, sys::arg(&mask), 0, sizeof mask);
}

void default_action(int signo) {
  KernelSigaction action{};  // SIG_DFL
  sys::call(__NR_rt_sigaction, signo, sys::arg(&action), 0, sizeof action.mask);
}

[[noreturn]] void end(int status) {
  for (;;) sys::call(__NR_exit_group, status);
}

// The stub's file gives CAP_CHECKPOINT_RESTORE, which is what it takes to choose a PID; not in
// force by itself, for then nobody could execute it from whom that capability was taken
// (capabilities(7)).
void raise_capabilities() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {};
  if (sys::call(__NR_capget, sys::arg(&header), sys::arg(data)) != 0) return;
  for (auto& set : data) set.effective = set.permitted;
  sys::call(__NR_capset, sys::arg(&header), sys::arg(data));
}

// Like fork(2), under this PID if it is not 0.
long fork_as(int32_t pid) {
  raise_capabilities();
  clone_args how{};
  how.exit_signal = SIGCHLD;
  if (pid != 0) {
    how.set_tid = reinterpret_cast<unsigned long>(&pid);
    how.set_tid_size = 1;
  }
  return sys::call(__NR_clone3, sys::arg(&how), sizeof how);
}

class Deputy {
 public:
  explicit Deputy(const long* stack) : title_(stack) {}

  bool configure(const char* const* environment) {
    const char* epoch = value_of(environment, kEnvEpoch);
    const char* socket = value_of(environment, kEnvSocket);
    const char* pid = value_of(environment, kEnvPid);
    if (epoch == nullptr || socket == nullptr || pid == nullptr) return false;
    for (unsigned i = 0; i + 1 < sizeof address_.sun_path && socket[i] != 0; ++i) {
      address_.sun_path[i] = socket[i];
    }
    epoch_ = decimal(epoch);
    pid_ = static_cast<int32_t>(decimal(pid));
    if (const char* comm = value_of(environment, kEnvComm)) {
      sys::call(__NR_prctl, PR_SET_NAME, sys::arg(comm));
    }
    const char* left = value_of(environment, kEnvTerminalLeft);
    terminal_left_ = left != nullptr && *left == '1';
    keep_ = value_of(environment, kEnvKeep);
    const char* drop = value_of(environment, kEnvDrop);
    while (drop != nullptr && *drop != 0) {
      const uint64_t signo = decimal(drop);
      if (signo >= 1 && signo <= kSignals) ++drop_[signo];
      if (*drop != 0) ++drop;
    }
    return true;
  }

  // Its children, if it has any, are deputies, too: their guests' parent waits for these guests. So
  // nobody waits here, and nobody is told.
  static void let_children_go() {
    KernelSigaction ignore{};
    ignore.handler = reinterpret_cast<void (*)(int)>(kSigIgn);
    sys::call(__NR_rt_sigaction, SIGCHLD, sys::arg(&ignore), 0, sizeof ignore.mask);
    while (sys::call(__NR_wait4, -1, 0, kWnohang, 0) > 0) {
    }
  }

  // But those to be kept. To close any other one of the same file would let go of its locks, so all
  // of these are among them.
  void close_all() {
    long from = 0;
    for (const char* keep = keep_; keep != nullptr && *keep >= '0' && *keep <= '9';) {
      const long kept = static_cast<long>(decimal(keep));
      if (*keep != 0) ++keep;
      if (kept > from) sys::call(__NR_close_range, from, kept - 1, 0);
      from = kept + 1;
    }
    sys::call(__NR_close_range, from, 0xffffffffL, 0);
  }

  // Gives up what the original held. Alarms survive an exec; the guest has taken its own along.
  void settle() {
    // As its file gives a capability it would be root's in /proc, and in `ps`.
    sys::call(__NR_prctl, PR_SET_DUMPABLE, 1);
    let_children_go();
    const __kernel_old_itimerval off{};
    for (int timer = 0; timer <= 2; ++timer) sys::call(__NR_setitimer, timer, sys::arg(&off));
    close_all();
    rlimit files{};
    sys::call(__NR_getrlimit, RLIMIT_NOFILE, sys::arg(&files));
    files.rlim_cur = files.rlim_max;  // it needs two
    sys::call(__NR_setrlimit, RLIMIT_NOFILE, sys::arg(&files));
    sys::call(__NR_chdir, sys::arg("/"));
    unsigned long mask = kAllSignals;
    while ((signals_ = static_cast<int>(sys::call(__NR_signalfd4, -1, sys::arg(&mask), sizeof mask,
                                                  kSockCloexec | kSockNonblock))) < 0) {
      nap();  // short of memory or descriptors: there is nothing better to do than try again
    }
  }

  [[noreturn]] void run() {
    for (;;) {
      if (socket_ < 0 && !connect()) {
        nap();
        continue;
      }
      // Somebody may have taken the name: that keeps it from nothing else.
      const bool wants_name = keep_ != nullptr && *keep_ != 0 && locks_ < 0 && !listen_for_locks();
      const bool may_read = sent_ - acked_ < kWindow;
      PollFd fds[3] = {
          {socket_, kPollIn, 0}, {may_read ? signals_ : -1, kPollIn, 0}, {locks_, kPollIn, 0}};
      if (sys::call(__NR_poll, sys::arg(fds), 3, wants_name ? kNameAgainMs : -1) < 0) continue;
      if (fds[2].revents != 0) serve_lock();
      if (fds[0].revents != 0 && !receive(fds[0].revents)) continue;
      if (fds[1].revents != 0) take_signal();
    }
  }

 private:
  void nap() {
    timespec_ time{backoff_ns_ / 1'000'000'000, backoff_ns_ % 1'000'000'000};
    sys::call(__NR_nanosleep, sys::arg(&time), 0);
    if (backoff_ns_ < kBackoffNsMax) backoff_ns_ *= 2;
  }

  // At once, or not at all.
  bool listen_for_locks() {
    sockaddr_un address{};
    address.sun_family = kAfUnix;
    unsigned size = 1;  // the name is abstract
    for (const char* c = kDeputyLockName; *c != 0; ++c) address.sun_path[size++] = *c;
    char digits[12];
    unsigned count = 0;
    for (int rest = pid_; rest > 0; rest /= 10)
      digits[count++] = static_cast<char>('0' + rest % 10);
    while (count > 0) address.sun_path[size++] = digits[--count];
    locks_ = static_cast<int>(
        sys::call(__NR_socket, kAfUnix, kSockSeqpacket | kSockCloexec | kSockNonblock, 0));
    if (locks_ < 0) return false;
    if (sys::call(__NR_bind, locks_, sys::arg(&address),
                  static_cast<long>(sizeof address.sun_family + size)) == 0 &&
        sys::call(__NR_listen, locks_, 16) == 0) {
      return true;
    }
    sys::call(__NR_close, locks_);
    locks_ = -1;
    return false;
  }

  // One question. Only root's: home's carrier.
  void serve_lock() {
    const long asker = sys::call(__NR_accept4, locks_, 0, 0, kSockCloexec | kSockNonblock);
    if (asker < 0) return;
    PollFd entry{static_cast<int>(asker), kPollIn, 0};
    DeputyLock asked;
    // One that did not wait for the answer has been told that nothing was done.
    if (is_roots(static_cast<int>(asker)) &&
        sys::call(__NR_poll, sys::arg(&entry), 1, kAskedMs) > 0 &&
        (entry.revents & kPollHup) == 0 &&
        sys::call(__NR_recvfrom, asker, sys::arg(&asked), sizeof asked, kMsgDontwait) ==
            sizeof asked &&
        asked.magic == kDeputyLockMagic && (asked.command == kFSetlk || asked.command == kFGetlk)) {
      KernelFlock lock{static_cast<short>(asked.type), 0, asked.start, asked.length, 0};
      asked.error = static_cast<int32_t>(
          -sys::call(__NR_fcntl, asked.number, asked.command, sys::arg(&lock)));
      asked.type = lock.type;
      asked.start = lock.start;
      asked.length = lock.length;
      asked.pid = lock.pid;
      sys::call(__NR_sendto, asker, sys::arg(&asked), sizeof asked, kMsgNosignal);
    }
    sys::call(__NR_close, asker);
  }

  void disconnect() {
    sys::call(__NR_close, socket_);
    socket_ = -1;
  }

  bool send(const void* message, unsigned long size) {
    long done;
    do {
      done = sys::call(__NR_sendto, socket_, reinterpret_cast<long>(message),
                       static_cast<long>(size), kMsgNosignal);
    } while (done == -kEintr);
    if (done == static_cast<long>(size)) return true;
    disconnect();
    return false;
  }

  bool connect() {
    address_.sun_family = kAfUnix;
    socket_ = static_cast<int>(sys::call(__NR_socket, kAfUnix, kSockSeqpacket | kSockCloexec, 0));
    if (socket_ < 0) return false;
    if (sys::call(__NR_connect, socket_, sys::arg(&address_), sizeof address_) < 0) {
      disconnect();
      return false;
    }
    Hello hello;
    hello.home_pid = pid_;
    hello.born_with = born_with_;
    hello.epoch = epoch_;
    if (!send(&hello, sizeof hello)) return false;
    // What the last ssid did not ack may be lost with it.
    for (uint64_t s = acked_ + 1; s <= sent_; ++s) {
      if (!send(&window_[s % kWindow], sizeof(Signal))) return false;
    }
    return true;
  }

  // Expiries of the original's timers, which the guest has for itself, and what was dumped with it.
  bool belongs_to_the_past(const signalfd_siginfo& info) {
    const int signo = static_cast<int>(info.ssi_signo);
    if (signo >= 1 && signo <= kSignals && drop_[signo] > 0) {
      --drop_[signo];
      return true;
    }
    if (info.ssi_code == SI_TIMER) return true;
    if (terminal_left_ && info.ssi_code == SI_KERNEL && (signo == SIGHUP || signo == SIGCONT)) {
      return true;
    }
    return info.ssi_code == SI_KERNEL &&
           (signo == SIGALRM || signo == SIGVTALRM || signo == SIGPROF);
  }

  void take_signal() {
    signalfd_siginfo info;
    if (sys::call(__NR_read, signals_, sys::arg(&info), sizeof info) != sizeof info) return;
    if (info.ssi_signo == SIGCONT && info.ssi_code == SI_QUEUE && info.ssi_ptr == kContinueCookie) {
      return;
    }
    if (belongs_to_the_past(info)) return;
    Signal& signal = window_[++sent_ % kWindow];
    signal = Signal{};
    signal.sequence = sent_;
    signal.signo = static_cast<int32_t>(info.ssi_signo);
    signal.code = info.ssi_code;
    signal.value = info.ssi_ptr;
    signal.sender_pid = static_cast<int32_t>(info.ssi_pid);
    signal.sender_uid = info.ssi_uid;
    send(&signal, sizeof signal);
  }

  // False if there is no connection any more.
  bool receive(short events) {
    alignas(8) char buffer[sizeof(Birth)];
    const long size = sys::call(__NR_recvfrom, socket_, sys::arg(buffer), sizeof buffer,
                                kMsgDontwait | kMsgTrunc);
    if (size == -kEagain || size == -kEintr) {
      if ((events & (kPollErr | kPollHup)) == 0) return true;
    }
    if (size < static_cast<long>(sizeof(Header))) {
      disconnect();
      return false;
    }
    Header header;
    memcpy(&header, buffer, sizeof header);
    if (header.magic != kMagic || header.version != kVersion) {
      disconnect();
      return false;
    }
    backoff_ns_ = kBackoffNsMin;  // it talks: a real ssid
    switch (header.type) {
      case Type::kSignalAck:
        if (size == sizeof(SignalAck)) return on_ack(*reinterpret_cast<SignalAck*>(buffer));
        break;
      case Type::kExit:
        if (size == sizeof(Exit)) end(reinterpret_cast<Exit*>(buffer)->status & 0xff);
        break;
      case Type::kDie:
        if (size == sizeof(Die)) return on_die(reinterpret_cast<Die*>(buffer)->signo);
        break;
      case Type::kStop:
        if (size == sizeof(Stop)) return on_stop(reinterpret_cast<Stop*>(buffer)->signo);
        break;
      case Type::kBirth:
        if (size >= static_cast<long>(kBirthBytesMin) && size <= static_cast<long>(sizeof(Birth)) &&
            buffer[size - 1] == 0) {
          return on_birth(*reinterpret_cast<Birth*>(buffer));
        }
        break;
      default:
        break;
    }
    disconnect();
    return false;
  }

  // The stub may have a capability for this, and anybody can start it: only root is obeyed.
  bool is_roots(int connection) const {
    PeerCredentials peer{};
    peer.uid = ~0U;
    int size = sizeof peer;
    sys::call(__NR_getsockopt, connection, kSolSocket, kSoPeercred, sys::arg(&peer),
              sys::arg(&size));
    return peer.uid == 0;
  }

  // False in the child, which has no connection yet.
  bool on_birth(const Birth& birth) {
    long made = is_roots(socket_) ? fork_as(birth.is_orphan != 0 ? 0 : birth.pid) : -kEperm;
    if (made == 0 && birth.is_orphan != 0) {
      if (fork_as(birth.pid) != 0) end(0);  // whose child is an orphan now
    }
    if (made == 0) {
      become(birth);
      return false;
    }
    if (made > 0) return true;
    NotBorn not_born;
    not_born.pid = birth.pid;
    not_born.error = static_cast<int32_t>(-made);
    return send(&not_born, sizeof not_born);
  }

  // In the child: signals are blocked as they were, nothing waits in the queue.
  void become(const Birth& birth) {
    if (birth.new_session != 0) {
      sys::call(__NR_setsid);
    } else if (birth.group != 0) {
      sys::call(__NR_setpgid, 0, birth.group == birth.pid ? 0 : birth.group);
    }
    if (birth.sets_users != 0) {
      sys::call(__NR_setgroups, 0, 0);
      sys::call(__NR_setresgid, birth.groups[0], birth.groups[1], birth.groups[2]);
      sys::call(__NR_setresuid, birth.users[0], birth.users[1], birth.users[2]);
    }
    keep_ = nullptr;
    epoch_ = birth.epoch;
    pid_ = birth.pid;
    born_with_ = birth.born_with;
    socket_ = locks_ = -1;
    sent_ = acked_ = 0;
    for (uint16_t& count : drop_) count = 0;
    terminal_left_ = false;
    backoff_ns_ = kBackoffNsMin;
    sys::call(__NR_prctl, PR_SET_NAME, sys::arg(birth.comm));
    title_.show(birth.title);
    settle();
  }

  bool on_ack(const SignalAck& ack) {
    if (ack.sequence > acked_ && ack.sequence <= sent_) acked_ = ack.sequence;
    return true;
  }

  // No core file of the stub: whatever the guest wrote is the one that counts.
  bool on_die(int signo) {
    if (signo < 1 || signo > kSignals) return true;
    const rlimit none{0, 0};
    sys::call(__NR_setrlimit, RLIMIT_CORE, sys::arg(&none));
    sys::call(__NR_prctl, PR_SET_DUMPABLE, 0);
    if (signo != SIGKILL && signo != SIGSTOP) default_action(signo);
    send_self(signo);
    block_only(~bit(signo));
    return true;  // the signal is ignored by default: not a way to die
  }

  bool on_stop(int signo) {
    if (signo != SIGSTOP && signo != SIGTSTP && signo != SIGTTIN && signo != SIGTTOU) return true;
    if (signo != SIGSTOP) default_action(signo);
    send_self(signo);
    block_only(signo == SIGSTOP ? kAllSignals : ~bit(signo));  // stopped in here
    block_only(kAllSignals);
    // Only SIGCONT ends a stop, and it is blocked and so still in the queue.
    unsigned long pending = 0;
    sys::call(__NR_rt_sigpending, sys::arg(&pending), sizeof pending);
    StopEnded ended;
    ended.signo = signo;
    ended.was_stopped = (pending & bit(SIGCONT)) != 0 ? 1 : 0;
    return send(&ended, sizeof ended);
  }

  void send_self(int signo) const { sys::call(__NR_kill, pid_, signo); }

  using timespec_ = __kernel_timespec;

  Title title_;
  sockaddr_un address_{};
  const char* keep_ = nullptr;
  uint64_t epoch_ = 0;
  int32_t pid_ = 0;
  int32_t born_with_ = 0;
  int socket_ = -1;
  int signals_ = -1;
  int locks_ = -1;  // where it is asked for record locks, if it keeps some
  long backoff_ns_ = kBackoffNsMin;
  uint64_t sent_ = 0;
  uint64_t acked_ = 0;
  Signal window_[kWindow];
  uint16_t drop_[kSignals + 1] = {};
  bool terminal_left_ = false;
};

}  // namespace
}  // namespace ssi::deputy

extern "C" [[noreturn]] void deputy_start(const long* stack) {
  using namespace ssi::deputy;
  block_only(kAllSignals);
  const char* const* environment = reinterpret_cast<const char* const*>(stack + 1 + stack[0] + 1);
  Deputy deputy(stack);
  if (!deputy.configure(environment)) {
    static const char usage[] = "ssid-deputy: is started by ssid only\n";
    sys::call(__NR_write, 2, sys::arg(usage), sizeof usage - 1);
    end(2);
  }
  deputy.settle();
  deputy.run();
}
