#include "loadlevel/list/list_watcher.h"

#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "loadlevel/list/list_file.h"

namespace ssi {
namespace {

constexpr std::uint32_t kFileEvents =
    IN_CLOSE_WRITE | IN_MODIFY | IN_ATTRIB | IN_MOVE_SELF | IN_DELETE_SELF;
constexpr std::uint32_t kDirectoryEvents = IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE |
                                           IN_MOVE_SELF | IN_DELETE_SELF | IN_ONLYDIR;

}  // namespace

ListWatcher::ListWatcher(std::string path, UniqueFd inotify)
    : path_(std::move(path)), inotify_(std::move(inotify)) {}

Result<ListWatcher> ListWatcher::open(std::string path) {
  UniqueFd inotify(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  if (!inotify) return Error::from_errno("inotify_init");
  ListWatcher watcher(std::move(path), std::move(inotify));
  watcher.arm();
  return watcher;
}

// Adding a watch again on the same inode changes nothing, so all of them are added each time; those
// on what was deleted or replaced vanish by themselves or only cost an event.
void ListWatcher::arm() {
  ::inotify_add_watch(*inotify_, path_.c_str(), kFileEvents);
  for (auto directory = std::filesystem::path(path_).parent_path();;
       directory = directory.parent_path()) {
    const char* name = directory.empty() ? "." : directory.c_str();
    if (::inotify_add_watch(*inotify_, name, kDirectoryEvents) >= 0) break;
    if (directory.empty() || directory == directory.root_path()) break;
  }
}

ListWatcher::Identity ListWatcher::identity_of(const std::string& path) {
  struct stat s {};
  if (::stat(path.c_str(), &s) < 0) return {};
  const auto ns = [](const timespec& t) {
    return static_cast<std::int64_t>(t.tv_sec) * 1'000'000'000 + t.tv_nsec;
  };
  return {s.st_dev, s.st_ino, s.st_size, ns(s.st_mtim), ns(s.st_ctim)};
}

std::optional<LoadLevelList> ListWatcher::changed() {
  alignas(inotify_event) char events[4096];
  bool told = false;
  // Bounded: somebody writing all the time must not hold us here.
  for (int i = 0; i < 64 && ::read(*inotify_, events, sizeof events) > 0; ++i) told = true;
  // Watch first, look afterwards: a change in between is seen now or told later.
  if (told || !seen_) arm();
  const Identity now = identity_of(path_);
  if (!told && seen_ == now) return {};
  if (!told) arm();
  seen_ = now;
  auto list = read_list(path_);
  if (!list) {
    problem_ = list.error().message();
    return {};
  }
  problem_.clear();
  if (text_ == list->text()) return {};
  text_ = list->text();
  return std::move(list).value();
}

}  // namespace ssi
