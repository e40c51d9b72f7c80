#include "fs/view/socket_rebuilds.h"

#include <algorithm>
#include <string_view>
#include <utility>
#include <vector>

namespace ssi::fs {
namespace {

constexpr std::string_view kAside = ".criu-sk-ghost";

SocketRebuilds::Name aside_of(const SocketRebuilds::Name& name) {
  return {name.directory, name.name + std::string(kAside)};
}

}  // namespace

void SocketRebuilds::set(const std::string& cgroup, bool on) {
  std::lock_guard lock(mutex_);
  std::erase_if(rebuilds_, [&](const Rebuild& rebuild) { return rebuild.cgroup == cgroup; });
  if (on) {
    if (rebuilds_.size() == kRebuildsMax) rebuilds_.pop_front();
    rebuilds_.push_back({.id = ++last_id_, .cgroup = cgroup});
  }
  any_.store(!rebuilds_.empty(), std::memory_order_release);
}

std::optional<SocketRebuilds::Id> SocketRebuilds::of(pid_t thread) const {
  if (thread <= 0) return {};  // of a PID namespace that we don't see
  std::vector<std::pair<Id, std::string>> rebuilds;
  {
    std::lock_guard lock(mutex_);
    for (const Rebuild& rebuild : rebuilds_) rebuilds.emplace_back(rebuild.id, rebuild.cgroup);
  }
  for (const auto& [id, cgroup] : rebuilds) {
    if (has_thread_(cgroup, thread)) return id;
  }
  return {};
}

const SocketRebuilds::Rebuild* SocketRebuilds::find_locked(Id id) const {
  const auto found = std::ranges::find(rebuilds_, id, &Rebuild::id);
  return found == rebuilds_.end() ? nullptr : &*found;
}

SocketRebuilds::Rebuild* SocketRebuilds::find_locked(Id id) {
  return const_cast<Rebuild*>(std::as_const(*this).find_locked(id));
}

bool SocketRebuilds::hides(Id id, const Name& name) const {
  std::lock_guard lock(mutex_);
  const Rebuild* rebuild = find_locked(id);
  return rebuild != nullptr && !rebuild->names.contains(name);
}

SocketRebuilds::Make SocketRebuilds::make(Id id, const Name& name, AtHome at_home) {
  std::lock_guard lock(mutex_);
  Rebuild* rebuild = find_locked(id);
  if (rebuild == nullptr) return at_home == AtHome::kNothing ? Make::kAtHome : Make::kExists;
  if (at_home == AtHome::kOther) return Make::kExists;
  const bool known = rebuild->names.contains(name);
  if (!known && rebuild->names.size() >= kNamesMax) return Make::kTooMany;
  if (at_home == AtHome::kNothing) return Make::kAtHome;
  if (known) return Make::kExists;
  rebuild->names.emplace(name, Origin::kFound);
  return Make::kFound;
}

void SocketRebuilds::made(Id id, const Name& name) {
  std::lock_guard lock(mutex_);
  if (Rebuild* rebuild = find_locked(id)) rebuild->names[name] = Origin::kMade;
}

SocketRebuilds::Remove SocketRebuilds::remove(Id id, const Name& name, AtHome at_home) {
  std::lock_guard lock(mutex_);
  Rebuild* rebuild = find_locked(id);
  if (rebuild == nullptr || at_home != AtHome::kSocket) return Remove::kAtHome;
  const auto known = rebuild->names.find(name);
  if (known == rebuild->names.end()) return Remove::kAbsent;
  if (known->second == Origin::kMade) return Remove::kAtHome;
  rebuild->names.erase(known);
  return Remove::kLeave;
}

void SocketRebuilds::removed(Id id, const Name& name) {
  std::lock_guard lock(mutex_);
  if (Rebuild* rebuild = find_locked(id)) rebuild->names.erase(name);
}

bool SocketRebuilds::is_found(pid_t thread, const Name& name) const {
  std::vector<std::string> cgroups;
  {
    std::lock_guard lock(mutex_);
    for (const Rebuild& rebuild : rebuilds_) {
      const auto known = rebuild.names.find(name);
      if (known != rebuild.names.end() && known->second == Origin::kFound) {
        cgroups.push_back(rebuild.cgroup);
      }
    }
  }
  return thread > 0 && std::ranges::any_of(cgroups, [&](const std::string& cgroup) {
           return has_thread_(cgroup, thread);
         });
}

void SocketRebuilds::announce_deleted(Id id, pid_t thread, const std::string& leaf) {
  std::lock_guard lock(mutex_);
  if (Rebuild* rebuild = find_locked(id)) rebuild->announced[thread] = leaf;
}

void SocketRebuilds::announce_named(Id id, pid_t thread) {
  std::lock_guard lock(mutex_);
  Rebuild* rebuild = find_locked(id);
  if (rebuild == nullptr) return;
  rebuild->announced.erase(thread);
  std::erase_if(rebuild->aside, [&](const auto& aside) { return aside.second == thread; });
}

bool SocketRebuilds::has_announced(pid_t thread) const {
  std::lock_guard lock(mutex_);
  return std::ranges::any_of(
      rebuilds_, [&](const Rebuild& rebuild) { return rebuild.announced.contains(thread); });
}

SocketRebuilds::Deleted SocketRebuilds::deleted_at(Id id, pid_t thread, const Name& name) const {
  using What = Deleted::What;
  std::lock_guard lock(mutex_);
  const Rebuild* rebuild = find_locked(id);
  if (rebuild == nullptr) return {};
  for (const auto& [original, mover] : rebuild->aside) {
    if (mover == thread && aside_of(original) == name) return {What::kAside, {}, original};
  }
  const auto leaf = rebuild->announced.find(thread);
  if (leaf == rebuild->announced.end()) return {};
  if (name.name == leaf->second + std::string(kAside)) return {What::kFree, {}, {}};
  if (name.name != leaf->second) return {};
  const auto made = rebuild->deleted.find(name);
  if (made != rebuild->deleted.end()) return {What::kMade, made->second, {}};
  return {rebuild->aside.contains(name) ? What::kFree : What::kAtHome, {}, {}};
}

bool SocketRebuilds::make_deleted(Id id, pid_t thread, const Name& name, const FileKey& key) {
  std::lock_guard lock(mutex_);
  Rebuild* rebuild = find_locked(id);
  if (rebuild == nullptr) return false;
  const auto leaf = rebuild->announced.find(thread);
  if (leaf == rebuild->announced.end() || leaf->second != name.name) return false;
  rebuild->deleted.emplace(name, key);
  return true;
}

SocketRebuilds::Unlink SocketRebuilds::unlink_deleted(Id id, pid_t thread, const Name& name) {
  std::lock_guard lock(mutex_);
  Rebuild* rebuild = find_locked(id);
  if (rebuild == nullptr) return Unlink::kAtHome;
  const auto leaf = rebuild->announced.find(thread);
  if (leaf == rebuild->announced.end()) return Unlink::kAtHome;
  if (name.name == leaf->second + std::string(kAside)) return Unlink::kAbsent;
  if (name.name != leaf->second) return Unlink::kAtHome;
  if (rebuild->deleted.erase(name) == 0) return Unlink::kRefused;
  if (!rebuild->aside.contains(name)) rebuild->announced.erase(leaf);  // that was its last step
  return Unlink::kDone;
}

bool SocketRebuilds::move_deleted(Id id, pid_t thread, const Name& from, const Name& to) {
  std::lock_guard lock(mutex_);
  Rebuild* rebuild = find_locked(id);
  if (rebuild == nullptr) return false;
  const auto leaf = rebuild->announced.find(thread);
  if (leaf == rebuild->announced.end()) return false;
  if (from.name == leaf->second && to == aside_of(from)) {
    return rebuild->aside.emplace(from, thread).second;
  }
  if (to.name != leaf->second || from != aside_of(to) || rebuild->aside.erase(to) == 0) {
    return false;
  }
  rebuild->announced.erase(leaf);
  return true;
}

bool SocketRebuilds::is_played(const Name& name) const {
  std::lock_guard lock(mutex_);
  return std::ranges::any_of(rebuilds_, [&](const Rebuild& rebuild) {
    return rebuild.deleted.contains(name) || rebuild.aside.contains(name) ||
           std::ranges::any_of(rebuild.aside,
                               [&](const auto& aside) { return aside_of(aside.first) == name; });
  });
}

}  // namespace ssi::fs
