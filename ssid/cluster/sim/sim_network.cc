#include "ssid/cluster/sim/sim_network.h"

#include <algorithm>
#include <utility>

namespace ssi {

SimNetwork::SimNetwork(Options options) : options_(options), random_(options.seed) {
  std::set<NodeId> all;
  for (std::uint32_t i = 1; i <= options_.nodes; ++i) {
    const NodeId id{i};
    nodes_.push_back({.id = id,
                      .name = "n" + std::to_string(i),
                      .addresses = {"10.0.0." + std::to_string(i), "10.0.1." + std::to_string(i)}});
    machines_[id];
    all.insert(id);
  }
  sides_ = {all};
  change_later();
}

SimNetwork::~SimNetwork() = default;

// ---- time

void SimNetwork::at(std::uint64_t time_us, std::function<void()> what) {
  happenings_.push({std::max(time_us, now_us_), ++order_, std::move(what)});
}

bool SimNetwork::step() {
  if (happenings_.empty()) return false;
  Happening next = happenings_.top();
  happenings_.pop();
  now_us_ = next.time_us;
  next.what();
  return true;
}

void SimNetwork::run_for_ms(std::uint64_t ms) {
  const std::uint64_t end = now_us_ + ms * 1000;
  while (!happenings_.empty() && happenings_.top().time_us <= end) step();
  now_us_ = end;
}

bool SimNetwork::run_until(const std::function<bool()>& done, std::uint64_t ms_max) {
  const std::uint64_t end = now_us_ + ms_max * 1000;
  while (!done()) {
    if (happenings_.empty() || happenings_.top().time_us > end) return false;
    step();
  }
  return true;
}

std::uint64_t SimNetwork::delay() {
  const std::uint64_t spread = options_.message_us_max - options_.message_us_min;
  std::uint64_t us = options_.message_us_min + random_() % (spread + 1);
  if (random_() % 100 < options_.lost_percent) us += 10 * options_.message_us_max;
  return us;
}

// ---- faults

bool SimNetwork::is_up(NodeId node) const { return machines_.at(node).up; }

SimCluster* SimNetwork::process(NodeId node) { return machine(node).process.get(); }

SimCluster& SimNetwork::start_process(NodeId node) {
  Machine& m = machine(node);
  SSI_CHECK(m.up && !m.process);
  m.process = std::make_unique<SimCluster>(*this, node, ++last_process_);
  return *m.process;
}

void SimNetwork::kill_process(NodeId node) {
  Machine& m = machine(node);
  if (!m.process) return;
  // What it has handed to corosync still goes out; then the others are told.
  enqueue(
      node,
      {.kind = Message::Kind::kLeave, .from = node, .process = m.process->process_, .bytes = {}});
  m.process.reset();
}

void SimNetwork::power_off(NodeId node) {
  machine(node) = Machine{};
  machine(node).up = false;
  change_later();
}

void SimNetwork::power_on(NodeId node) {
  SSI_CHECK(!machine(node).up);
  machine(node).up = true;
  change_later();
}

void SimNetwork::restart_corosync(NodeId node) {
  Machine& m = machine(node);
  if (!m.up) return;
  auto process = std::move(m.process);
  m = Machine{};
  m.process = std::move(process);
  change_later();
  if (!m.process) return;
  SimCluster& cluster = *m.process;
  cluster.up_.clear();
  if (!cluster.view_.members.empty()) {
    std::map<NodeId, std::uint64_t> before;
    for (const NodeId member : cluster.view_.members) before[member] = 0;
    cluster.publish(before, {});
  }
  enqueue(node,
          {.kind = Message::Kind::kJoin, .from = node, .process = cluster.process_, .bytes = {}});
}

void SimNetwork::partition(std::vector<std::set<NodeId>> sides) {
  sides_ = std::move(sides);
  token_side_ = sides_.empty() ? 0 : random_() % sides_.size();
  change_later();
}

void SimNetwork::heal() {
  std::set<NodeId> all;
  for (const auto& [node, m] : machines_) all.insert(node);
  partition({all});
}

bool SimNetwork::hears(NodeId a, NodeId b) const {
  if (!machines_.at(a).up || !machines_.at(b).up) return false;
  if (a == b) return true;
  return std::any_of(sides_.begin(), sides_.end(),
                     [&](const auto& side) { return side.contains(a) && side.contains(b); });
}

// ---- rings

void SimNetwork::change_later() {
  if (change_pending_) return;
  change_pending_ = true;
  at(now_us_ + options_.detect_us + random_() % (options_.detect_us / 2 + 1), [this] {
    change_pending_ = false;
    form_rings();
  });
}

void SimNetwork::form_rings() {
  std::set<NodeId> done;
  std::vector<std::set<NodeId>> rings;
  for (const auto& [node, m] : machines_) {
    if (!m.up || done.contains(node)) continue;
    std::set<NodeId> members;
    for (const auto& [other, other_machine] : machines_) {
      if (hears(node, other)) members.insert(other);
    }
    done.insert(members.begin(), members.end());
    const Seat& seat = m.next ? *m.next : m.seat;
    const bool stands = seat.ring && seat.ring->members == members &&
                        std::all_of(members.begin(), members.end(), [&](NodeId other) {
                          const Machine& o = machine(other);
                          return (o.next ? o.next->ring : o.seat.ring) == seat.ring;
                        });
    if (stands) {
      send_missing(seat.ring);
    } else {
      rings.push_back(std::move(members));
    }
  }
  for (const auto& members : rings) form_ring(members);
}

// After a cut so short that nobody noticed.
void SimNetwork::send_missing(const std::shared_ptr<Ring>& ring) {
  for (const NodeId to : ring->members) {
    for (std::size_t index = 0; index < ring->log.size(); ++index) {
      at(now_us_ + delay(), [this, to, ring, index] {
        if (machine(to).up) receive(to, ring, index);
      });
    }
    want_token(to);  // it may have been refused the token during the cut
  }
}

void SimNetwork::form_ring(const std::set<NodeId>& members) {
  auto ring = std::make_shared<Ring>();
  ring->members = members;
  for (const NodeId node : members) {
    const auto& group = machine(node).group;
    if (const auto own = group.find(node); own != group.end()) ring->group.insert(*own);
  }
  // Those who come from the same old ring give each other what they have of it.
  for (const NodeId node : members) {
    Machine& m = machine(node);
    m.together.clear();
    std::set<std::size_t> received;
    for (const NodeId other : members) {
      const Machine& o = machine(other);
      if (o.seat.ring != m.seat.ring || (other != node && !m.seat.ring)) continue;
      m.together.insert(other);
      received.insert(o.seat.received.begin(), o.seat.received.end());
    }
    if (m.seat.ring) m.seat.ring->closed = true;
    m.next = std::make_shared<Seat>(Seat{.ring = ring, .received = {}, .delivered = 0});
    m.seat.received = received;
    at(now_us_ + random_() % (options_.install_us_max + 1),
       [this, node, seat = m.next] { install(node, seat); });
  }
}

void SimNetwork::install(NodeId node, const std::shared_ptr<Seat>& seat) {
  Machine& m = machine(node);
  if (m.next != seat) return;  // interrupted by a further change
  if (m.seat.ring) {
    deliver_ready(node);
    // Behind the first gap: only messages of those who come along.
    const auto old = m.seat.ring;
    for (std::size_t i = m.seat.delivered; i < old->log.size(); ++i) {
      const Message message = old->log[i];
      if (m.seat.received.contains(i) && m.together.contains(message.from)) deliver(node, message);
    }
  }
  m.seat = *seat;
  m.next.reset();
  if (m.process) m.process->up_.assign(m.seat.ring->members.begin(), m.seat.ring->members.end());
  // First a view without those who are gone, then one with those who are new; the same for all of
  // this ring.
  const auto& start = m.seat.ring->group;
  const auto own = m.group.find(node);
  const std::uint64_t own_process = own == m.group.end() ? 0 : own->second;
  auto group = m.group;
  std::erase_if(group, [&](const auto& member) {
    const auto found = start.find(member.first);
    return !m.together.contains(member.first) || found == start.end() ||
           found->second != member.second;
  });
  set_group(node, group);
  set_group(node, start);
  // What became of our own process while the ring was being formed, the others must still hear.
  const auto told = start.find(node);
  const std::uint64_t told_process = told == start.end() ? 0 : told->second;
  if (told_process != own_process) {
    const bool joined = own_process != 0;
    // It has been in no group in between, so what it sent is lost (promise 5).
    std::erase_if(m.out, [](const Message& out) { return out.kind == Message::Kind::kData; });
    m.out.push_front({.kind = joined ? Message::Kind::kJoin : Message::Kind::kLeave,
                      .from = node,
                      .process = joined ? own_process : told_process,
                      .bytes = {}});
  }
  if (m.process && m.process->handlers_.on_nodes) m.process->handlers_.on_nodes();
  want_token(node);
  deliver_ready(node);
}

// ---- messages

void SimNetwork::enqueue(NodeId node, Message message) {
  machine(node).out.push_back(std::move(message));
  want_token(node);
}

void SimNetwork::want_token(NodeId node) {
  Machine& m = machine(node);
  if (m.token_wanted || m.out.empty()) return;
  m.token_wanted = true;
  at(now_us_ + delay(), [this, node] {
    machine(node).token_wanted = false;
    take_token(node);
  });
}

void SimNetwork::take_token(NodeId node) {
  Machine& m = machine(node);
  const auto ring = m.seat.ring;
  if (!m.up || !ring || ring->closed || m.next) return;  // install() asks again
  // A broken ring goes on for a moment on the side that has the token.
  const bool whole = std::all_of(ring->members.begin(), ring->members.end(),
                                 [&](NodeId other) { return hears(node, other); });
  if (!whole && (token_side_ >= sides_.size() || !sides_[token_side_].contains(node))) return;
  std::size_t count = 1 + random_() % 8;
  while (count-- > 0 && !m.out.empty()) {
    ring->log.push_back(std::move(m.out.front()));
    m.out.pop_front();
    const std::size_t index = ring->log.size() - 1;
    for (const NodeId to : ring->members) {
      if (!hears(node, to)) continue;
      at(now_us_ + delay(), [this, from = node, to, ring, index] {
        if (hears(from, to)) receive(to, ring, index);
      });
    }
  }
  want_token(node);
}

void SimNetwork::receive(NodeId node, const std::shared_ptr<Ring>& ring, std::size_t index) {
  Machine& m = machine(node);
  if (m.next && m.next->ring == ring) {
    m.next->received.insert(index);
  } else if (m.seat.ring == ring && !m.next) {
    m.seat.received.insert(index);
    deliver_ready(node);
  }
}

void SimNetwork::deliver_ready(NodeId node) {
  // A handler may kill the process or power the node off.
  while (true) {
    Machine& m = machine(node);
    if (!m.seat.ring || !m.seat.received.contains(m.seat.delivered)) return;
    const Message message = m.seat.ring->log[m.seat.delivered];
    ++m.seat.delivered;
    deliver(node, message);
  }
}

void SimNetwork::deliver(NodeId node, const Message& message) {
  Machine& m = machine(node);
  auto group = m.group;
  switch (message.kind) {
    case Message::Kind::kJoin:
      group[message.from] = message.process;
      set_group(node, std::move(group));
      return;
    case Message::Kind::kLeave:
      if (const auto found = group.find(message.from);
          found != group.end() && found->second == message.process) {
        group.erase(found);
      }
      set_group(node, std::move(group));
      return;
    case Message::Kind::kData: {
      const auto sender = m.group.find(message.from);
      if (sender == m.group.end() || sender->second != message.process) return;
      if (!m.process || !m.group.contains(node) || m.group.at(node) != m.process->process_) return;
      m.process->handlers_.on_message(m.process->view_, message.from, message.bytes);
    }
  }
}

void SimNetwork::set_group(NodeId node, std::map<NodeId, std::uint64_t> group) {
  Machine& m = machine(node);
  const auto before = std::exchange(m.group, std::move(group));
  if (before == m.group || !m.process) return;
  const auto in = [&](const auto& g) {
    const auto found = g.find(node);
    return found != g.end() && found->second == m.process->process_;
  };
  if (!in(m.group) && !in(before)) return;
  m.process->publish(in(before) ? before : std::map<NodeId, std::uint64_t>{},
                     in(m.group) ? m.group : std::map<NodeId, std::uint64_t>{});
}

// ---- a process

Result<> SimCluster::start(ClusterHandlers handlers) {
  SSI_CHECK(handlers.on_view && handlers.on_message && !handlers_.on_view);
  handlers_ = std::move(handlers);
  if (const auto& ring = network_.machine(self_).seat.ring) {
    up_.assign(ring->members.begin(), ring->members.end());
  }
  network_.enqueue(
      self_,
      {.kind = SimNetwork::Message::Kind::kJoin, .from = self_, .process = process_, .bytes = {}});
  return {};
}

Result<> SimCluster::send(std::span<const std::uint8_t> message, Needs needs) {
  if (view_.members.empty()) return Error("this node is in no group");
  if (needs == Needs::kQuorum && !may_commit()) {
    return Error(ErrorCode::kNoQuorum, "the cluster has no quorum");
  }
  if (message.size() > kMessageBytesMax) return Error("message too long for the group");
  network_.enqueue(self_, {.kind = SimNetwork::Message::Kind::kData,
                           .from = self_,
                           .process = process_,
                           .bytes = {message.begin(), message.end()}});
  return {};
}

void SimCluster::publish(const std::map<NodeId, std::uint64_t>& before,
                         const std::map<NodeId, std::uint64_t>& after) {
  std::vector<NodeId> joined;
  std::vector<NodeId> left;
  for (const auto& [node, process] : after) {
    const auto found = before.find(node);
    if (found == before.end() || found->second != process) joined.push_back(node);
  }
  for (const auto& [node, process] : before) {
    const auto found = after.find(node);
    if (found == after.end() || found->second != process) left.push_back(node);
  }
  ++view_.number;
  view_.members.clear();
  for (const auto& [node, process] : after) view_.members.push_back(node);
  view_.quorate = view_.members.size() * 2 > network_.nodes_.size();
  const View now = view_;
  handlers_.on_view(now, joined, left);
}

}  // namespace ssi
