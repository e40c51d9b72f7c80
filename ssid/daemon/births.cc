#include "ssid/daemon/births.h"

#include "ssid/base/log.h"
#include "ssid/base/proc_status.h"

namespace ssi {

namespace {
constexpr std::chrono::seconds kAgainAfter{10};
}

void Births::look(const std::map<SsiPid, GuestRecord>& guests, Clock::time_point now) {
  for (auto& [key, child] : children_) child.is_there = false;
  for (const auto& [pid, record] : guests) {
    if (record.committed && handlers_.may_be_told(record)) look_at(record, now);
  }
  // What is on its way stays until it is decided.
  std::erase_if(children_, [](const auto& child) {
    return !child.second.is_there && child.second.state != State::kTold;
  });
}

void Births::look_at(const GuestRecord& record, Clock::time_point now) {
  std::vector<Key> to_tell;
  for (const pid_t local : handlers_.host_pids(record)) {
    const Key key{{record.ticket.pid.home, innermost_pid(local)}, local};
    if (key.process.pid <= 1 || record.has(key.process)) continue;
    const auto [known, is_new] = children_.try_emplace(key, Child{.guest = record.ticket.pid});
    Child& child = known->second;
    child.is_there = true;
    if (child.state == State::kRefused && now >= child.again) child.state = State::kSeen;
    if (!is_new && child.state == State::kSeen) to_tell.push_back(key);
  }
  for (const Key& key : to_tell) tell(record, key);
}

bool Births::parent_comes_first(const GuestRecord& record, const BirthFacts& facts) const {
  const SsiPid parent{record.ticket.pid.home, facts.parent};
  if (record.has(parent)) return false;
  return std::ranges::any_of(children_, [&](const auto& child) {
    return child.first.process == parent && child.second.state != State::kRefused;
  });
}

void Births::tell(const GuestRecord& record, const Key& key) {
  const auto facts = handlers_.facts(key.local);
  if (!facts || facts->pid != key.process.pid || parent_comes_first(record, *facts)) return;
  children_[key].state = State::kTold;
  handlers_.ask_home(record.ticket.pid.home, birth_message(record, *facts),
                     [this, record, key, facts = *facts](const Result<>& answer) {
                       answered(record, key, facts, answer);
                     });
}

void Births::answered(const GuestRecord& record, const Key& key, const BirthFacts& facts,
                      const Result<>& answer) {
  const auto child = children_.find(key);
  if (child == children_.end()) return;
  Result<> claimed = answer;
  if (answer) {
    group::Claim claim;
    claim.entry = {.process = key.process,
                   .where = record.ticket.to,
                   .epoch = record.ticket.epoch,
                   .start_time = facts.start_time,
                   .comm = facts.comm,
                   .uid = facts.uids[0],
                   .exe = facts.exe,
                   .unit = record.ticket.pid.pid};
    claimed = handlers_.claim(std::move(claim));
  }
  if (claimed) return;
  log_info("{} ({}), started by {}, is not known at home: {}", key.process.to_string(), facts.comm,
           record.ticket.pid.to_string(), claimed.error().message());
  child->second.state = State::kRefused;
  child->second.again = Clock::now() + kAgainAfter;
}

bool Births::is_busy(SsiPid guest) const {
  return std::ranges::any_of(children_, [&](const auto& child) {
    return child.second.guest == guest && child.second.state == State::kTold;
  });
}

void Births::on_decided(const group::Claim& claim, bool accepted, Clock::time_point now) {
  for (auto child = children_.begin(); child != children_.end();) {
    if (child->first.process != claim.entry.process || child->second.state != State::kTold) {
      ++child;
    } else if (accepted) {
      child = children_.erase(child);
    } else {
      child->second.state = State::kRefused;
      child->second.again = now + kAgainAfter;
      ++child;
    }
  }
}

nlohmann::json birth_message(const GuestRecord& guest, const BirthFacts& facts) {
  return {{"unit", guest.ticket.pid.pid},
          {"epoch", guest.ticket.epoch.value},
          {"child", to_json(facts)}};
}

}  // namespace ssi
