#include "fs/store/node_table.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "ssid/base/check.h"

namespace ssi::fs {

NodeTable::NodeTable(FileStat& stat, UniqueFd root, FileStat::Client client, std::size_t fds_max)
    : stat_(stat), client_(client), fds_max_(fds_max) {
  Attr attr;
  SSI_CHECK(stat_.stat(*root, "", attr) == 0);
  Entry entry;
  entry.key = attr.key;
  entry.type = S_IFDIR;
  entry.lookups = 1;
  entry.fd = std::make_shared<const UniqueFd>(std::move(root));
  nodes_.emplace(kRootNode, std::move(entry));
  by_key_.emplace(attr.key, kRootNode);
}

bool NodeTable::hidden_name(std::uint64_t parent, std::string_view name) const {
  if (parent == kRootNode) {
    return name == "proc" || name == "sys" || name == "dev" ||
           (name == "cluster" && client_ == FileStat::Client::kNodes);
  }
  const auto it = nodes_.find(parent);
  return it != nodes_.end() && it->second.parent == kRootNode && it->second.name == "run" &&
         name == "ssid";
}

bool NodeTable::is_hidden_name(std::uint64_t parent, std::string_view name) const {
  std::lock_guard lock(mutex_);
  return hidden_name(parent, name);
}

std::uint64_t NodeTable::found(std::uint64_t parent, std::string_view name, const Attr& attr) {
  const bool hidden_dev = stat_.is_hidden(attr.key.dev, client_);
  std::lock_guard lock(mutex_);
  if (const auto known = by_key_.find(attr.key); known != by_key_.end()) {
    const std::uint64_t id = known->second;
    if (id != kRootNode) {
      Entry& entry = nodes_.at(id);
      ++entry.lookups;
      entry.parent = parent;
      entry.name = name;
      entry.hidden = hidden_dev || hidden_name(parent, name);
    }
    return id;
  }
  const std::uint64_t id = next_id_++;
  Entry entry;
  entry.key = attr.key;
  entry.type = attr.mode & S_IFMT;
  entry.lookups = 1;
  entry.parent = parent;
  entry.name = name;
  entry.hidden = hidden_dev || hidden_name(parent, name);
  nodes_.emplace(id, std::move(entry));
  by_key_.emplace(attr.key, id);
  return id;
}

std::uint64_t NodeTable::found_open(SharedFd fd, const Attr& attr) {
  std::lock_guard lock(mutex_);
  const auto [known, is_new] = by_key_.emplace(attr.key, next_id_);
  const std::uint64_t id = known->second;
  if (id == kRootNode) return id;
  if (is_new) {
    ++next_id_;
    Entry entry;
    entry.key = attr.key;
    entry.type = attr.mode & S_IFMT;
    nodes_.emplace(id, std::move(entry));
  }
  Entry& entry = nodes_.at(id);
  ++entry.lookups;
  entry.open = std::move(fd);
  return id;
}

void NodeTable::drop_if_unused(std::unordered_map<std::uint64_t, Entry>::iterator it) {
  if (it->second.lookups > 0 || it->second.pins > 0) return;
  drop_fd(it->second);
  by_key_.erase(it->second.key);
  nodes_.erase(it);
}

void NodeTable::forget(std::uint64_t id, std::uint64_t lookups) {
  std::lock_guard lock(mutex_);
  const auto it = nodes_.find(id);
  if (it == nodes_.end() || id == kRootNode) return;
  it->second.lookups -= std::min(it->second.lookups, lookups);
  drop_if_unused(it);
}

void NodeTable::drop_fd(Entry& entry) {
  if (!entry.fd) return;
  used_.erase(entry.used);
  entry.fd.reset();
  --fds_open_;
}

void NodeTable::keep_fd(std::uint64_t id, Entry& entry, SharedFd fd) {
  if (entry.fd) return;
  entry.fd = std::move(fd);
  used_.push_front(id);
  entry.used = used_.begin();
  ++fds_open_;
  // Close the coldest ones; those of open files pass to the front and stay.
  for (std::size_t seen = used_.size(); fds_open_ > fds_max_ && seen > 1; --seen) {
    const std::uint64_t coldest = used_.back();
    Entry& victim = nodes_.at(coldest);
    if (victim.pins > 0) {
      used_.splice(used_.begin(), used_, victim.used);
    } else {
      drop_fd(victim);
    }
  }
}

int NodeTable::get(std::uint64_t id, Node& node) {
  // The chain of nodes without a descriptor, from `id` upwards.
  struct Step {
    std::uint64_t id;
    FileKey key;
    std::string name;
    bool hidden;
  };
  std::vector<Step> chain;
  SharedFd fd;
  {
    std::lock_guard lock(mutex_);
    std::uint64_t at = id;
    for (;;) {
      const auto it = nodes_.find(at);
      if (it == nodes_.end() || chain.size() > 4096) return ESTALE;
      Entry& entry = it->second;
      if (at == id) {
        node.type = entry.type;
        node.hidden = entry.hidden;
      }
      if (entry.open) {
        fd = entry.open;
        break;
      }
      if (entry.fd) {
        if (at != kRootNode) used_.splice(used_.begin(), used_, entry.used);
        fd = entry.fd;
        break;
      }
      chain.push_back({at, entry.key, entry.name, entry.hidden});
      at = entry.parent;
    }
  }
  while (!chain.empty()) {
    const Step& step = chain.back();
    UniqueFd opened(::openat(**fd, step.name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
    if (!opened) return errno == ENOENT || errno == ENOTDIR ? ESTALE : errno;
    Attr attr;
    const int error =
        step.hidden ? stat_.describe_hidden(*opened, "", attr) : stat_.stat(*opened, "", attr);
    if (error != 0) return error;
    if (step.hidden) attr.key.birth_ns = step.key.birth_ns;  // not asked for
    if (attr.key != step.key) return ESTALE;
    fd = std::make_shared<const UniqueFd>(std::move(opened));
    if (!step.hidden) {  // or what is mounted there could not be unmounted
      std::lock_guard lock(mutex_);
      if (const auto it = nodes_.find(step.id); it != nodes_.end())
        keep_fd(step.id, it->second, fd);
    }
    chain.pop_back();
  }
  node.fd = std::move(fd);
  return 0;
}

void NodeTable::pin(std::uint64_t id, const SharedFd& fd) {
  std::lock_guard lock(mutex_);
  const auto it = nodes_.find(id);
  if (it == nodes_.end()) return;
  ++it->second.pins;
  if (id != kRootNode) keep_fd(id, it->second, fd);
}

void NodeTable::unpin(std::uint64_t id) {
  std::lock_guard lock(mutex_);
  const auto it = nodes_.find(id);
  if (it == nodes_.end() || it->second.pins == 0) return;
  --it->second.pins;
  drop_if_unused(it);
}

void NodeTable::moved(const FileKey& key, std::uint64_t parent, std::string_view name) {
  std::lock_guard lock(mutex_);
  const auto known = by_key_.find(key);
  if (known == by_key_.end() || known->second == kRootNode) return;
  Entry& entry = nodes_.at(known->second);
  entry.parent = parent;
  entry.name = name;
}

std::size_t NodeTable::size() const {
  std::lock_guard lock(mutex_);
  return nodes_.size();
}

std::size_t NodeTable::fds_open() const {
  std::lock_guard lock(mutex_);
  return fds_open_;
}

}  // namespace ssi::fs
