#include "ssid/daemon/movable.h"

#include <string>
#include <utility>

#include "loadlevel/policy/words.h"
#include "migrate/check/check.h"
#include "migrate/check/read_facts.h"
#include "migrate/deputy/filter_check.h"
#include "ssid/base/process_handle.h"
#include "ssid/daemon/outer_ends.h"

namespace ssi {
namespace {

constexpr std::size_t kTreeMax = 512;  // processes
constexpr std::size_t kEndsMax = 150;  // criu is given them in one message

// The process, or with what is below it if that has to move along; seen as one.
Result<check::Tree> facts_of(pid_t pid, Below below) {
  if (below == Below::kStays) {
    SSI_ASSIGN(auto facts, check::read_facts(pid));
    if (facts.children.empty() || facts.shared_memory.empty()) return check::Tree{std::move(facts)};
  }
  SSI_ASSIGN(auto tree, check::read_tree_facts(pid, kTreeMax));
  // What shares memory with its children can't leave them.
  if (below == Below::kStays && !check::shares_memory_inside(tree)) tree.resize(1);
  return tree.size() > 1 ? check::seen_as_one(std::move(tree)) : std::move(tree);
}

// The deputy of an original lives under its filters; a guest has its deputy.
Result<> check_filters(const check::Tree& tree, bool is_guest) {
  for (const check::ProcessFacts& facts : tree) {
    auto result = deputy::check_filters(facts.name.pid, is_guest);
    if (result) continue;
    if (&facts == &tree.front()) return result;
    if (result.error().code() == ErrorCode::kGone) {
      return just_ended(facts.name.pid);
    }
    return std::move(result).context(check::in_its_tree(facts));
  }
  return {};
}

}  // namespace

Result<check::Tree> movable(pid_t pid, Below below, bool is_guest) {
  const auto process = ProcessHandle::open(pid);
  auto facts = facts_of(pid, below);
  if (!facts && facts.error().code() == ErrorCode::kGone && process && process->alive()) {
    return Error(ErrorCode::kBusy, "a process has just ended below it");
  }
  if (!facts) return facts;
  check::Tree tree = std::move(*facts);
  check::CheckContext context;
  context.is_guest = is_guest;
  if (auto refusal = check::check_tree(tree, context)) {
    return Error(refusal->passes ? ErrorCode::kBusy : ErrorCode::kRefused,
                 reasons_words(refusal->reasons));
  }
  SSI_TRY(check_filters(tree, is_guest));
  if (const auto ends = outer_ends(tree).size(); ends > kEndsMax) {
    return Error(ErrorCode::kRefused, "it has " + std::to_string(ends) +
                                          " pipes and connections to processes that stay, more "
                                          "than " +
                                          std::to_string(kEndsMax));
  }
  return tree;
}

}  // namespace ssi
