// The views at /cluster/node: each node's files, seen from this one. A view is there for every node
// of the cluster, up or not, and asks a node only when somebody uses it; while the node is down its
// users get EHOSTDOWN at once, and go on (with files that they have open, too) when it is back. So
// a node that leaves or comes is a flag, never a mount that goes or a process that hangs.
//
// The directories belong to ssid's file system (fs/cluster), which dies with it: the next ssid
// takes its mounts away with it and asks for them anew. A view that somebody still uses then lives
// on without a name until he lets it go.
//
// They have a process of their own (`ssid-carrier --nodes`, see node_views_process.h): the carrier
// serves home's /cluster/node to guests, and a process that is killed while it uses a mount which
// it serves itself waits for its own answer, for ever.
//
// Owned by that carrier; thread-safe. show() waits for ssid's file system, never for another node.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "fs/view/view.h"
#include "ssid/base/ids.h"
#include "ssid/wire/carrier/carrier_messages.h"

namespace ssi {

class NodeViews {
 public:
  using Dial = std::function<Result<std::unique_ptr<Channel>>(const CarrierPeer&)>;

  // `digests` outlives this.
  NodeViews(NodeId self, Dial dial, fs::DigestCache& digests)
      : self_(self), dial_(std::move(dial)), digests_(digests) {}

  // What is mounted is as wanted afterwards. Error: the first one; the other nodes are shown.
  Result<> show(const ShowNodes& wanted);
  // Takes all away.
  void clear();

  std::vector<std::pair<std::uint32_t, fs::View::Stats>> stats() const;

 private:
  struct Shown {
    CarrierPeer node;
    std::shared_ptr<fs::View> view;
  };

  Result<> show_one(const NodeView& wanted, const std::string& mountpoint);
  Result<std::shared_ptr<fs::View>> mount(const CarrierPeer& node, const std::string& mountpoint);
  void forget_dead();

  const NodeId self_;
  const Dial dial_;
  fs::DigestCache& digests_;
  mutable std::mutex mutex_;
  std::map<std::uint32_t, Shown> shown_;
  std::vector<Shown> unnamed_;  // still used by somebody, perhaps
};

}  // namespace ssi
