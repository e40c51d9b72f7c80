#include "loadlevel/policy/decided_moves.h"

#include <doctest/doctest.h>

using namespace ssi;

namespace {

constexpr SsiPid kJob{{1}, 70041};
constexpr NodeId kOne{1}, kTwo{2}, kThree{3};
using Lines = std::vector<std::string>;

PlannedMove move(NodeId to, const std::string& reason) {
  PlannedMove m;
  m.pid = kJob;
  m.from = kOne;
  m.to = to;
  m.reasons = {reason};
  return m;
}

const Lines kBusy{"moved 1 -> 2 because:", "node 1 is busy"};

}  // namespace

TEST_CASE("the reasons of a move are kept while the process is away") {
  DecidedMoves decided;
  CHECK(decided.why(kJob).empty());
  decided.begun(move(kTwo, "node 1 is busy"));
  CHECK(decided.why(kJob).empty());  // not yet
  decided.moved(kJob, kOne, kTwo);
  CHECK(decided.why(kJob) == kBusy);
  decided.moved(kJob, kTwo, kThree);  // another node's affair
  CHECK(decided.why(kJob) == kBusy);
  decided.gone(kJob);
  CHECK(decided.why(kJob).empty());
}

TEST_CASE("a move that came to nothing has no reasons") {
  DecidedMoves decided;
  decided.begun(move(kTwo, "node 1 is busy"));
  decided.failed(kJob);
  CHECK(decided.why(kJob).empty());
}

TEST_CASE("what somebody else did is not explained by what this node did before") {
  DecidedMoves decided;
  decided.begun(move(kTwo, "node 1 is busy"));
  decided.moved(kJob, kOne, kTwo);
  decided.moved(kJob, kTwo, kOne);
  decided.moved(kJob, kOne, kTwo);  // by a user
  CHECK(decided.why(kJob).empty());

  decided.begun(move(kTwo, "node 1 is busy"));
  decided.moved(kJob, kOne, kThree);
  CHECK(decided.why(kJob).empty());

  decided.begun(move(kThree, "again"));
  decided.moved(kJob, kOne, kThree);
  CHECK(decided.why(kJob) == Lines{"moved 1 -> 3 because:", "again"});
}
