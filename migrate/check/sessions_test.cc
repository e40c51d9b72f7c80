#include "migrate/check/sessions.h"

#include <doctest/doctest.h>

namespace ssi::check {
namespace {

constexpr pid_t kShell = 10, kRoot = 100;

ProcessFacts process(pid_t pid, pid_t parent, pid_t session) {
  ProcessFacts facts;
  facts.name = {pid, "job"};
  facts.parent = parent;
  facts.session = session;
  return facts;
}

Tree with(std::vector<ProcessFacts> below) {
  Tree tree{process(kRoot, kShell, kShell)};
  for (auto& one : below) tree.push_back(std::move(one));
  return tree;
}

}  // namespace

TEST_CASE("all in the session of the first, or in one that somebody above began") {
  CHECK_FALSE(why_sessions_stay({}));
  CHECK_FALSE(why_sessions_stay(with({})));
  CHECK_FALSE(why_sessions_stay(with({process(101, kRoot, kShell), process(102, 101, kShell)})));
  // A daemon and its workers, one of which was forked before it became a leader of its own.
  CHECK_FALSE(why_sessions_stay(with({process(101, kRoot, 101), process(102, 101, 101),
                                      process(103, 102, 103), process(104, 103, 101)})));
}

TEST_CASE("below the first one there is another way") {
  CHECK_FALSE(why_sessions_stay(with({process(101, kRoot, 77)})));  // its leader has ended
}

TEST_CASE("a session that nobody above it began, or could have been in, can't be joined") {
  const auto ended = why_sessions_stay(with({process(101, kRoot, kShell), process(102, 101, 77)}));
  REQUIRE(ended);
  CHECK(*ended ==
        "process 102 (job) of its tree: its session has no leader above it, and can't be joined");
  // Forked before its parent left the shell's session, which is not the tree's.
  CHECK(why_sessions_stay(with({process(101, kRoot, 101), process(102, 101, kShell)})));
}

TEST_CASE("who forks was in one session only that is not his own") {
  Tree tree = with({process(101, kRoot, 101), process(102, 101, 102), process(103, 102, 103)});
  tree.push_back(process(104, 103, 102));
  CHECK_FALSE(why_sessions_stay(tree));
  tree.push_back(process(105, 103, 101));
  const auto reason = why_sessions_stay(tree);
  REQUIRE(reason);
  CHECK(
      *reason ==
      "process 105 (job) of its tree: its session is another one than that of others whom process "
      "103 forked");
}

}  // namespace ssi::check
