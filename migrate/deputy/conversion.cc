#include "migrate/deputy/conversion.h"

#include <signal.h>
#include <sys/uio.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <optional>
#include <set>
#include <sstream>
#include <thread>

#include "migrate/deputy/deputy_protocol.h"
#include "migrate/deputy/held_cgroup.h"
#include "migrate/deputy/kept_descriptors.h"
#include "migrate/deputy/proc_text.h"
#include "migrate/deputy/remote_thread.h"
#include "migrate/fds/lease.h"

namespace ssi::deputy {
namespace {

constexpr std::size_t kCmdlineBytesMax = 64 * 1024;  // ps reads 4 KiB to 128 KiB
constexpr std::size_t kSocketPathBytesMax = 107;

// What execve gets, laid out as it will lie in the other process.
struct ExecStrings {
  std::vector<std::string> argv;
  std::vector<std::string> envp;
  std::string path;

  std::size_t size() const {
    std::size_t bytes = 8 * (argv.size() + 1 + envp.size() + 1) + path.size() + 1;
    for (const auto& s : argv) bytes += s.size() + 1;
    for (const auto& s : envp) bytes += s.size() + 1;
    return (bytes + 15) / 16 * 16;
  }
};

struct ExecImage {
  std::vector<char> bytes;
  RemotePtr path, argv, envp;
};

ExecImage lay_out(const ExecStrings& strings, RemotePtr base) {
  ExecImage image;
  image.bytes.resize(strings.size());
  std::size_t pointer_at = 0;
  std::size_t text_at = 8 * (strings.argv.size() + 1 + strings.envp.size() + 1);
  const auto put_text = [&](const std::string& text) {
    const RemotePtr at = base + text_at;
    std::memcpy(image.bytes.data() + text_at, text.c_str(), text.size() + 1);
    text_at += text.size() + 1;
    return at;
  };
  const auto put_list = [&](const std::vector<std::string>& list) {
    const RemotePtr at = base + pointer_at;
    for (const auto& text : list) {
      const std::uint64_t address = put_text(text).address;
      std::memcpy(image.bytes.data() + pointer_at, &address, 8);
      pointer_at += 8;
    }
    pointer_at += 8;  // the null at the end
    return at;
  };
  image.argv = put_list(strings.argv);
  image.envp = put_list(strings.envp);
  image.path = put_text(strings.path);
  return image;
}

void pause_a_little() { std::this_thread::sleep_for(std::chrono::microseconds(100)); }

std::vector<std::string> split_cmdline(std::string cmdline) {
  cmdline.resize(std::min(cmdline.size(), kCmdlineBytesMax));
  if (!cmdline.empty() && cmdline.back() == '\0') cmdline.pop_back();
  std::vector<std::string> arguments;
  for (std::size_t at = 0;;) {
    const std::size_t end = std::min(cmdline.find('\0', at), cmdline.size());
    arguments.push_back(cmdline.substr(at, end - at));
    if (end == cmdline.size()) return arguments;
    at = end + 1;
  }
}

// Memory of the process that was written over, to be put back should it fail.
struct SavedMemory {
  RemotePtr at;
  std::vector<char> bytes;
};

class Conversion {
 public:
  Conversion(const ConversionPlan& plan, const HeldCgroup& cgroup)
      : plan_(plan), cgroup_(cgroup), deadline_(std::chrono::steady_clock::now() + plan.timeout) {}
  Conversion(const Conversion&) = delete;
  Conversion& operator=(const Conversion&) = delete;

  ~Conversion() {
    if (!done_) undo();
  }

  Result<> run() {
    fds::silence_leases(plan_.pid);
    SSI_TRY(stop_all().context("stop its threads"));
    SSI_TRY(arm().context("prepare it"));
    SSI_TRY(execute().context("execute " + plan_.stub_path));
    return finish();
  }

 private:
  const RemoteThread& leader() const { return threads_.at(plan_.pid); }

  Error late() const { return Error(ErrorCode::kTimeout, "it did not stop in time"); }
  Error gone() const { return Error(ErrorCode::kGone, "the process ended"); }

