#include "fs/store/held_files.h"

#include <sys/random.h>

#include "ssid/base/check.h"

namespace ssi::fs {

std::vector<HeldFiles::Held> HeldFiles::take_old_locked() {
  const auto now = now_();
  std::vector<Held> old;
  for (auto it = held_.begin(); it != held_.end();) {
    if (it->second.until > now) {
      ++it;
      continue;
    }
    old.push_back(std::move(it->second));
    it = held_.erase(it);
  }
  return old;
}

// The process moves once more: what an earlier move has of its locks, which came to nothing, must
// not let go of them when it ends.
void HeldFiles::replace_locked(const SharedLocks& deputy) {
  std::erase_if(deputies_, [&](const auto& weak) {
    const auto earlier = weak.lock();
    if (!earlier) return true;
    if (earlier == deputy || !earlier->is_same(*deputy)) return false;
    earlier->give_up();
    return true;
  });
  deputies_.push_back(deputy);
}

std::uint64_t HeldFiles::hold(SharedFd fd, SharedLocks deputy) {
  std::vector<Held> old;  // let go after the lock, here and below: a close may take its time
  std::lock_guard lock(mutex_);
  old = take_old_locked();
  if (deputy) replace_locked(deputy);
  std::uint64_t id = 0;
  while (id == 0 || held_.contains(id)) {
    SSI_CHECK(::getrandom(&id, sizeof id, 0) == sizeof id);
  }
  held_.emplace(id, Held{std::move(fd), std::move(deputy), now_() + kHeldFor});
  return id;
}

HeldFiles::SharedFd HeldFiles::find(std::uint64_t id) {
  std::vector<Held> old;
  std::lock_guard lock(mutex_);
  old = take_old_locked();
  const auto it = held_.find(id);
  return it == held_.end() ? nullptr : it->second.fd;
}

HeldFiles::SharedLocks HeldFiles::find_deputy(std::uint64_t id) {
  std::lock_guard lock(mutex_);
  const auto it = held_.find(id);
  return it == held_.end() ? nullptr : it->second.deputy;
}

void HeldFiles::release(std::uint64_t id) {
  std::vector<Held> old;
  std::lock_guard lock(mutex_);
  old = take_old_locked();
  const auto it = held_.find(id);
  if (it == held_.end()) return;
  old.push_back(std::move(it->second));
  held_.erase(it);
}

void HeldFiles::drop_old() {
  std::vector<Held> old;
  std::lock_guard lock(mutex_);
  old = take_old_locked();
}

std::size_t HeldFiles::size() {
  std::vector<Held> old;
  std::lock_guard lock(mutex_);
  old = take_old_locked();
  return held_.size();
}

}  // namespace ssi::fs
