// ProcessControl and what guests start: where it runs, and at home.
#include "ssid/base/log.h"
#include "ssid/daemon/process_control.h"

namespace ssi {

Births::Handlers ProcessControl::birth_handlers() {
  Births::Handlers h;
  h.host_pids = [this](const GuestRecord& r) { return guests_.host_pids(r); };
  h.facts = read_birth_facts;
  h.ask_home = [this](NodeId home, const nlohmann::json& birth,
                      const std::function<void(Result<>)>& done) {
    handlers_.ask(home, "internal.birth", birth, [done](const Result<nlohmann::json>& answer) {
      done(answer ? Result<>() : Result<>(answer.error()));
    });
  };
  h.claim = [this](group::Claim claim) { return group_.propose(std::move(claim)); };
  h.may_be_told = [this](const GuestRecord& r) {
    const SsiPid pid = r.ticket.pid;
    return !moves_.is_moving(pid) && !held_.contains(pid) && group_.view().has(pid.home);
  };
  return h;
}

HomeBirths::Handlers ProcessControl::home_birth_handlers() {
  HomeBirths::Handlers h;
  h.find = [this](pid_t pid) { return group_.find({group_.self(), pid}); };
  h.living = [this](pid_t unit) {
    std::vector<pid_t> pids;
    for (const group::TableEntry& e : group_.entries()) {
      const bool of_it = e.process.pid == unit || e.unit == unit;
      if (e.process.home == group_.self() && of_it) pids.push_back(e.process.pid);
    }
    return pids;
  };
  h.has_deputy = [this](pid_t pid) { return deputies_.has(pid); };
  h.give_birth = [this](pid_t forker, const deputy::Birth& birth, HomeBirths::Done done) {
    deputies_.give_birth(forker, birth, std::move(done));
  };
  h.end_deputy = [this](pid_t pid) { deputies_.finish(pid, 0); };
  return h;
}

// A guest that the others had lost, or one's child.
void ProcessControl::on_claimed(const group::TableEntry& entry) {
  log_info("{} ({}) is known: it runs on node {}", entry.process.to_string(), entry.comm,
           entry.where.value);
  if (entry.process.home == group_.self()) {
    home_births_.on_claimed(entry.process.pid);
    deputies_.adopt(entry.process.pid);
  }
  if (entry.where == group_.self()) join_guest(entry);
}

// The table has it as a part of a guest that is here.
void ProcessControl::join_guest(const group::TableEntry& entry) {
  const SsiPid first{entry.process.home, entry.unit};
  const GuestRecord* record = guests_.find(first);
  if (entry.unit == 0 || record == nullptr || record->ticket.epoch != entry.epoch) return;
  if (record->has(entry.process)) return;
  const migrate::UnitMember member{entry.process.pid, entry.start_time, entry.comm, entry.exe,
                                   entry.uid};
  if (auto joined = guests_.add_member(record->name(), member); !joined) {
    log_debug("{}: {}", entry.process.to_string(), joined.error().message());
    guest_ended(*guests_.find(first), entry.process, 0, "");
  }
}

}  // namespace ssi
