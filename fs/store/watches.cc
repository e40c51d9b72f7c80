#include "fs/store/watches.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string_view>
#include <utility>

namespace ssi::fs {
namespace {

// Of what is told about a file to who watches its directory.
constexpr std::uint32_t kOfChild =
    IN_ACCESS | IN_MODIFY | IN_ATTRIB | IN_OPEN | IN_CLOSE_WRITE | IN_CLOSE_NOWRITE;
// The kernel tells of a rename in two steps.
constexpr std::chrono::milliseconds kSecondStep{5};

bool waits_for_second_step(const std::deque<Watches::News>& news) {
  const auto last = news.rbegin();
  return last != news.rend() && (last->mask & IN_MOVED_FROM) != 0;
}

}  // namespace

std::optional<FileIdentity> identity_of(int dir, const char* name) {
  struct stat st {};
  if (::fstatat(dir, name, &st, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT) != 0) {
    return {};
  }
  return FileIdentity{st.st_dev, st.st_ino};
}

LastName last_name_of(int fd) {
  constexpr std::string_view kDeleted = " (deleted)";
  char path[4096];
  const std::string link = "/proc/self/fd/" + std::to_string(fd);
  const ssize_t size = ::readlink(link.c_str(), path, sizeof path);
  std::string_view text(path, size > 0 ? static_cast<std::size_t>(size) : 0);
  const bool lost = text.ends_with(kDeleted);
  if (lost) text.remove_suffix(kDeleted.size());
  return {std::string(text.substr(text.rfind('/') + 1)), lost};
}

Watches::Watches() = default;

int Watches::watch(int fd, std::uint64_t tag, std::uint32_t mask) {
  std::lock_guard lock(mutex_);
  if (!inotify_) {
    inotify_.reset(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
    wake_.reset(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
    if (!inotify_ || !wake_) return errno;
  }
  const auto known =
      std::ranges::find_if(watches_, [&](const auto& watch) { return watch.second.tag == tag; });
  if (mask == 0) {
    if (known == watches_.end()) return 0;
    drain_locked();
    forget_locked(known->first);
    return 0;
  }
  const std::string path = "/proc/self/fd/" + std::to_string(fd);
  // IN_ATTRIB says, too, that a file has lost a name.
  const std::uint32_t wanted = (mask & IN_ALL_EVENTS) | IN_ATTRIB;
  const int number = ::inotify_add_watch(*inotify_, path.c_str(), wanted);
  if (number < 0) return errno;
  Watch& watch = watches_[number];
  watch.tag = tag;
  if (!watch.fd) watch.fd.reset(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
  struct stat st {};
  if (::fstat(fd, &st) == 0) {
    watch.file = {st.st_dev, st.st_ino};
    watch.nameless = st.st_nlink == 0;
  }
  any_ = true;
  return 0;
}

Watches::Doing::Doing(Watches& watches, OwnChange change) : watches_(watches) {
  std::lock_guard lock(watches_.mutex_);
  watches_.drain_locked();  // what others did before
  change_ = watches_.doing_.insert(watches_.doing_.end(), std::move(change));
}

Watches::Doing::~Doing() {
  std::lock_guard lock(watches_.mutex_);
  watches_.drain_locked();
  watches_.drop_deleted_locked(*change_);
  watches_.doing_.erase(change_);
}

void Watches::drain_locked() {
  if (!inotify_) return;
  alignas(inotify_event) char buffer[16 << 10];
  for (;;) {
    const ssize_t got = ::read(*inotify_, buffer, sizeof buffer);
    if (got <= 0) return;
    for (ssize_t at = 0; at < got;) {
      inotify_event event;
      std::memcpy(&event, buffer + at, sizeof event);
      const char* const name = event.len > 0 ? buffer + at + sizeof event : "";
      at += static_cast<ssize_t>(sizeof event + event.len);
      note_locked(event.mask, event.cookie, event.wd, name);
    }
  }
}

void Watches::note_locked(std::uint32_t mask, std::uint32_t cookie, int number, const char* name) {
  if ((mask & IN_Q_OVERFLOW) != 0) {
    news_.clear();
    lost_ = true;
    return;
  }
  const auto found = watches_.find(number);
  if (found == watches_.end()) return;
  if ((mask & (IN_IGNORED | IN_UNMOUNT)) != 0) {
    watches_.erase(found);
    any_ = !watches_.empty();
    return;
  }
  if ((mask & IN_DELETE_SELF) != 0) return;
  const Watch& watch = found->second;
  if (is_own_locked(watch, mask, name)) return;
  // The loss of the last name is told as one thing, of which a kernel makes both.
  if (*name == '\0' && (mask & IN_ATTRIB) != 0 && say_if_deleted_locked(number)) return;
  add_locked({watch.tag, mask, cookie, name});
}

void Watches::add_locked(News news) {
  if (news_.size() >= kNewsMax) {
    news_.clear();
    lost_ = true;
  }
  news_.push_back(std::move(news));
  // Who waits for the kernel's queue would not see what a request has taken from it.
  if (waiting_) (void)!::eventfd_write(*wake_, 1);
}

bool Watches::is_own_locked(const Watch& watch, std::uint32_t mask, const char* name) const {
  const bool named = *name != '\0';
  std::optional<FileIdentity> file;
  for (const OwnChange& change : doing_) {
    for (const OwnChange::Name& own : change.names) {
      if (named && (own.mask & mask) != 0 && own.dir == watch.file && own.name == name) return true;
    }
    for (const OwnChange::File& own : change.files) {
      if ((own.mask & mask) == 0 || (named && (mask & kOfChild) == 0)) continue;
      if (!named && own.file == watch.file) return true;
      if (named && !file) file = identity_of(*watch.fd, name);
      if (named && file == own.file) return true;
      if (named && (own.last_name.lost || !file) && name == own.last_name.name) return true;
    }
  }
  return false;
}

// A watch on what nobody can find any more ends.
bool Watches::say_if_deleted_locked(int number) {
  const auto found = watches_.find(number);
  if (found == watches_.end()) return false;
  const Watch& watch = found->second;
  struct stat st {};
  if (watch.nameless || ::fstat(*watch.fd, &st) != 0 || st.st_nlink != 0 ||
      is_in_hands_locked(watch)) {
    return false;
  }
  const std::uint32_t directory = S_ISDIR(st.st_mode) ? std::uint32_t{IN_ISDIR} : 0;
  add_locked({watch.tag, IN_DELETE_SELF | directory, 0, {}});
  forget_locked(number);
  return true;
}

void Watches::forget_locked(int number) {
  ::inotify_rm_watch(*inotify_, number);
  watches_.erase(number);
  any_ = !watches_.empty();
}

// Is a request about it under way?
bool Watches::is_in_hands_locked(const Watch& watch) const {
  return std::ranges::any_of(doing_, [&](const OwnChange& change) {
    return std::ranges::any_of(change.files,
                               [&](const OwnChange::File& own) { return own.file == watch.file; });
  });
}

// What a guest has deleted itself its own kernel tells of, when it is time there.
void Watches::drop_deleted_locked(const OwnChange& change) {
  for (const OwnChange::File& own : change.files) {
    const auto found = std::ranges::find_if(
        watches_, [&](const auto& watch) { return watch.second.file == own.file; });
    struct stat st {};
    if (found == watches_.end() || found->second.nameless || ::fstat(*found->second.fd, &st) != 0)
      continue;
    if (st.st_nlink == 0) forget_locked(found->first);
  }
}

void Watches::wait_for(std::chrono::milliseconds time) const {
  pollfd fds[] = {{*inotify_, POLLIN, 0}, {*wake_, POLLIN, 0}};
  (void)::poll(fds, 2, static_cast<int>(time.count()));
}

Watches::Taken Watches::take(std::chrono::milliseconds wait, std::size_t count_max) {
  {
    std::lock_guard lock(mutex_);
    if (!inotify_) return {};
    drain_locked();
    if (!news_.empty() || lost_ || stopped_ || at_once_) wait = std::chrono::milliseconds(0);
    waiting_ = true;
  }
  if (wait.count() > 0) wait_for(wait);
  std::unique_lock lock(mutex_);
  waiting_ = false;
  at_once_ = false;
  eventfd_t woken = 0;
  (void)!::eventfd_read(*wake_, &woken);
  drain_locked();
  if (waits_for_second_step(news_)) {
    lock.unlock();
    wait_for(kSecondStep);
    lock.lock();
    drain_locked();
  }
  // Nobody says that a directory was deleted, as long as somebody has it.
  std::vector<int> numbers;
  for (const auto& [number, watch] : watches_) numbers.push_back(number);
  for (const int number : numbers) (void)say_if_deleted_locked(number);

  Taken taken;
  taken.lost = std::exchange(lost_, false);
  taken.watched = watches_.size();
  std::size_t count = std::min(count_max, news_.size());
  // Both steps of a rename go together.
  if (count > 1 && count < news_.size() && (news_[count - 1].mask & IN_MOVED_FROM) != 0) --count;
  for (; count > 0; --count) {
    taken.news.push_back(std::move(news_.front()));
    news_.pop_front();
  }
  return taken;
}

void Watches::answer_at_once() {
  std::lock_guard lock(mutex_);
  at_once_ = true;
  if (wake_) (void)!::eventfd_write(*wake_, 1);
}

void Watches::stop_waiting() {
  std::lock_guard lock(mutex_);
  stopped_ = true;
  if (wake_) (void)!::eventfd_write(*wake_, 1);
}

}  // namespace ssi::fs
