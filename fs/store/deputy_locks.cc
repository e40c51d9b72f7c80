#include "fs/store/deputy_locks.h"

#include <limits.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <string>
#include <string_view>
#include <thread>

#include "ssid/base/deputy_lock.h"
#include "ssid/base/record_lock.h"

namespace ssi::fs {
namespace {

// A guest goes on as soon as it is committed; its original becomes the deputy at the same time.
constexpr std::chrono::seconds kBecomesDeputyMax{10};
constexpr std::chrono::milliseconds kLookAgain{2};
constexpr std::chrono::milliseconds kCallMax{2000};

bool is_deputy(pid_t pid) {
  char path[PATH_MAX];
  const ssize_t size =
      ::readlink(("/proc/" + std::to_string(pid) + "/exe").c_str(), path, sizeof path);
  if (size <= 0) return false;
  std::string_view exe(path, static_cast<std::size_t>(size));
  constexpr std::string_view kDeleted = " (deleted)";
  if (exe.ends_with(kDeleted)) exe.remove_suffix(kDeleted.size());
  return exe.ends_with("/ssid-deputy");
}

}  // namespace

DeputyLocks::Access DeputyLocks::real_access() {
  return {is_deputy, [](pid_t pid, int number, int command, struct flock& lock) {
            return lock_by_deputy(pid, number, command, lock, kCallMax);
          }};
}

DeputyLocks::DeputyLocks(Owner owner, std::vector<LockRange> has, Access access)
    : owner_(std::move(owner)), access_(std::move(access)), has_(std::move(has)) {}

DeputyLocks::~DeputyLocks() {
  if (given_up_ || !owner_.process.alive() || !access_.is_deputy(owner_.process.pid())) return;
  struct flock all = record_lock(F_UNLCK, 0, 0);
  (void)access_.call(owner_.process.pid(), owner_.number, F_SETLK, all);
}

bool DeputyLocks::has_already(const struct flock& lock) const {
  const auto start = static_cast<std::uint64_t>(lock.l_start);
  const auto end = lock.l_len == 0 ? INT64_MAX : start + static_cast<std::uint64_t>(lock.l_len) - 1;
  return std::ranges::any_of(has_, [&](const LockRange& range) {
    return range.start == start && range.end == static_cast<std::uint64_t>(end) &&
           range.type == static_cast<std::uint32_t>(lock.l_type);
  });
}

bool DeputyLocks::is_same(const DeputyLocks& other) const {
  return owner_.process.same_process(other.owner_.process) &&
         owner_.device == other.owner_.device && owner_.inode == other.owner_.inode;
}

int DeputyLocks::ask(int command, struct flock& lock) {
  if (given_up_) return ENOLCK;
  const auto until = std::chrono::steady_clock::now() + kBecomesDeputyMax;
  while (owner_.process.alive() && !access_.is_deputy(owner_.process.pid())) {
    if (std::chrono::steady_clock::now() >= until) return ENOLCK;
    std::this_thread::sleep_for(kLookAgain);
  }
  if (!owner_.process.alive()) return ENOLCK;
  const auto done = access_.call(owner_.process.pid(), owner_.number, command, lock);
  if (!done.ok()) return ENOLCK;
  return *done == EACCES ? EAGAIN : *done;
}

int DeputyLocks::set(const struct flock& lock) {
  std::lock_guard guard(mutex_);
  if (has_already(lock)) return 0;
  struct flock wanted = lock;
  const int error = ask(F_SETLK, wanted);
  if (error == 0) has_.clear();
  return error;
}

int DeputyLocks::get(struct flock& lock) {
  std::lock_guard guard(mutex_);
  return ask(F_GETLK, lock);
}

}  // namespace ssi::fs
