#include "ssid/registry/replica_world.h"

#include <algorithm>
#include <sstream>

namespace ssi {

ReplicaWorld::ReplicaWorld(Options options)
    : options_(options),
      network_(
          {.nodes = options.nodes, .seed = options.seed, .lost_percent = options.lost_percent}) {
  for (std::uint32_t i = 1; i <= options_.nodes; ++i) {
    machines_[NodeId{i}];
    start_ssid(NodeId{i});
  }
  for (std::uint32_t i = 0; i < options_.processes; ++i) {
    add_process(NodeId{1 + i % options_.nodes});
  }
}

ReplicaWorld::~ReplicaWorld() = default;

void ReplicaWorld::fail(const std::string& what) {
  if (broken_.empty()) {
    broken_ = "at " + std::to_string(network_.now_us()) + " us: " + what + "\n" + to_string();
  }
}

TableReplica* ReplicaWorld::replica(NodeId node) { return machines_.at(node).replica.get(); }

std::vector<NodeId> ReplicaWorld::up_nodes() const {
  std::vector<NodeId> up;
  for (const auto& [node, m] : machines_) {
    if (network_.is_up(node)) up.push_back(node);
  }
  return up;
}

// ---- ssid

void ReplicaWorld::start_ssid(NodeId node) {
  Machine& m = machines_.at(node);
  m.replica = std::make_unique<TableReplica>(
      TableReplica::Options{.self = node,
                            .boot_id = "boot-" + std::to_string(m.boot),
                            .nodes = options_.nodes,
                            .first_proposal = network_.random()() >> 1,
                            .grace_ms = options_.grace_ms});
  if (!m.saved.empty() && !m.replica->restore(m.saved)) fail("what was saved can't be read");
  // What was in the course of moving when ssid died is decided by the table; see compare().
  for (auto& [process, held] : m.held) held.proposal = 0;
  m.checked = 0;
  m.drains_open.clear();
  SimCluster& cluster = network_.start_process(node);
  (void)cluster.start(
      {.on_view =
           [this, node](const View& view, const auto&, const auto&) {
             ++counts_.views;
             carry_out(node, machines_.at(node).replica->on_view(view, network_.now_ms()));
           },
       .on_message =
           [this, node](const View&, NodeId from, std::span<const std::uint8_t> bytes) {
             auto message = group::decode(bytes);
             if (!message) return fail(message.error().message());
             carry_out(node,
                       machines_.at(node).replica->on_message(from, *message, network_.now_ms()));
           },
       .on_nodes = nullptr});
  const std::uint64_t generation = ++m.generation;
  tick(node, generation);
}

void ReplicaWorld::kill_ssid(NodeId node) {
  Machine& m = machines_.at(node);
  if (!m.replica) return;
  m.saved = m.replica->save();  // as if after every change
  m.replica.reset();
  ++m.generation;
  network_.kill_process(node);
}

void ReplicaWorld::power_off(NodeId node) {
  Machine& m = machines_.at(node);
  m.replica.reset();
  ++m.generation;
  m.held.clear();
  m.dropped.clear();
  m.saved.clear();
  network_.power_off(node);
}

void ReplicaWorld::power_on(NodeId node) {
  ++machines_.at(node).boot;
  network_.power_on(node);
  start_ssid(node);
}

void ReplicaWorld::tick(NodeId node, std::uint64_t generation) {
  Machine& m = machines_.at(node);
  if (m.generation != generation || !m.replica) return;
  carry_out(node, m.replica->tick(network_.now_ms()));
  network_.at(network_.now_us() + 500'000, [this, node, generation] { tick(node, generation); });
}

void ReplicaWorld::carry_out(NodeId node, const TableReplica::Effects& effects) {
  for (const auto& message : effects.send) {
    SimCluster* cluster = network_.process(node);
    if (cluster && !cluster->send(group::encode(message)) && !cluster->view().members.empty()) {
      fail("a message could not be sent");
    }
  }
  for (const auto& event : effects.events) on_event(node, event);
  if (!effects.events.empty()) check(node);
}

// ---- what a node does when the table says something

void ReplicaWorld::on_event(NodeId node, const TableReplica::Event& event) {
  Machine& m = machines_.at(node);
  if (const auto* moved = std::get_if<TableReplica::Moved>(&event)) {
    const group::Commit& commit = moved->commit;
    if (commit.to == node && m.dropped.contains({commit.process, commit.epoch}))
      fail("a commit came after its copy was dropped");
    const auto found = m.held.find(commit.process);
    if (found == m.held.end() || found->second.start_time != commit.start_time) return;
    Held& held = found->second;
    if (commit.to == node) {
      if (held.epoch != commit.epoch) return;
      if (held.copy == Copy::kFrozenTarget) ++counts_.moves;
      held = {.copy = Copy::kRunning,
              .epoch = commit.epoch,
              .start_time = commit.start_time,
              .proposal = 0,
              .term = 0};
    } else if (held.epoch <= commit.epoch) {
      if (held.copy == Copy::kRunning) fail("a process was moved away while it ran");
      m.held.erase(found);
    }
  } else if (const auto* ended = std::get_if<TableReplica::Ended>(&event)) {
    ++counts_.ended;
    if (ended->retire.wait_status == 9) ++counts_.lost;
    const auto found = m.held.find(ended->retire.process);
    if (found != m.held.end() && found->second.start_time == ended->retire.start_time) {
      m.held.erase(found);
    }
  } else if (std::holds_alternative<TableReplica::Claimed>(event)) {
    ++counts_.claimed;
  } else if (std::holds_alternative<TableReplica::Drained>(event)) {
    ++counts_.drained;
  } else if (const auto* decided = std::get_if<TableReplica::Decided>(&event)) {
    if (std::holds_alternative<group::SetDrained>(decided->operation) &&
        m.drains_open.erase(decided->proposal) == 0) {
      fail("a drain was decided twice");
    }
    if (decided->applied == Applied::kAccepted) return;
    const auto* commit = std::get_if<group::Commit>(&decided->operation);
    if (commit == nullptr) return;
    ++counts_.refused;
    if (decided->applied == Applied::kNoQuorum) ++counts_.unsure;
    const auto found = m.held.find(commit->process);
    if (found == m.held.end() || found->second.proposal != decided->proposal) return;
    found->second.copy = Copy::kRunning;  // thaw
    found->second.proposal = 0;
  } else if (std::holds_alternative<TableReplica::Replaced>(event) ||
             std::holds_alternative<TableReplica::Established>(event)) {
    if (m.replica->established()) compare(node);
  }
}

void ReplicaWorld::compare(NodeId node) {
  Machine& m = machines_.at(node);
  const ProcessTable& table = m.replica->table();
  TableReplica::Effects effects;
  for (auto it = m.held.begin(); it != m.held.end();) {
    const SsiPid process = it->first;
    Held& held = it->second;
    const auto* entry = table.find(process);
    const auto* dead = table.find_tombstone(process);
    const bool ended = dead && dead->start_time == held.start_time;
    const bool same = entry && entry->start_time == held.start_time;
    if (ended || (same && entry->epoch > held.epoch)) {
      it = m.held.erase(it);
      continue;
    }
    if (held.copy == Copy::kFrozenTarget && held.term != m.replica->term()) {
      if (same && entry->epoch == held.epoch && entry->where == node) {
        held.copy = Copy::kRunning;
        ++counts_.moves;
      } else {
        // Its commit was of an earlier term, and can't come any more.
        m.dropped.insert({process, held.epoch});
        it = m.held.erase(it);
        continue;
      }
    }
    // A source whose ssid was restarted has no proposal under way any more.
    if (held.copy == Copy::kFrozenSource && held.proposal == 0) held.copy = Copy::kRunning;
    if (held.copy == Copy::kRunning && held.epoch.value > 0 && !same) {
      group::Claim claim;
      claim.entry.process = process;
      claim.entry.where = node;
      claim.entry.epoch = held.epoch;
      claim.entry.start_time = held.start_time;
      m.replica->propose(claim, effects);
    }
    ++it;
  }
  for (const auto& [process, entry] : table.entries()) {
    if (entry.where != node || entry.gone) continue;
    const auto found = m.held.find(process);
    if (found != m.held.end() && found->second.start_time == entry.start_time) continue;
    group::Retire retire;
    retire.process = process;
    retire.epoch = entry.epoch;
    retire.start_time = entry.start_time;
    retire.reason = "not here";
    retire.node = node;
    m.replica->propose(retire, effects);
  }
  carry_out(node, effects);
}

// ---- processes

SsiPid ReplicaWorld::add_process(NodeId home) {
  const SsiPid process{home,
                       static_cast<std::int32_t>(home.value) * SsiPid::kPidsPerNode + next_pid_++};
  machines_.at(home).held[process] = {
      .copy = Copy::kRunning, .epoch = {}, .start_time = next_start_++, .proposal = 0, .term = 0};
  return process;
}

std::optional<NodeId> ReplicaWorld::running_at(SsiPid process) const {
  for (const auto& [node, m] : machines_) {
    const auto found = m.held.find(process);
    if (found != m.held.end() && found->second.copy == Copy::kRunning) return node;
  }
  return std::nullopt;
}

bool ReplicaWorld::begin_move(SsiPid process, NodeId to) {
  const auto from = running_at(process);
  if (!from || *from == to) return false;
  Machine& source = machines_.at(*from);
  Machine& target = machines_.at(to);
  if (!source.replica || !target.replica) return false;
  Held& held = source.held.at(process);
  // The copy at the target, over a link of which the group knows nothing.
  const auto there = target.held.find(process);
  if (there != target.held.end() && there->second.copy != Copy::kFrozenTarget) return false;
  const Epoch epoch = held.epoch.next();
  // A move belongs to a term, and the target has to be in it too.
  const std::uint64_t term = source.replica->term();
  if (!source.replica->established() || !target.replica->established() ||
      target.replica->term() != term) {
    return false;
  }
  target.dropped.erase({process, epoch});  // a second try
  target.held[process] = {.copy = Copy::kFrozenTarget,
                          .epoch = epoch,
                          .start_time = held.start_time,
                          .proposal = 0,
                          .term = term};
  held.copy = Copy::kFrozenSource;
  group::Commit commit;
  commit.process = process;
  commit.from = *from;
  commit.to = to;
  commit.epoch = epoch;
  commit.start_time = held.start_time;
  commit.term = term;
  TableReplica::Effects effects;
  held.proposal = source.replica->propose(commit, effects);
  carry_out(*from, effects);
  return true;
}

bool ReplicaWorld::set_drained(NodeId at, NodeId node, bool drained) {
  Machine& m = machines_.at(at);
  if (!m.replica || !m.replica->established()) return false;
  TableReplica::Effects effects;
  m.drains_open.insert(m.replica->propose(
      group::SetDrained{.node = node, .drained = drained, .term = m.replica->term()}, effects));
  carry_out(at, effects);
  return true;
}

void ReplicaWorld::end_process(SsiPid process, std::int32_t wait_status) {
  const auto node = running_at(process);
  if (!node) return;
  Machine& m = machines_.at(*node);
  const Held held = m.held.at(process);
  m.held.erase(process);
  if (held.epoch.value == 0 || !m.replica) return;  // compare() will tell
  group::Retire retire;
  retire.process = process;
  retire.epoch = held.epoch;
  retire.start_time = held.start_time;
  retire.wait_status = wait_status;
  retire.node = *node;
  TableReplica::Effects effects;
  m.replica->propose(retire, effects);
  carry_out(*node, effects);
}

// ---- what must always be true

void ReplicaWorld::check(NodeId node) {
  Machine& m = machines_.at(node);
  if (!m.replica || memory_was_lost_) return;
  if (m.replica->committed() != m.checked && m.replica->table().entries().size() < 100) {
    m.checked = m.replica->committed();
    const std::string table = m.replica->table().to_string();
    const auto [found, is_new] = history_.emplace(m.checked, table);
    if (!is_new && found->second != table) {
      fail("node " + std::to_string(node.value) + " has carried out " + std::to_string(m.checked) +
           " operations and has\n" + table + "but another one had\n" + found->second);
    }
  }
  if (m.held.size() > 100) return;  // a test of size, not of order
  std::map<SsiPid, int> running;
  for (const auto& [other, other_machine] : machines_) {
    for (const auto& [process, held] : other_machine.held) {
      if (held.copy == Copy::kRunning && ++running[process] > 1) {
        fail(process.to_string() + " runs twice");
      }
    }
  }
}

bool ReplicaWorld::all_established() const {
  return std::all_of(machines_.begin(), machines_.end(), [this](const auto& m) {
    return m.second.replica && m.second.replica->established() &&
           m.second.replica->view().members.size() == machines_.size();
  });
}

std::string ReplicaWorld::to_string() const {
  std::ostringstream out;
  for (const auto& [node, m] : machines_) {
    if (m.replica) {
      out << m.replica->to_string() << "\n";
    } else {
      out << "node " << node.value << ": no ssid\n";
    }
    for (const auto& [process, held] : m.held) {
      static constexpr const char* kCopies[] = {"runs", "frozen to leave", "frozen, arriving"};
      out << "  " << process.to_string() << " epoch " << held.epoch.value << " "
          << kCopies[static_cast<int>(held.copy)] << "\n";
    }
  }
  return out.str();
}

// ---- chaos

void ReplicaWorld::chaos(std::uint64_t ms, bool memory_loss_anywhere) {
  const std::uint64_t end = network_.now_ms() + ms;
  std::uint64_t next_fault = network_.now_ms() + 1500;
  while (network_.now_ms() < end && broken_.empty()) {
    // Often short, so that much happens at once.
    network_.run_for_ms(pick(4) == 0 ? pick(400) : pick(3));
    random_act();
    if (network_.now_ms() < next_fault) continue;
    random_fault(memory_loss_anywhere);
    next_fault = network_.now_ms() + (pick(3) == 0 ? pick(50) : pick(3000));
  }
}

void ReplicaWorld::random_act() {
  std::vector<SsiPid> running;
  for (const auto& [node, m] : machines_) {
    for (const auto& [process, held] : m.held) {
      if (held.copy == Copy::kRunning) running.push_back(process);
    }
  }
  const auto up = up_nodes();
  if (up.empty()) return;
  if (pick(30) == 0) {
    const NodeId node{static_cast<std::uint32_t>(1 + pick(options_.nodes))};
    set_drained(up[pick(up.size())], node, pick(2) == 0);
  }
  if (running.size() < options_.processes && pick(4) == 0) add_process(up[pick(up.size())]);
  if (running.empty()) return;
  const SsiPid process = running[pick(running.size())];
  if (pick(20) == 0) return end_process(process, 0);
  const NodeId from = *running_at(process);
  const NodeId to = up[pick(up.size())];
  // Mostly a target that the view has; sometimes one that has just gone.
  const auto* source = replica(from);
  if (source && (source->view().has(to) || pick(8) == 0)) begin_move(process, to);
}

void ReplicaWorld::random_fault(bool memory_loss_anywhere) {
  ++counts_.faults;
  const NodeId node{static_cast<std::uint32_t>(1 + pick(options_.nodes))};
  Machine& m = machines_.at(node);
  switch (pick(6)) {
    case 0: {  // a random cut
      std::vector<std::set<NodeId>> sides(2 + pick(2));
      for (const auto& [other, other_machine] : machines_) sides[pick(sides.size())].insert(other);
      network_.partition(std::move(sides));
      return;
    }
    case 1:
      return network_.heal();
    case 2:
      return network_.restart_corosync(node);
    case 3:
      if (m.replica) return kill_ssid(node);
      if (network_.is_up(node)) start_ssid(node);
      return;
    default:
      break;
  }
  if (!network_.is_up(node)) {
    // A node with an empty memory comes back when the others hold together, not while they are
    // being cut apart.
    power_on(node);
    return;
  }
  if (memory_loss_anywhere) {
    memory_was_lost_ = true;
    return power_off(node);
  }
  // Power off only where the rest holds everything: all the others are established together with
  // it.
  const std::size_t majority = options_.nodes / 2 + 1;
  std::size_t together = 0;
  for (const auto& [other, other_machine] : machines_) {
    if (other == node || !other_machine.replica || !other_machine.replica->established()) continue;
    ++together;
  }
  if (together < majority) return;
  power_off(node);
  network_.heal();
  network_.run_until(
      [&] {
        std::size_t established = 0;
        for (const auto& [other, other_machine] : machines_) {
          const auto* r = other_machine.replica.get();
          if (r && r->established() && !r->view().has(node)) ++established;
        }
        return established >= majority;
      },
      20'000);
}

void ReplicaWorld::cuts_into_moves(int rounds) {
  const auto cut = [this] {
    std::vector<std::set<NodeId>> sides(2 + pick(options_.nodes - 1));
    for (const auto& [node, m] : machines_) sides[pick(sides.size())].insert(node);
    network_.partition(std::move(sides));
  };
  for (int round = 0; round < rounds && broken_.empty(); ++round) {
    network_.heal();
    if (!network_.run_until([this] { return all_established(); }, 30'000)) {
      return fail("they did not come together");
    }
    std::vector<std::pair<SsiPid, NodeId>> moves;
    for (const auto& [node, m] : machines_) {
      for (const auto& [process, held] : m.held) {
        const NodeId to{static_cast<std::uint32_t>(1 + pick(options_.nodes))};
        if (held.copy == Copy::kRunning && to != node) moves.emplace_back(process, to);
      }
    }
    for (const auto& [process, to] : moves) {
      begin_move(process, to);
      const std::uint64_t end = network_.now_us() + pick(1000);
      while (network_.now_us() < end && network_.step()) {
      }
    }
    network_.run_for_ms(pick(6));
    cut();
    network_.run_for_ms(500 + pick(300));
    for (std::uint64_t more = pick(3); more > 0; --more) {
      cut();
      network_.run_for_ms(100 + pick(900));
    }
  }
}

void ReplicaWorld::settle(std::uint64_t ms) {
  network_.heal();
  for (const auto& [node, m] : machines_) {
    if (!network_.is_up(node)) {
      power_on(node);
    } else if (!m.replica) {
      start_ssid(node);
    }
  }
  const auto quiet = [this] {
    if (!all_established()) return false;
    const TableReplica& first = *machines_.begin()->second.replica;
    for (const auto& [node, m] : machines_) {
      if (!m.replica->table().same_as(first.table())) return false;
      if (m.replica->committed() != first.committed()) return false;
      if (!m.drains_open.empty()) return false;
      for (const auto& [process, held] : m.held) {
        if (held.copy == Copy::kFrozenSource) return false;
      }
    }
    for (const auto& [process, entry] : first.table().entries()) {
      if (entry.gone || running_at(process) != entry.where) return false;
      if (machines_.at(entry.where).held.at(process).epoch != entry.epoch) return false;
    }
    for (const auto& [node, m] : machines_) {
      for (const auto& [process, held] : m.held) {
        if (held.copy != Copy::kRunning || held.epoch.value == 0) continue;
        const auto* entry = first.table().find(process);
        if (!entry || entry->where != node || entry->epoch != held.epoch) return false;
      }
    }
    return true;
  };
  if (!network_.run_until(quiet, ms)) fail("they did not come to agree");
}

}  // namespace ssi
