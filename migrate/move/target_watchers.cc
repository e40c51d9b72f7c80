#include "migrate/move/target_watchers.h"

#include <fcntl.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <set>

#include "migrate/criu/criu_arguments.h"
#include "migrate/criu/files_image.h"
#include "migrate/criu/inotify_image.h"
#include "migrate/realm/realm_protocol.h"

namespace ssi::migrate {

Result<> TargetWatchers::listen(std::vector<fds::Watcher> wanted, bool in_time) {
  if (!in_time) return Error("it has just begun to watch files; it may be tried again");
  SSI_ASSIGN(const UniqueFd root, host_.open_root(home_));
  std::vector<UniqueFd> listening;
  for (const fds::Watcher& watcher : wanted) {
    const auto same = std::ranges::find(wanted_, watcher);
    const auto place = static_cast<std::size_t>(same - wanted_.begin());
    if (same != wanted_.end() && listening_[place]) {
      listening.push_back(std::move(listening_[place]));
      continue;
    }
    SSI_ASSIGN(UniqueFd made, fds::make_watcher(*root, watcher));
    listening.push_back(std::move(made));
  }
  wanted_ = std::move(wanted);
  listening_ = std::move(listening);
  if (!at_home_) SSI_TRY(host_.tell_watchers(home_, ::getpid()));
  for (const UniqueFd& one : listening_) SSI_TRY(fds::forget_heard(*one));
  return {};
}

Result<> TargetWatchers::watch_deleted(const std::vector<UniqueFd>& held) const {
  for (std::size_t i = 0; i < wanted_.size(); ++i) {
    for (const fds::Watch& watch : wanted_[i].watches) {
      if (!watch.path.empty()) continue;
      const auto file = std::ranges::find_if(held, [&](const UniqueFd& fd) {
        struct stat st {};
        return ::fstat(*fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_ino == watch.inode;
      });
      if (file == held.end()) return Error("it watches a deleted file that it has closed");
      SSI_TRY(fds::add_watch(*listening_[i], **file, watch).context("a deleted file"));
    }
  }
  return {};
}

void TargetWatchers::give(std::vector<InheritFd>& inherit, std::vector<UniqueFd>& given) const {
  for (std::size_t i = 0; i < listening_.size(); ++i) {
    inherit.push_back({key_of_watcher(i), kCriuFirstExtraFd + static_cast<int>(given.size())});
    given.emplace_back(::fcntl(*listening_[i], F_DUPFD_CLOEXEC, 0));
  }
}

fds::HeldFile TargetWatchers::as_to_open(const fds::HeldFile& file) const {
  fds::HeldFile wanted = file;
  const std::size_t slash = file.name.rfind('/');
  if (slash == std::string::npos) return wanted;
  const std::string dir = file.name.substr(0, std::max<std::size_t>(slash, 1));
  for (const fds::Watcher& watcher : wanted_) {
    for (const fds::Watch& watch : watcher.watches) {
      if (watch.path == dir && (watch.mask & IN_MOVED_TO) != 0) wanted.name.clear();
    }
  }
  return wanted;
}

Result<> TargetWatchers::set_images(const ImageDir& images) const {
  std::set<std::uint32_t> ids;
  SSI_TRY(images.change(kFilesImage, [&](std::string_view image) -> Result<std::string> {
    SSI_ASSIGN(auto given, with_given_watchers(image, wanted_));
    ids = std::move(given.ids);
    return std::move(given.files);
  }));
  if (ids.empty()) return {};
  for (const std::string& name : images.names(kDescriptorImages)) {
    SSI_TRY(images.change(
        name, [&](std::string_view image) { return with_files_for_watchers(image, ids); }));
  }
  return {};
}

Result<> TargetWatchers::hand_over(const FreezerCgroup& cgroup) const {
  if (wanted_.empty() || at_home_) return {};
  SSI_ASSIGN(const auto pids, cgroup.pids());
  for (const pid_t pid : pids) SSI_TRY(host_.tell_watchers(home_, pid));
  return {};
}

}  // namespace ssi::migrate
