#include "migrate/move/frozen_copy.h"

#include <sys/xattr.h>

#include <fstream>

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

}  // namespace

Result<FrozenCopy> FrozenCopy::hold_original(const FreezerRoot& root, const CopyName& name,
                                             pid_t pid) {
  SSI_ASSIGN(const std::string origin, root.cgroup_of(pid));
  SSI_ASSIGN(auto cgroup, FreezerCgroup::create(root.moving(name)));
  if (::setxattr(cgroup.dir().c_str(), kOriginAttribute, origin.data(), origin.size(), 0) != 0) {
    auto failed = Error::from_errno("remember the cgroup");
    (void)cgroup.remove();
    return failed;
  }
  FrozenCopy copy(std::move(cgroup), true);
  if (auto added = copy.cgroup_.add(pid); !added) {
    (void)copy.thaw();
    return std::move(added).error().context("freeze");
  }
  return copy;
}

Result<FrozenCopy> FrozenCopy::hold_guest(const FreezerRoot& root, const CopyName& current) {
  SSI_ASSIGN(auto cgroup, FreezerCgroup::open(root.guest(current)));
  return FrozenCopy(std::move(cgroup), false);
}

Result<> FrozenCopy::freeze() { return cgroup_.freeze(kFreezeTimeout).context("freeze"); }

Result<FrozenCopy> FrozenCopy::adopt_original(const FreezerRoot& root, const CopyName& name) {
  SSI_ASSIGN(auto cgroup, FreezerCgroup::open(root.moving(name)));
  return FrozenCopy(std::move(cgroup), true);
}

FrozenCopy::FrozenCopy(FrozenCopy&& other) noexcept
    : cgroup_(std::move(other.cgroup_)), original_(other.original_), decided_(other.decided_) {
  other.decided_ = true;
}

FrozenCopy::~FrozenCopy() { SSI_CHECK(decided_); }

Result<> FrozenCopy::thaw() {
  decided_ = true;
  SSI_TRY(cgroup_.thaw());
  return original_ ? leave_moving_cgroup(cgroup_) : Result<>();
}

Result<> leave_moving_cgroup(const FreezerCgroup& cgroup) {
  char text[4096];
  const ssize_t n = ::getxattr(cgroup.dir().c_str(), kOriginAttribute, text, sizeof text);
  // Its own cgroup may have been removed meanwhile (a session that ended): then to the nearest one
  // above.
  std::string origin(text, n > 0 ? static_cast<std::size_t>(n) : 0);
  SSI_ASSIGN(const auto pids, cgroup.pids());
  for (const pid_t pid : pids) {
    auto put = put_in(origin, pid);
    while (!put && origin.size() > 1) {
      origin.resize(origin.rfind('/'));
      put = put_in(origin, pid);
    }
    SSI_TRY(std::move(put));
  }
  return cgroup.remove();
}

}  // namespace ssi::migrate