  // Frozen tasks can't clone, but some may have been ending when the freezer came: they end now.
  Result<> stop_all() {
    for (std::size_t fresh = 1; fresh > 0;) {
      if (std::chrono::steady_clock::now() >= deadline_) return late();
      SSI_ASSIGN(const std::vector<pid_t> tids, thread_ids(plan_.pid));
      fresh = 0;
      for (pid_t tid : tids) {
        if (threads_.contains(tid)) continue;
        ++fresh;
        auto thread = RemoteThread::seize(tid);
        if (!thread && thread.error().code() == ErrorCode::kGone && tid != plan_.pid) continue;
        if (!thread) return std::move(thread).error();
        threads_.emplace(tid, *thread);
        SSI_TRY(thread->interrupt());
      }
      SSI_TRY(wait_all_stopped());
    }
    return threads_.contains(plan_.pid) ? Result<>{} : Result<>{gone()};
  }

  // All again and again, in any order: one may be in an exec that its last tracer left it in. That
  // waits for the threads that it kills, stopped ones too, and these for us to take note.
  Result<> wait_all_stopped() {
    for (;;) {
      bool all = true;
      for (auto at = threads_.begin(); at != threads_.end();) {
        const pid_t tid = at->first;
        SSI_ASSIGN(const auto status, at->second.poll_trap());
        if (status && status->kind == StopStatus::Kind::kExited) {
          if (tid == plan_.pid) return gone();
          stopped_.erase(tid);
          at = threads_.erase(at);
          continue;
        }
        if (status) stopped_.insert(tid);
        all &= stopped_.contains(tid);
        ++at;
      }
      if (all) return {};
      if (std::chrono::steady_clock::now() >= deadline_) return late();
      pause_a_little();
    }
  }

  Result<> write_memory(RemotePtr at, const std::vector<char>& bytes) const {
    const iovec local{const_cast<char*>(bytes.data()), bytes.size()};
    const iovec remote{reinterpret_cast<void*>(at.address), bytes.size()};
    const ssize_t done = process_vm_writev(plan_.pid, &local, 1, &remote, 1, 0);
    if (done != static_cast<ssize_t>(bytes.size())) return Error::from_errno("write its memory");
    return {};
  }

  Result<std::vector<char>> read_memory(RemotePtr at, std::size_t size) const {
    std::vector<char> bytes(size);
    const iovec local{bytes.data(), size};
    const iovec remote{reinterpret_cast<void*>(at.address), size};
    const ssize_t done = process_vm_readv(plan_.pid, &local, 1, &remote, 1, 0);
    if (done != static_cast<ssize_t>(size)) return Error::from_errno("read its memory");
    return bytes;
  }

  // The vdso is in nearly every process and never shared memory; else the first code that can be
  // written.
  Result<> place_code(const std::vector<Mapping>& maps) {
    for (const bool vdso : {true, false}) {
      for (const Mapping& m : maps) {
        if (!m.executable || m.shared || (m.name == "[vdso]") != vdso) continue;
        if (m.name == "[vsyscall]") continue;
        if (!leader().peek(m.start, saved_code_, kTrapCodeWords)) continue;
        if (leader().poke(m.start, kTrapCode, kTrapCodeWords)) {
          code_ = m.start;
          return {};
        }
      }
    }
    return Error(ErrorCode::kRefused, "it has no code that could be replaced");
  }

  Result<ExecImage> place_strings(const std::vector<Mapping>& maps, ExecStrings strings) {
    for (;;) {
      const std::size_t size = strings.size();
      for (const bool stack : {true, false}) {
        for (const Mapping& m : maps) {
          if (!m.writable || m.shared || m.size() < size || (m.name == "[stack]") != stack)
            continue;
          const RemotePtr at{m.end.address - size};
          auto old = read_memory(at, size);
          if (!old) continue;
          ExecImage image = lay_out(strings, at);
          if (!write_memory(at, image.bytes)) continue;
          saved_strings_ = SavedMemory{at, std::move(*old)};
          return image;
        }
      }
      if (strings.argv.size() == 1 && strings.argv[0].empty()) break;
      strings.argv.resize(1);  // too long for what memory it has: give up on the command line
      strings.argv[0].resize(strings.argv[0].size() / 2);
    }
    return Error(ErrorCode::kRefused, "it has no memory for the deputy's arguments");
  }

  // Of what the dump carried, only that is to be dropped which is still in the queue.
  Result<std::string> drop_list() const {
    SSI_ASSIGN(std::vector<int> queued, leader().pending_signals());
    std::string list;
    for (int signo : plan_.carried_signals) {
      const auto at = std::find(queued.begin(), queued.end(), signo);
      if (at == queued.end()) continue;
      queued.erase(at);
      list += std::to_string(signo) + ",";
    }
    return list;
  }

