#include "ssid/daemon/restless_tree.h"

#include <chrono>
#include <memory>
#include <utility>

#include "migrate/check/proc_dir.h"

namespace ssi {
namespace {

// Or for what a process did that had begun and ended before one could see that.
bool is_refused_again(const TreeToMove& tree, const Error& before) {
  const auto now = tree.look();
  return !now && now.error().message() == before.message();
}

// A server has a helper that comes and goes now and then, a build ever new ones.
constexpr int kLooksMax = 3;

}  // namespace

Result<PreparedMove> prepare_tree(const TreeToMove& tree, bool again) {
  for (int look = 0; look < kLooksMax; ++look) {
    const auto before = check::pids_of_tree(tree.first);
    if (before.size() > 1 && again) break;
    auto prepared = tree.look();
    const bool same = check::pids_of_tree(tree.first) == before;
    if (same && (prepared || before.size() == 1)) return prepared;
    if (same && is_refused_again(tree, prepared.error())) return prepared;
  }
  const auto since = std::chrono::steady_clock::now();
  SSI_ASSIGN(auto copy, tree.hold());
  auto held = std::make_unique<migrate::HeldForLook>(std::move(copy), since, tree.let_go);
  SSI_ASSIGN(auto prepared, tree.look());
  prepared.source.held = std::move(held);
  return prepared;
}

}  // namespace ssi
