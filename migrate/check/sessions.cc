#include "migrate/check/sessions.h"

#include <map>

namespace ssi::check {
namespace {

std::string named(const ProcessFacts& process) { return in_its_tree(process) + ": its session "; }

}  // namespace

std::optional<std::string> why_sessions_stay(const Tree& tree) {
  if (tree.empty()) return {};
  std::map<pid_t, const ProcessFacts*> by_pid;
  for (const ProcessFacts& process : tree) by_pid.emplace(process.name.pid, &process);
  const auto above = [&](const ProcessFacts& process) -> const ProcessFacts* {
    const auto found = by_pid.find(process.parent);
    return &process == &tree.front() || found == by_pid.end() ? nullptr : found->second;
  };
  std::map<pid_t, pid_t> born_in;  // in which session they forked, where it is not their own now
  for (const ProcessFacts& process : tree) {
    const ProcessFacts* parent = above(process);
    // Below the first one criu puts another one in between, in that session.
    if (parent == nullptr || parent == &tree.front()) continue;
    const pid_t session = process.session;
    if (session == process.name.pid || session == parent->session) continue;
    for (; parent != nullptr && parent->name.pid != session; parent = above(*parent)) {
      const auto [born, fresh] = born_in.emplace(parent->name.pid, session);
      if (!fresh && born->second != session) {
        return named(process) + "is another one than that of others whom process " +
               std::to_string(parent->name.pid) + " forked";
      }
    }
    if (parent == nullptr) return named(process) + "has no leader above it, and can't be joined";
  }
  return {};
}

}  // namespace ssi::check
