#include "fs/view/view_node.h"

#include <algorithm>
#include <utility>

#include "ssid/base/check.h"

namespace ssi::fs {

NodeIndex::NodeIndex(std::function<void(ViewNode&)> gone)
    : gone_(std::move(gone)), root_(std::make_shared<ViewNode>()) {
  root_->is_root = true;
  root_->kernel_lookups = 1;
}

std::uint64_t NodeIndex::kernel_id(const ViewNode& node) const {
  return node.is_root ? 1 : reinterpret_cast<std::uintptr_t>(&node);
}

ViewNodePtr NodeIndex::get(std::uint64_t kernel_id) const {
  if (kernel_id == 1) return root_;
  // The kernel only names what it has not forgotten, and the index holds that.
  auto* node = reinterpret_cast<ViewNode*>(static_cast<std::uintptr_t>(kernel_id));
  std::lock_guard lock(mutex_);
  const auto it = nodes_.find(node->key);
  SSI_CHECK(it != nodes_.end() && it->second.get() == node);
  return it->second;
}

ViewNodePtr NodeIndex::found(const ViewNodePtr& parent, const std::string& name, const FileKey& key,
                             bool for_kernel, bool nameless) {
  ViewNodePtr old_parent;  // its release may need the lock
  std::lock_guard lock(mutex_);
  if (root_->key == key && key.ino != 0) {
    if (for_kernel) ++root_->kernel_lookups;
    return root_;
  }
  auto& node = nodes_[key];
  if (!node) {
    node = ViewNodePtr(new ViewNode, [gone = &gone_](ViewNode* last) {
      (*gone)(*last);
      delete last;
    });
    node->key = key;
  }
  if (for_kernel) ++node->kernel_lookups;
  if (node != parent && !(nameless && node->parent)) {
    old_parent = std::exchange(node->parent, parent);
    node->name = name;
  }
  return node;
}

void NodeIndex::set_root_key(const FileKey& key) {
  std::lock_guard lock(mutex_);
  root_->key = key;
}

void NodeIndex::moved(const FileKey& key, const ViewNodePtr& parent, const std::string& name) {
  ViewNodePtr old_parent;
  std::lock_guard lock(mutex_);
  const auto it = nodes_.find(key);
  if (it == nodes_.end() || it->second == parent) return;
  old_parent = std::exchange(it->second->parent, parent);
  it->second->name = name;
}

void NodeIndex::forget(std::uint64_t kernel_id, std::uint64_t lookups) {
  if (kernel_id == 1) return;
  auto* node = reinterpret_cast<ViewNode*>(static_cast<std::uintptr_t>(kernel_id));
  ViewNodePtr gone;  // released after the lock
  std::lock_guard lock(mutex_);
  const auto it = nodes_.find(node->key);
  if (it == nodes_.end() || it->second.get() != node) return;
  node->kernel_lookups -= std::min(node->kernel_lookups, lookups);
  if (node->kernel_lookups > 0) return;
  gone = std::move(it->second);
  nodes_.erase(it);
}

std::pair<ViewNodePtr, std::string> NodeIndex::place(const ViewNode& node) const {
  std::lock_guard lock(mutex_);
  return {node.parent, node.name};
}

std::string NodeIndex::path(const ViewNode& node) const {
  std::lock_guard lock(mutex_);
  std::string path;
  for (const ViewNode* at = &node; at != nullptr && !at->is_root; at = at->parent.get()) {
    path.insert(0, "/" + at->name);
    if (path.size() > 4096) return {};
  }
  return path.empty() ? "/" : path;
}

std::vector<ViewNodePtr> NodeIndex::all() const {
  std::lock_guard lock(mutex_);
  std::vector<ViewNodePtr> nodes;
  nodes.reserve(nodes_.size() + 1);
  nodes.push_back(root_);
  for (const auto& [key, node] : nodes_) nodes.push_back(node);
  return nodes;
}

void NodeIndex::clear() {
  decltype(nodes_) nodes;  // released after the lock
  std::lock_guard lock(mutex_);
  nodes.swap(nodes_);
}

std::size_t NodeIndex::size() const {
  std::lock_guard lock(mutex_);
  return nodes_.size() + 1;
}

}  // namespace ssi::fs
