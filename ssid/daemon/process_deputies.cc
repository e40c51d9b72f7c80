// ProcessControl and the deputies: how originals become them, and what happens to them.
#include <signal.h>
#include <sys/sysmacros.h>

#include <boost/asio/post.hpp>
#include <set>

#include "migrate/check/proc_dir.h"
#include "migrate/deputy/conversion.h"
#include "migrate/fds/descriptor.h"
#include "migrate/fds/duplex_fifo.h"
#include "migrate/fds/pty.h"
#include "migrate/move/frozen_copy.h"
#include "migrate/net/silence.h"
#include "ssid/base/log.h"
#include "ssid/base/proc_job.h"
#include "ssid/base/process_handle.h"
#include "ssid/daemon/process_control.h"

namespace ssi {
namespace asio = boost::asio;
using migrate::CopyName;
using migrate::FreezerCgroup;
using migrate::MoveTicket;

namespace {

// What a terminal sends to its foreground process group.
bool is_terminals(const deputy::Signal& s) {
  return s.code == SI_KERNEL &&
         (s.signo == SIGINT || s.signo == SIGQUIT || s.signo == SIGTSTP || s.signo == SIGHUP);
}

// What a shell before a terminal sends to its job (fg, bg, kill %1) goes to all of its process
// group, not all of which is here. The kernel does not say whether a signal was meant for a group;
// such a shell rarely means the job's leader alone, and what that has started ends with it anyway.
// Others do (`kill -USR1 $!` in a script, a daemon's parent), so signals that mean something to the
// leader only are never given to all.
bool is_shells(const deputy::Signal& s, pid_t deputy) {
  if (s.code != SI_USER || s.sender_pid <= 1) return false;
  if (s.signo == SIGUSR1 || s.signo == SIGUSR2 || s.signo >= SIGRTMIN) return false;
  const auto job = proc_job(deputy);
  return job && job->terminal != 0 && job->group == deputy && job->parent == s.sender_pid;
}

// Of which they have the masters: these are gone when the last of them is a deputy. Device numbers.
std::set<dev_t> terminals_of(const std::vector<migrate::HeldOriginal>& originals) {
  constexpr unsigned kPseudoTerminals = 136;
  std::set<dev_t> terminals;
  for (const migrate::HeldOriginal& original : originals) {
    const auto proc = check::ProcDir::open(original.pid);
    const auto numbers = proc ? proc->list("fdinfo") : Result<std::vector<std::string>>({});
    if (!numbers) continue;
    for (const std::string& number : *numbers) {
      const auto info = proc->read("fdinfo/" + number);
      const auto index = info ? fds::number_in(*info) : std::nullopt;
      if (index) terminals.insert(makedev(kPseudoTerminals, static_cast<unsigned>(*index)));
    }
  }
  return terminals;
}

}  // namespace

// The source after the commit, in the mover's thread.
void ProcessControl::stand_down(const MoveTicket& ticket, const migrate::Carried& carried) {
  const CopyName original{ticket.pid, ticket.epoch};
  if (ticket.pid.home == group_.self() && ticket.epoch == Epoch{1})
    return make_deputies(original, carried);
  if (ticket.pid.home == group_.self()) {
    std::vector<pid_t> deputies{ticket.pid.pid};
    for (const migrate::UnitMember& member : ticket.members) deputies.push_back(member.pid);
    empty_fifos(deputies, carried);
  }
  // Its copy here is of the epoch before.
  const CopyName old{ticket.pid, Epoch{ticket.epoch.value - 1}};
  asio::post(io_, [this, old] { drop_copy(old); });
}

void ProcessControl::fifo_opened(pid_t deputy, const std::string& fifo) {
  const auto entry = group_.find({group_.self(), deputy});
  if (!entry || entry->where == group_.self()) return;
  SsiPid first{group_.self(), entry->unit != 0 ? entry->unit : deputy};
  if (!group_.find(first)) first.pid = deputy;  // that one is over
  // It may have been criu, for the guest itself.
  if (moves_.is_arriving({first, entry->epoch.next()})) {
    opened_[first].insert(deputy);
  } else {
    handlers_.called_home(first, "somebody has opened " + fifo);
  }
}

// What the guest has taken along of what waited in its named pipes: their keepers here (what was
// frozen, or deputies) have it still. From now on whoever opens one calls it home.
void ProcessControl::empty_fifos(const std::vector<pid_t>& pids, const migrate::Carried& carried) {
  std::set<std::pair<dev_t, ino_t>> seen;
  for (const pid_t pid : pids) {
    for (const fds::DuplexFifo& fifo : fds::duplex_fifos(pid)) {
      if (!seen.insert({fifo.device, fifo.inode}).second) continue;
      std::optional<std::uint32_t> bytes;
      if (carried.fifo_bytes) {
        const auto known = carried.fifo_bytes->find(fifo.criu_number());
        bytes = known == carried.fifo_bytes->end() ? 0 : known->second;
      }
      const auto held = fds::descriptor_of(pid, fifo.number);
      if (!held) continue;
      if (auto emptied = fds::empty_fifo(**held, bytes); !emptied) {
        log_error("{}: {}", fifo.path, emptied.error().message());
      }
    }
  }
  if (seen.empty()) return;
  asio::post(io_, [this, pids, since = carried.frozen_since] { taken_fifos_->watch(pids, since); });
}

void ProcessControl::make_deputies(const CopyName& name, const migrate::Carried& carried) {
  auto all = FreezerCgroup::open(freezer_.moving(name));
  if (!all) return log_error("original {}: {}", name.to_string(), all.error().message());
  auto originals = migrate::part_originals(*all);
  if (!originals) {
    return log_error("original {}: {}", name.to_string(), originals.error().message());
  }
  const auto terminals = terminals_of(*originals);
  std::vector<pid_t> pids;
  for (const migrate::HeldOriginal& original : *originals) pids.push_back(original.pid);
  empty_fifos(pids, carried);
  for (const migrate::HeldOriginal& original : *originals) {
    const auto signals = carried.signals.find(original.pid);
    const auto job = proc_job(original.pid);
    make_deputy(name, original,
                signals == carried.signals.end() ? std::vector<int>() : signals->second,
                job && terminals.contains(job->terminal));
  }
  (void)all->remove();
}

void ProcessControl::make_deputy(const CopyName& name, const migrate::HeldOriginal& original,
                                 const std::vector<int>& carried, bool terminal_left) {
  const pid_t pid = original.pid;
  auto handle = ProcessHandle::open(pid);
  // Its connections go on elsewhere.
  if (handle) {
    if (auto silent = net::silence_sockets(pid); !silent) {
      log_error("original {}: {}", pid, silent.error().message());
    }
  }
  auto made = handle ? deputy::become_deputy({.pid = pid,
                                              .start_time_ticks = handle->start_ticks(),
                                              .cgroup_dir = original.cgroup.dir(),
                                              .stub_path = paths_.program_dir + "/ssid-deputy",
                                              .socket_path = paths_.deputy_socket(),
                                              .epoch = name.epoch,
                                              .terminal_left = terminal_left,
                                              .carried_signals = carried})
                     : Result<>(std::move(handle).error());
  if (!made && made.error().code() != ErrorCode::kGone) {
    return log_error("original {}: does not become the deputy: {}", pid, made.error().message());
  }
  if (made) made = original.cgroup.thaw();
  (void)migrate::leave_moving_cgroup(original.cgroup);
  // Gone: somebody killed the original while it stood frozen; its guest has to follow (adopt says
  // so).
  asio::post(io_, [this, pid] { deputies_.adopt(pid); });
}

Deputies::Handlers ProcessControl::deputy_handlers() {
  Deputies::Handlers h;
  h.on_signal = [this](pid_t pid, const deputy::Signal& s) {
    to_guest({.process = {group_.self(), pid},
              .epoch = {},
              .signo = s.signo,
              .value = static_cast<std::int64_t>(s.value),
              .sender_uid = s.sender_uid,
              .sender_pid = s.sender_pid,
              .by_terminal = is_terminals(s),
              .to_group = is_shells(s, pid)});
  };
  h.on_killed = [this](pid_t pid) {
    log_info("deputy {} was killed; so is its guest", pid);
    to_guest({.process = {group_.self(), pid}, .epoch = {}, .signo = SIGKILL});
  };
  h.on_gone = [this](pid_t pid) { taken_fifos_->forget(pid); };
  h.fate_of = [this](pid_t pid, pid_t born_with) {
    Deputies::Handlers::Fate fate;
    const SsiPid process{group_.self(), pid};
    if (group_.find(process) || !group_.table_valid() || home_births_.is_unclaimed(pid)) {
      fate = {true, std::nullopt};
    } else if (const auto stone = group_.tombstone(process)) {
      fate = {true, stone->wait_status};
    } else if (born_with != 0) {
      fate = {true, home_births_.remember(pid, born_with) ? std::nullopt : std::optional(0)};
    }
    return fate;
  };
  return h;
}

}  // namespace ssi
