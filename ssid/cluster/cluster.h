// The cluster as ssid sees it: which nodes there are, which of them run ssid and can hear each
// other (the view), and messages that everybody gets in one order. Two implementations: corosync/
// (the real one) and sim/ (several nodes in one process, for tests). cluster_contract.h holds both
// to what is promised here:
//
//  1. A view is who is in the group of ssid processes. Views and messages come as one sequence of
//  calls.
//     Members that go from one view to the next together get the same messages in between, in the
//     same order, and everybody gets his own messages as well. Messages of one sender come in the
//     order sent.
//  2. A message is passed on with the view in which it is delivered. That may be a later view than
//  the one in
//     which it was sent.
//  3. A member that is cut off may have been given messages that those who stay never get (the last
//  ones of
//     its old view), and the other way round. So "delivered in a quorate view" alone decides
//     nothing: what must hold for the whole cluster has to be acknowledged by more than half of the
//     nodes. TableReplica does that.
//  4. When the cut happens, messages of members that stay may be delivered although an earlier one
//  of a member
//     that does not has been lost: a gap, in the old view, just before the new one. A message that
//     one sends because of such a late one is delivered in the new view.
//  5. A view without members: we are in no group (corosync is not there, or is being restarted).
//  What was sent
//     and has not come back may have been delivered elsewhere or not. The driver reconnects by
//     itself.
//  6. `view.quorate`: more than half of the *configured* nodes are in the view; computed from the
//  view itself,
//     therefore the same at all its members. So two nodes are quorate only together. Sending with
//     Needs::kQuorum asks in addition for corosync's own vote (votequorum), which may know of lost
//     nodes earlier.
//
// One thread (that of the event loop); handlers are called from the loop, never from inside send().
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "ssid/base/ids.h"
#include "ssid/base/result.h"

namespace ssi {

// A machine that belongs to the cluster, up or not.
struct Node {
  NodeId id;
  std::string name;
  std::vector<std::string> addresses;  // one per link, as configured
  bool operator==(const Node&) const = default;
};

struct View {
  std::uint64_t number = 0;     // grows with each view of this process; means nothing elsewhere
  std::vector<NodeId> members;  // sorted; those whose ssid is in our group
  bool quorate = false;         // members are more than half of the configured nodes

  bool has(NodeId node) const { return std::binary_search(members.begin(), members.end(), node); }
};

struct ClusterHandlers {
  // `joined`: in this view and not in the one before; `left`: the other way round. A node may be in
  // both: its ssid was restarted.
  std::function<void(const View&, const std::vector<NodeId>& joined,
                     const std::vector<NodeId>& left)>
      on_view;
  // The bytes are valid only during the call.
  std::function<void(const View&, NodeId from, std::span<const std::uint8_t>)> on_message;
  // nodes() or up() or corosync's vote has changed. May be empty.
  std::function<void()> on_nodes;
};

enum class Needs { kNothing, kQuorum };

class Cluster {
 public:
  static constexpr std::size_t kMessageBytesMax = 8u << 20;
  static constexpr std::size_t kQueueBytesMax = 32u << 20;

  virtual ~Cluster() = default;

  // No node until start() has succeeded once.
  virtual NodeId self() const = 0;
  // All configured nodes, sorted by id.
  virtual const std::vector<Node>& nodes() const = 0;
  // Nodes whose machine is up, sorted; a node that is up and not in the view has no ssid (yet):
  // JOINING.
  virtual const std::vector<NodeId>& up() const = 0;
  virtual const View& view() const = 0;
  // view().quorate, and corosync's own vote.
  virtual bool may_commit() const = 0;

  // Call once. Joining goes on in the background; on_view tells when it is done.
  virtual Result<> start(ClusterHandlers handlers) = 0;

  // To all members, ourselves included. Queued, never blocks. kNoQuorum: needed and not there.
  // kFailed: too long, the queue is full, or we are in no group (view().members is empty); nothing
  // was sent then.
  virtual Result<> send(std::span<const std::uint8_t> message, Needs needs = Needs::kNothing) = 0;
};

}  // namespace ssi
