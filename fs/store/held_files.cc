#include "fs/store/held_files.h"

#include <sys/random.h>

#include "ssid/base/check.h"

namespace ssi::fs {

std::vector<HeldFiles::SharedFd> HeldFiles::take_old_locked() {
  const auto now = now_();
  std::vector<SharedFd> old;
  for (auto it = held_.begin(); it != held_.end();) {
    if (it->second.until > now) {
      ++it;
      continue;
    }
    old.push_back(std::move(it->second.fd));
    it = held_.erase(it);
  }
  return old;
}

std::uint64_t HeldFiles::hold(SharedFd fd) {
  std::vector<SharedFd> old;  // let go after the lock, here and below: a close may take its time
  std::lock_guard lock(mutex_);
  old = take_old_locked();
  std::uint64_t id = 0;
  while (id == 0 || held_.contains(id)) {
    SSI_CHECK(::getrandom(&id, sizeof id, 0) == sizeof id);
  }
  held_.emplace(id, Held{std::move(fd), now_() + kHeldFor});
  return id;
}

HeldFiles::SharedFd HeldFiles::find(std::uint64_t id) {
  std::vector<SharedFd> old;
  std::lock_guard lock(mutex_);
  old = take_old_locked();
  const auto it = held_.find(id);
  return it == held_.end() ? nullptr : it->second.fd;
}

void HeldFiles::release(std::uint64_t id) {
  std::vector<SharedFd> old;
  std::lock_guard lock(mutex_);
  old = take_old_locked();
  const auto it = held_.find(id);
  if (it == held_.end()) return;
  old.push_back(std::move(it->second.fd));
  held_.erase(it);
}

void HeldFiles::drop_old() {
  std::vector<SharedFd> old;
  std::lock_guard lock(mutex_);
  old = take_old_locked();
}

std::size_t HeldFiles::size() {
  std::vector<SharedFd> old;
  std::lock_guard lock(mutex_);
  old = take_old_locked();
  return held_.size();
}

}  // namespace ssi::fs