  Result<> arm() {
    for (const auto& [tid, thread] : threads_) {
      SSI_ASSIGN(const ThreadState state, thread.state());
      if (!is_native(state)) return Error(ErrorCode::kRefused, "it is a 32-bit program");
      saved_states_.emplace(tid, state);
    }
    SSI_ASSIGN(std::string comm, read_proc_file(plan_.pid, "comm"));
    if (comm.ends_with('\n')) comm.pop_back();
    SSI_ASSIGN(std::string cmdline, read_proc_file(plan_.pid, "cmdline"));
    SSI_ASSIGN(const std::string drop, drop_list());
    kept_ = kept_descriptors(plan_.pid);
    const ExecStrings strings{
        .argv = split_cmdline(std::move(cmdline)),
        .envp = {kEnvEpoch + std::to_string(plan_.epoch.value), kEnvSocket + plan_.socket_path,
                 kEnvPid + std::to_string(plan_.pid), kEnvComm + comm, kEnvDrop + drop,
                 kEnvKeep + kept_list(kept_),
                 kEnvTerminalLeft + std::string(plan_.terminal_left ? "1" : "0")},
        .path = plan_.stub_path};
    SSI_ASSIGN(const std::vector<Mapping> maps, mappings(plan_.pid));
    SSI_TRY(place_code(maps));
    SSI_ASSIGN(const ExecImage image, place_strings(maps, strings));
    for (const auto& [tid, thread] : threads_) {
      const ThreadState& now = saved_states_.at(tid);
      if (tid != plan_.pid) SSI_TRY(thread.set_state(state_for_thread_exit(now, *code_)));
    }
    exec_state_ =
        state_for_exec(saved_states_.at(plan_.pid), *code_, image.path, image.argv, image.envp);
    std::erase_if(kept_, [](const KeptDescriptor& one) { return !one.closed_by_exec; });
    SSI_TRY(leader().set_state(next_state()));
    return {};
  }

  // What it does first: descriptors that execve would close are kept one by one.
  ThreadState next_state() const {
    if (kept_.empty()) return exec_state_;
    return state_to_keep_over_exec(saved_states_.at(plan_.pid), *code_, kept_.back().number);
  }

  Result<> execute() {
    thawed_ = true;
    SSI_TRY(cgroup_.thaw());
    while (!kept_.empty()) SSI_TRY(keep_one());
    for (bool entered = false;;) {
      SSI_TRY(leader().run_to_syscall());
      SSI_ASSIGN(const StopStatus status, wait_leader());
      switch (status.kind) {
        case StopStatus::Kind::kSyscall: {
          SSI_ASSIGN(const bool entry, leader().at_syscall_entry());
          if (entry) {
            entered = true;
            SSI_TRY(cgroup_.freeze());
          } else if (entered) {
            SSI_ASSIGN(const ThreadState state, leader().state());
            return Error::from_errno("execve", static_cast<int>(-syscall_result(state)));
          }
          break;
        }
        case StopStatus::Kind::kExec:
          return {};
        case StopStatus::Kind::kSignal:  // SIGSTOP; nothing else is unblocked
          taken_out_.push_back(status.signo);
          break;
        case StopStatus::Kind::kTrap:
        case StopStatus::Kind::kGroupStop:
          break;
        case StopStatus::Kind::kExited:
          return gone();
      }
    }
  }

  // Stands at the exit of that call then, with the next one before it.
  Result<> keep_one() {
    for (int syscall_stops = 0; syscall_stops < 2;) {
      SSI_TRY(leader().run_to_syscall());
      SSI_ASSIGN(const StopStatus status, wait_leader());
      if (status.kind == StopStatus::Kind::kExited) return gone();
      if (status.kind == StopStatus::Kind::kSignal) taken_out_.push_back(status.signo);
      if (status.kind == StopStatus::Kind::kSyscall) ++syscall_stops;
    }
    SSI_ASSIGN(const ThreadState state, leader().state());
    if (syscall_result(state) != 0) {
      return Error::from_errno("keep a descriptor", static_cast<int>(-syscall_result(state)));
    }
    kept_.pop_back();
    return leader().set_state(next_state());
  }

  Result<StopStatus> wait_leader() {
    for (;;) {
      SSI_ASSIGN(const auto status, leader().poll_stop());
      if (status) return *status;
      for (auto at = threads_.begin(); at != threads_.end();) {
        if (at->first != plan_.pid) {
          SSI_ASSIGN(const auto other, at->second.poll_stop());
          if (other && other->kind == StopStatus::Kind::kExited) {
            at = threads_.erase(at);
            continue;
          }
        }
        ++at;
      }
      if (std::chrono::steady_clock::now() >= deadline_) return late();
      pause_a_little();
    }
  }

