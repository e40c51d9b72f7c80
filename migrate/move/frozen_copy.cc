#include "migrate/move/frozen_copy.h"

#include <signal.h>
#include <sys/xattr.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "ssid/base/log.h"

namespace ssi::migrate {
namespace {

constexpr auto kFreezeTimeout = std::chrono::seconds(5);
constexpr const char* kOriginAttribute = "trusted.ssid.origin";

// Any cgroup, also the root, which has no freezer.
Result<> put_in(const std::string& dir, pid_t pid) {
  std::ofstream procs(dir + "/cgroup.procs");
  procs << pid << std::flush;
  return procs ? Result<>() : Error("can't put " + std::to_string(pid) + " into " + dir);
}

// The cgroups of originals in moving/NAME.
std::vector<HeldOriginal> held_in(const FreezerCgroup& all) {
  std::vector<HeldOriginal> held;
  std::error_code ec;
  for (const auto& entry : std::filesystem::directory_iterator(all.dir(), ec)) {
    const std::string name = entry.path().filename().string();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    auto cgroup = FreezerCgroup::open(entry.path().string());
    if (cgroup) held.push_back({std::atoi(name.c_str()), std::move(*cgroup)});
  }
  return held;
}

std::string origin_of(const std::string& dir) {
  char text[4096];
  const ssize_t n = ::getxattr(dir.c_str(), kOriginAttribute, text, sizeof text);
  return {text, n > 0 ? static_cast<std::size_t>(n) : 0};
}

std::string own_cgroup(const FreezerCgroup& all, pid_t pid) {
  return all.dir() + "/" + std::to_string(pid);
}

Result<> hold_one(const FreezerRoot& root, const FreezerCgroup& all, pid_t pid) {
  SSI_ASSIGN(std::string origin, root.cgroup_of(pid));
  if (origin == own_cgroup(all, pid)) return {};
  if (origin.starts_with(all.dir() + "/")) origin = origin_of(origin);  // its parent's
  SSI_ASSIGN(auto cgroup, FreezerCgroup::create(own_cgroup(all, pid)));
  if (::setxattr(cgroup.dir().c_str(), kOriginAttribute, origin.data(), origin.size(), 0) != 0) {
    return Error::from_errno("remember the cgroup");
  }
  return cgroup.add(pid);
}

Result<> leave_all(const FreezerCgroup& all) {
  for (const HeldOriginal& original : held_in(all)) {
    SSI_TRY(original.cgroup.thaw());
    SSI_TRY(leave_moving_cgroup(original.cgroup));
  }
  return all.remove();
}

// Those that have ended leave their cgroups.
Result<> hold_all(const FreezerRoot& root, const FreezerCgroup& all, const std::set<pid_t>& pids) {
  for (const pid_t pid : pids) {
    auto held = hold_one(root, all, pid);
    if (!held && held.error().code() != ErrorCode::kGone) return held;
  }
  for (const HeldOriginal& original : held_in(all)) {
    SSI_ASSIGN(const auto inside, original.cgroup.pids());
    if (inside.empty()) SSI_TRY(original.cgroup.remove());
    for (const pid_t pid : inside) {  // some have left the tree, their parent having ended
      if (!pids.contains(pid)) (void)put_in(origin_of(original.cgroup.dir()), pid);
    }
  }
  return {};
}

// Who is frozen begins no other; who is not yet, is there in the next round.
Result<> freeze_all_of(const FreezerRoot& root, const FreezerCgroup& all,
                       const std::function<Result<std::set<pid_t>>()>& tree) {
  constexpr int kRoundsMax = 20;
  std::set<pid_t> held;
  for (int round = 0; round < kRoundsMax; ++round) {
    SSI_ASSIGN(const auto now, tree());
    if (round > 1 && now == held) return {};
    SSI_TRY(hold_all(root, all, now));
    held = now;
    if (round > 0) SSI_TRY(all.freeze(kFreezeTimeout));
  }
  return Error(ErrorCode::kBusy, "its processes begin others faster than they can be stopped");
}

}  // namespace

Result<FrozenCopy> FrozenCopy::hold_originals(const FreezerRoot& root, const CopyName& name,
                                              const std::vector<pid_t>& pids) {
  SSI_ASSIGN(auto cgroup, FreezerCgroup::create(root.moving(name)));
  FrozenCopy copy(std::move(cgroup), true);
  for (const pid_t pid : pids) {
    if (auto held = hold_one(root, copy.cgroup_, pid); !held) {
      (void)copy.thaw();
      if (held.error().code() == ErrorCode::kGone) {
        return Error(ErrorCode::kBusy, "process " + std::to_string(pid) + " has just ended");
      }
      return std::move(held).error().context("freeze");
    }
  }
  return copy;
}

Result<FrozenCopy> FrozenCopy::freeze_tree(const FreezerRoot& root, const CopyName& name,
                                           pid_t first,
                                           const std::function<Result<std::set<pid_t>>()>& tree) {
  SSI_ASSIGN(auto cgroup, FreezerCgroup::create(root.moving(name)));
  FrozenCopy copy(std::move(cgroup), true);
  auto frozen = freeze_all_of(root, copy.cgroup_, tree);
  if (frozen && ::kill(first, 0) != 0) frozen = Error(ErrorCode::kGone, "it has ended meanwhile");
  if (frozen) return copy;
  (void)copy.thaw();
  return std::move(frozen).error().context("freeze");
}

Result<FrozenCopy> FrozenCopy::hold_guest(const FreezerRoot& root, const CopyName& current) {
  SSI_ASSIGN(auto cgroup, FreezerCgroup::open(root.guest(current)));
  return FrozenCopy(std::move(cgroup), false);
}

Result<> FrozenCopy::freeze() { return cgroup_.freeze(kFreezeTimeout).context("freeze"); }

Result<FrozenCopy> FrozenCopy::adopt_originals(const FreezerRoot& root, const CopyName& name) {
  SSI_ASSIGN(auto cgroup, FreezerCgroup::open(root.moving(name)));
  return FrozenCopy(std::move(cgroup), true);
}

FrozenCopy::FrozenCopy(FrozenCopy&& other) noexcept
    : cgroup_(std::move(other.cgroup_)), original_(other.original_), decided_(other.decided_) {
  other.decided_ = true;
}

FrozenCopy::~FrozenCopy() { SSI_CHECK(decided_); }

HeldForLook::~HeldForLook() {
  if (!copy_) return;
  if (auto thawed = copy_->thaw(); !thawed) log_error("thaw: {}", thawed.error().message());
  let_go_();
}

FrozenCopy HeldForLook::take() {
  FrozenCopy copy = std::move(copy_.value());
  copy_.reset();
  return copy;
}

Result<> FrozenCopy::thaw() {
  decided_ = true;
  SSI_TRY(cgroup_.thaw());
  return original_ ? leave_all(cgroup_) : Result<>();
}

Result<std::vector<HeldOriginal>> part_originals(const FreezerCgroup& all) {
  auto held = held_in(all);
  for (const HeldOriginal& original : held) {
    SSI_TRY(original.cgroup.freeze(kFreezeTimeout));
  }
  SSI_TRY(all.thaw());
  return held;
}

Result<> leave_moving_cgroup(const FreezerCgroup& cgroup) {
  constexpr int kRoundsMax = 20;
  // Its own cgroup may have been removed meanwhile (a session that ended): then to the nearest one
  // above.
  std::string origin = origin_of(cgroup.dir());
  // Who is in it may begin another one there until it has left.
  for (int round = 0;; ++round) {
    SSI_ASSIGN(const auto pids, cgroup.pids());
    for (const pid_t pid : pids) {
      auto put = put_in(origin, pid);
      while (!put && origin.size() > 1 && ::kill(pid, 0) == 0) {
        origin.resize(origin.rfind('/'));
        put = put_in(origin, pid);
      }
      if (!put && ::kill(pid, 0) == 0) return put;
    }
    auto removed = cgroup.remove();
    if (removed || round == kRoundsMax) return removed;
  }
}

}  // namespace ssi::migrate
