#include "migrate/check/tree.h"

#include <algorithm>
#include <set>

#include "migrate/check/pipe_ends.h"
#include "migrate/check/pty_facts.h"
#include "migrate/check/sessions.h"
#include "migrate/fds/pidfd.h"

namespace ssi::check {
namespace {

std::set<pid_t> pids_of(const Tree& tree) {
  std::set<pid_t> pids;
  for (const ProcessFacts& facts : tree) pids.insert(facts.name.pid);
  return pids;
}

std::set<pid_t> own_pids_of(const Tree& tree) {
  std::set<pid_t> pids;
  for (const ProcessFacts& facts : tree) pids.insert(facts.own_pid);
  return pids;
}

void leave_out(std::vector<ProcessName>& names, const std::set<pid_t>& inside) {
  std::erase_if(names, [&](const ProcessName& name) { return inside.contains(name.pid); });
}

std::set<fds::SocketInode> unix_sockets(const Tree& tree) {
  std::set<fds::SocketInode> inside;
  for (const ProcessFacts& facts : tree) {
    for (const FdFact& fd : facts.fds) {
      if (fd.kind == FdKind::kUnixSocket) inside.insert(fd.inode);
    }
  }
  return inside;
}

}  // namespace

std::string in_its_tree(const ProcessFacts& facts) {
  return "process " + std::to_string(facts.name.pid) + " (" + facts.name.comm + ") of its tree";
}

bool shares_memory_inside(const Tree& tree) {
  if (tree.empty()) return false;
  const auto inside = pids_of(tree);
  return std::ranges::any_of(tree.front().shared_memory, [&](const SharedMemory& memory) {
    return std::ranges::any_of(memory.sharers,
                               [&](const ProcessName& n) { return inside.contains(n.pid); });
  });
}

Tree seen_as_one(Tree tree) {
  const auto inside = pids_of(tree), own_pids = own_pids_of(tree);
  PipeEnds ends;
  for (const ProcessFacts& facts : tree) ends.add(facts.fds);
  const auto sockets = unix_sockets(tree);
  for (ProcessFacts& facts : tree) {
    if (!facts.vfork_child) leave_out(facts.children, inside);
    facts.cwd_pid_used_again |= own_pids.contains(fds::ended_process(facts.cwd));
    for (SharedMemory& memory : facts.shared_memory) leave_out(memory.sharers, inside);
    for (FdFact& fd : facts.fds) {
      leave_out(fd.holders, inside);
      leave_out(fd.readers, inside);
      leave_out(fd.peer_holders, inside);
      if (fd.kind == FdKind::kPidfd) {
        fd.why_not = fds::pidfd_why_not(fd.handle_on, fd.flags, inside).value_or("");
      }
      if (fd.kind == FdKind::kKernelFile && fd.proc_file.moves_by_name()) {
        fd.why_not = fds::proc_file_why_not(fd.proc_file, own_pids).value_or("");
      }
      fd.has_own_clients |= std::ranges::any_of(
          fd.clients, [&](fds::SocketInode client) { return sockets.contains(client); });
      // criu may give it to another one of them, whose numbers are others.
      if (fd.in_flight && fd.kind == FdKind::kEpoll) fd.why_not = "in a tree of processes";
      std::erase_if(fd.peers, [&](fds::SocketInode peer) { return sockets.contains(peer); });
    }
    ends.pair(facts.fds);
  }
  pair_pty_sides(tree);
  return tree;
}

std::optional<Refusal> check_tree(const Tree& tree, const CheckContext& context) {
  Refusal all{.passes = true};
  for (const ProcessFacts& facts : tree) {
    auto refusal = check(facts, context);
    if (!refusal) continue;
    all.passes &= refusal->passes;
    const bool first = &facts == &tree.front();
    for (std::string& reason : refusal->reasons) {
      all.reasons.push_back(first ? std::move(reason) : in_its_tree(facts) + ": " + reason);
    }
  }
  if (auto reason = why_sessions_stay(tree)) {
    all.passes = false;
    all.reasons.push_back(std::move(*reason));
  }
  if (all.reasons.empty()) return {};
  return all;
}

}  // namespace ssi::check
