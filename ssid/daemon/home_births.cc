#include "ssid/daemon/home_births.h"

#include <signal.h>

#include <algorithm>
#include <cstring>

#include "ssid/base/proc_job.h"
#include "ssid/base/proc_status.h"

namespace ssi {
namespace {

template <std::size_t size>
void put(char (&to)[size], const std::string& text) {
  std::memcpy(to, text.c_str(), std::min(text.size(), size - 1));
}

}  // namespace

Result<deputy::Birth> birth_by(pid_t forker, pid_t unit, Epoch epoch, bool is_orphan,
                               const BirthFacts& facts) {
  const auto job = proc_job(forker);
  const auto uids = proc_ids(forker, "Uid");
  if (!job || !uids) return Error(ErrorCode::kRefused, "its parent's deputy has ended");
  // A call that a filter forbids may be the end of who makes it.
  if (std::atoi(proc_status_line(forker, "Seccomp").c_str()) != 0) {
    return Error(ErrorCode::kRefused, "its parent's deputy is under a seccomp filter");
  }
  deputy::Birth birth;
  birth.pid = facts.pid;
  birth.born_with = unit;
  birth.epoch = epoch.value;
  birth.is_orphan = is_orphan;
  birth.new_session = facts.session == facts.pid;
  birth.group = facts.group == job->group ? 0 : facts.group;
  birth.sets_users = *uids != facts.uids;
  if (birth.sets_users != 0 && (*uids)[1] != 0) {
    return Error(ErrorCode::kRefused, "it is another user's than its parent's deputy");
  }
  std::ranges::copy(facts.uids, birth.users);
  std::ranges::copy(facts.gids, birth.groups);
  put(birth.comm, facts.comm);
  put(birth.title, facts.command);
  return birth;
}

void HomeBirths::serve(NodeId from, const nlohmann::json& message, Done done) {
  const auto facts = birth_facts_from_json(message.value("child", nlohmann::json()));
  if (!facts) return done(facts.error());
  const pid_t unit = message.value("unit", 0);
  const Epoch epoch{message.value("epoch", std::uint64_t{0})};
  std::vector<pid_t> living = handlers_.living(unit);
  std::erase_if(living, [&](pid_t pid) {
    const auto entry = handlers_.find(pid);
    return !entry || entry->where != from || entry->epoch != epoch || !handlers_.has_deputy(pid);
  });
  if (living.empty()) return done(Error(ErrorCode::kGone, "its guest is not there any more"));
  // Asked again: the node that runs it has forgotten that it was told.
  if (is_unclaimed(facts->pid)) return done({});
  if (::kill(facts->pid, 0) == 0 || errno != ESRCH) {
    return done(Error(ErrorCode::kRefused, "its PID is in use at home"));
  }
  const bool parent_is_here = std::ranges::find(living, facts->parent) != living.end();
  const pid_t forker = parent_is_here ? facts->parent : living.front();
  const auto birth = birth_by(forker, unit, epoch, !parent_is_here, *facts);
  if (!birth) return done(birth.error());
  handlers_.give_birth(forker, *birth,
                       [this, pid = facts->pid, unit, done = std::move(done)](Result<> born) {
                         if (born) unclaimed_[pid] = unit;
                         done(std::move(born));
                       });
}

bool HomeBirths::remember(pid_t deputy, pid_t unit) {
  if (handlers_.living(unit).empty()) return false;
  unclaimed_[deputy] = unit;
  return true;
}

void HomeBirths::on_tick() {
  std::erase_if(unclaimed_, [&](const auto& child) {
    const auto& [deputy, unit] = child;
    if (handlers_.find(deputy) || !handlers_.has_deputy(deputy)) return true;
    if (!handlers_.living(unit).empty()) return false;
    handlers_.end_deputy(deputy);
    return true;
  });
}

}  // namespace ssi
