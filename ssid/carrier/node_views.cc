#include "ssid/carrier/node_views.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <set>

#include "ssid/base/log.h"
#include "ssid/base/mount_table.h"

namespace ssi {
namespace {

constexpr std::chrono::milliseconds kPatience{2000};

// Is it that view which stands there? Without asking the node.
bool stands_at(const fs::View& view, const std::string& mountpoint) {
  struct statx st {};
  return ::statx(AT_FDCWD, mountpoint.c_str(), AT_STATX_DONT_SYNC, STATX_TYPE, &st) == 0 &&
         makedev(st.stx_dev_major, st.stx_dev_minor) == view.device();
}

void take_away(const std::string& mountpoint) {
  for (int left = mounts_on(mountpoint, fs::View::kType); left > 0; --left) {
    ::umount2(mountpoint.c_str(), MNT_DETACH);
  }
}

}  // namespace

Result<> NodeViews::show(const ShowNodes& wanted) {
  std::lock_guard lock(mutex_);
  forget_dead();
  std::set<std::uint32_t> numbers;
  Result<> result;
  for (const NodeView& node : wanted.nodes) {
    numbers.insert(node.node.node);
    auto shown = show_one(node, wanted.directory + "/" + std::to_string(node.node.node));
    if (!shown && result.ok()) result = std::move(shown);
    for (const Shown& old : unnamed_) {
      if (old.node.node == node.node.node) old.view->set_home_up(node.up);
    }
  }
  for (auto it = shown_.begin(); it != shown_.end();) {
    if (numbers.contains(it->first)) {
      ++it;
      continue;
    }
    it->second.view->set_home_up(false);
    take_away(it->second.view->mountpoint());
    unnamed_.push_back(std::move(it->second));
    it = shown_.erase(it);
  }
  return result;
}

Result<> NodeViews::show_one(const NodeView& wanted, const std::string& mountpoint) {
  const auto known = shown_.find(wanted.node.node);
  if (known != shown_.end()) {
    Shown& shown = known->second;
    if (shown.node == wanted.node && shown.view->is_alive() && stands_at(*shown.view, mountpoint)) {
      shown.view->set_home_up(wanted.up);
      return {};
    }
    unnamed_.push_back(std::move(shown));
    shown_.erase(known);
  }
  take_away(mountpoint);  // also what a former carrier has left
  SSI_ASSIGN(auto view, mount(wanted.node, mountpoint));
  view->set_home_up(wanted.up);
  shown_[wanted.node.node] = {wanted.node, std::move(view)};
  return {};
}

Result<std::shared_ptr<fs::View>> NodeViews::mount(const CarrierPeer& node,
                                                   const std::string& mountpoint) {
  fs::View::Options options;
  options.mountpoint = mountpoint;
  options.source = "node" + std::to_string(node.node);
  options.home_must_answer = false;
  // Devices have the numbers of another machine.
  options.mount_flags = MS_NOSUID | MS_NODEV;
  // Who looks at a node's file wants that one.
  options.twins.file_bytes_max = 0;
  options.remote.patience = kPatience;
  options.remote.hello.kind = LinkKind::kFiles;
  options.remote.hello.node = self_.value;
  options.remote.hello.realm = 0;
  auto& token = options.remote.hello.token;
  SSI_CHECK(::getrandom(token.data(), token.size(), 0) == static_cast<ssize_t>(token.size()));
  options.remote.dial = [this, node] { return dial_(node); };
  SSI_ASSIGN(std::shared_ptr<fs::View> view, fs::View::mount(std::move(options), digests_));
  log_info("node {}'s files are at {}", node.node, mountpoint);
  return view;
}

void NodeViews::forget_dead() {
  std::erase_if(unnamed_, [](const Shown& shown) { return !shown.view->is_alive(); });
}

void NodeViews::clear() {
  std::lock_guard lock(mutex_);
  shown_.clear();
  unnamed_.clear();
}

std::vector<std::pair<std::uint32_t, fs::View::Stats>> NodeViews::stats() const {
  std::lock_guard lock(mutex_);
  std::vector<std::pair<std::uint32_t, fs::View::Stats>> all;
  for (const auto& [number, shown] : shown_) all.emplace_back(number, shown.view->stats());
  return all;
}

}  // namespace ssi
