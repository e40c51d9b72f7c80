#include "migrate/check/pty_facts.h"

#include <algorithm>
#include <map>

#include "migrate/fds/descriptor.h"

namespace ssi::check {
namespace {

constexpr const char* kSlaves = "root/dev/pts";

bool is_master(const FdFact& fd) { return fd.kind == FdKind::kPtyMaster && !fd.in_flight; }

void ask_master(const ProcDir& proc, FdFact& fd) {
  const auto master = fds::descriptor_of(proc.pid(), fd.number);
  if (!master) {
    fd.why_not = "that can't be looked at: " + master.error().message();
    return;
  }
  const auto told = fds::ask_master(**master, proc.path(kSlaves));
  if (!told) {
    fd.why_not = "that can't be looked at: " + told.error().message();
    return;
  }
  fd.pty = told->name;
  fd.session = told->session;
}

void forbid_exclusive(const ProcDir& proc, FdFact& fd) {
  const auto slave = fds::descriptor_of(proc.pid(), fd.number);
  if (slave && fds::is_exclusive(**slave)) {
    fd.why_not = "that nobody else may open (TIOCEXCL), which would be forgotten";
  }
}

std::set<fds::PtyName> masters_in(const std::vector<FdFact>& fds) {
  std::set<fds::PtyName> masters;
  for (const FdFact& fd : fds) {
    if (is_master(fd) && fd.pty) masters.insert(*fd.pty);
  }
  return masters;
}

// criu finds /dev/tty by a side that the same process has.
std::string why_tty_stays(const ProcJob& job) {
  return job.foreground == job.session ? ""
                                       : "with another process group in the foreground than its "
                                         "session's first";
}

}  // namespace

void add_pty_facts(const ProcDir& proc, const ProcJob& job, std::vector<FdFact>& fds) {
  for (FdFact& fd : fds) {
    if (fd.kind == FdKind::kPtyMaster) ask_master(proc, fd);
    if (fd.kind == FdKind::kControllingTty) fd.session = job.session;
    if (fd.kind != FdKind::kTty) continue;
    const auto st = proc.status("fd/" + std::to_string(fd.number));
    if (st && fds::is_pty_slave(*st)) fd.pty = fds::name_of_slave(*st);
  }
  const auto masters = masters_in(fds);
  for (FdFact& fd : fds) {
    if (fd.kind == FdKind::kTty) fd.pty_inside = fd.pty && masters.contains(*fd.pty);
    if (fd.kind == FdKind::kTty && fd.pty) forbid_exclusive(proc, fd);
    if (fd.kind != FdKind::kControllingTty) continue;
    fd.pty_inside = std::ranges::any_of(fds, [&](const FdFact& other) {
      return is_master(other) && other.session != 0 && other.session == job.session;
    });
    if (fd.pty_inside) fd.why_not = why_tty_stays(job);
  }
}

bool has_masters(const std::vector<FdFact>& fds) { return std::ranges::any_of(fds, is_master); }

PtyUse read_pty_use(const ProcDir& other) {
  PtyUse use;
  if (const auto job = proc_job(other.pid())) use.session = job->session;
  const auto numbers = other.list("fd");
  if (!numbers) return use;
  for (const auto& n : *numbers) {
    const auto target = other.link("fd/" + n);
    if (!target || !target->starts_with("/dev/")) continue;
    const auto st = other.status("fd/" + n);
    if (!st) continue;
    if (fds::is_pty_slave(*st)) use.open.insert(fds::name_of_slave(*st));
    const auto info = other.read("fdinfo/" + n);
    if (!info || !fds::number_in(*info)) continue;
    const auto master = fds::descriptor_of(other.pid(), std::atoi(n.c_str()));
    if (!master) continue;
    const auto told = fds::ask_master(**master, other.path(kSlaves));
    if (told) use.open.insert(told->name);
  }
  return use;
}

void find_users_of_ptys(const PtyUse& use, const ProcessName& name, std::vector<FdFact>& fds) {
  for (FdFact& fd : fds) {
    if (!is_master(fd) || !fd.pty) continue;
    const bool in_session = fd.session != 0 && fd.session == use.session;
    if (in_session || use.open.contains(*fd.pty)) fd.holders.push_back(name);
  }
}

void pair_pty_sides(Tree& tree) {
  std::set<fds::PtyName> masters;
  std::set<pid_t> sessions;
  for (const ProcessFacts& facts : tree) {
    masters.merge(masters_in(facts.fds));
    for (const FdFact& fd : facts.fds) {
      if (is_master(fd) && fd.session != 0) sessions.insert(fd.session);
    }
  }
  for (ProcessFacts& facts : tree) {
    for (FdFact& fd : facts.fds) {
      if (fd.kind == FdKind::kTty) fd.pty_inside = fd.pty && masters.contains(*fd.pty);
      if (fd.kind != FdKind::kControllingTty || !sessions.contains(fd.session)) continue;
      fd.pty_inside = true;
      // criu takes /dev/tty and its terminal for those of the first process that has any.
      if (fd.why_not.empty()) fd.why_not = "of a terminal that moves along with several processes";
    }
  }
}

std::vector<fds::PtyToMove> ptys_to_move(const Tree& tree) {
  std::map<fds::PtyName, fds::PtyToMove> all;
  for (const ProcessFacts& facts : tree) {
    for (const FdFact& fd : facts.fds) {
      if (is_master(fd) && fd.pty) {
        all.try_emplace(*fd.pty, fds::PtyToMove{.pid = facts.name.pid, .master = fd.number});
      }
    }
  }
  std::vector<fds::PtyToMove> ptys;
  for (auto& [name, pty] : all) {
    pty.slave_open = std::ranges::any_of(tree, [&](const ProcessFacts& facts) {
      return std::ranges::any_of(
          facts.fds, [&](const FdFact& fd) { return fd.kind == FdKind::kTty && fd.pty == name; });
    });
    ptys.push_back(pty);
  }
  return ptys;
}

}  // namespace ssi::check
