// What the nodes last said about themselves. Control loop only.
#pragma once

#include <map>
#include <optional>

#include "ssid/base/ids.h"
#include "ssid/wire/group/group_codec.h"

namespace ssi {

class NodeLoads {
 public:
  struct Heard {
    group::NodeInfo info;
    std::int64_t at_us = 0;
  };

  void heard(const group::NodeInfo& info, std::int64_t now_us) {
    nodes_[info.node] = {info, now_us};
  }
  void left(NodeId node) { nodes_.erase(node); }
  const Heard* find(NodeId node) const {
    const auto it = nodes_.find(node);
    return it == nodes_.end() ? nullptr : &it->second;
  }
  const std::map<NodeId, Heard>& all() const { return nodes_; }

 private:
  std::map<NodeId, Heard> nodes_;
};

}  // namespace ssi