  // Threads that won't be detached are let go by the end of our own. A leader that does not stand
  // still is in the execve; then its memory must stay as the execve needs it.
  void undo() {
    if (thawed_) (void)cgroup_.freeze();
    bool leader_restored = true;
    for (const auto& [tid, state] : saved_states_) {
      const auto thread = threads_.find(tid);
      if (thread == threads_.end()) continue;
      const bool restored = thread->second.set_state(state).ok();
      if (tid == plan_.pid) leader_restored = restored;
    }
    if (leader_restored) {
      if (saved_strings_) (void)write_memory(saved_strings_->at, saved_strings_->bytes);
      if (code_) (void)leader().poke(*code_, saved_code_, kTrapCodeWords);
    }
    for (const auto& [tid, thread] : threads_) (void)thread.detach();
    for (int signo : taken_out_) ::kill(plan_.pid, signo);
  }

  Result<> finish() {
    done_ = true;
    SSI_TRY(leader().detach());
    for (int signo : taken_out_) {
      SSI_ASSIGN(const std::vector<int> queued, queued_signals(plan_.pid));
      const bool continued = std::find(queued.begin(), queued.end(), SIGCONT) != queued.end();
      if (!continued) ::kill(plan_.pid, signo);
    }
    return cgroup_.wait_frozen(plan_.timeout);
  }

  const ConversionPlan& plan_;
  const HeldCgroup& cgroup_;
  const std::chrono::steady_clock::time_point deadline_;
  std::map<pid_t, RemoteThread> threads_;
  std::set<pid_t> stopped_;
  std::map<pid_t, ThreadState> saved_states_;
  std::optional<RemotePtr> code_;
  std::vector<KeptDescriptor> kept_;  // whose FD_CLOEXEC is still to be taken off
  ThreadState exec_state_;
  std::uint64_t saved_code_[kTrapCodeWords] = {};
  std::optional<SavedMemory> saved_strings_;
  std::vector<int> taken_out_;
  bool thawed_ = false;
  bool done_ = false;
};

Result<> verify(const ConversionPlan& plan, const HeldCgroup& cgroup) {
  if (plan.socket_path.size() > kSocketPathBytesMax)
    return Error("the deputy socket's path is too long");
  SSI_ASSIGN(const std::uint64_t started, start_time_ticks(plan.pid));
  if (started != plan.start_time_ticks) {
    return Error(ErrorCode::kGone, "the process ended and its PID was used again");
  }
  SSI_ASSIGN(const char state, process_state(plan.pid));
  if (state == 'Z') return Error(ErrorCode::kRefused, "its main thread has ended");
  SSI_ASSIGN(const std::vector<pid_t> held, cgroup.processes());
  if (held != std::vector<pid_t>{plan.pid}) {
    return Error("the cgroup must hold this process and no other");
  }
  SSI_ASSIGN(const bool frozen, cgroup.told_to_freeze());
  if (!frozen) return Error("the cgroup is not frozen");
  return cgroup.wait_frozen(plan.timeout);
}

}  // namespace

Result<> become_deputy(const ConversionPlan& plan) {
  const std::string who = "deputy of " + std::to_string(plan.pid);
  auto cgroup = HeldCgroup::open(plan.cgroup_dir);
  if (!cgroup) return std::move(cgroup).error().context(who);
  SSI_TRY(verify(plan, *cgroup).context(who));
  Result<> result;
  std::thread tracer([&] {
    Conversion conversion(plan, *cgroup);
    result = conversion.run();
  });
  tracer.join();
  return std::move(result).context(who);
}

Result<std::vector<int>> queued_signals(pid_t pid) {
  SSI_ASSIGN(const std::string status, read_proc_file(pid, "status"));
  std::uint64_t mask = 0;
  std::istringstream lines(status);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("SigPnd:") || line.starts_with("ShdPnd:")) {
      mask |= std::strtoull(line.c_str() + 7, nullptr, 16);
    }
  }
  std::vector<int> signals;
  for (int signo = 1; signo <= 64; ++signo) {
    if ((mask >> (signo - 1)) & 1) signals.push_back(signo);
  }
  return signals;
}

}  // namespace ssi::deputy
