#include "fs/etc/etc_world.h"

#include <algorithm>
#include <sstream>

namespace ssi {
namespace {

constexpr const char* kLog = "log";  // the file to which all writers append

}  // namespace

EtcWorld::EtcWorld(Options options)
    : options_(options), network_({.nodes = options.nodes, .seed = options.seed}) {
  for (std::uint32_t i = 1; i <= options_.nodes; ++i) {
    machines_[NodeId{i}];
    start(NodeId{i});
  }
}

void EtcWorld::fail(const std::string& what) {
  if (broken_.empty()) {
    broken_ = "at " + std::to_string(network_.now_us()) + " us: " + what + "\n" + to_string();
  }
}

void EtcWorld::start(NodeId node) {
  Machine& m = machines_.at(node);
  m.replica = std::make_unique<EtcReplica>(EtcReplica::Options{
      .self = node, .nodes = options_.nodes, .first_proposal = network_.random()() >> 1});
  if (!m.disk.empty() && !m.replica->restore(m.disk)) fail("what was saved can't be read");
  m.saves = m.saved = 0;
  m.outbox.clear();
  SimCluster& cluster = network_.start_process(node);
  (void)cluster.start(
      {.on_view =
           [this, node](const View& view, const auto&, const auto&) {
             ++counts_.views;
             carry_out(node, machines_.at(node).replica->on_view(view, network_.now_ms()));
           },
       .on_message =
           [this, node](const View&, NodeId from, std::span<const std::uint8_t> bytes) {
             const auto message = etc::decode(bytes);
             if (!message) return fail(message.error().message());
             carry_out(node,
                       machines_.at(node).replica->on_message(from, *message, network_.now_ms()));
           },
       .on_nodes = nullptr});
  tick(node, ++m.generation);
}

void EtcWorld::kill(NodeId node) {
  Machine& m = machines_.at(node);
  if (!m.replica) return;
  m.replica.reset();
  ++m.generation;
  if (!m.line.empty()) ++counts_.unheard;
  m.line.clear();
  network_.kill_process(node);
}

void EtcWorld::power_off(NodeId node) {
  kill(node);
  network_.power_off(node);
}

void EtcWorld::power_on(NodeId node) {
  network_.power_on(node);
  start(node);
}

void EtcWorld::tick(NodeId node, std::uint64_t generation) {
  Machine& m = machines_.at(node);
  if (m.generation != generation || !m.replica) return;
  carry_out(node, m.replica->tick(network_.now_ms()));
  network_.at(network_.now_us() + 500'000, [this, node, generation] { tick(node, generation); });
}

void EtcWorld::carry_out(NodeId node, EtcReplica::Effects effects) {
  Machine& m = machines_.at(node);
  if (effects.save) {
    ++m.saves;
    const auto disk_us = 100 + pick(8'000);
    network_.at(network_.now_us() + disk_us, [this, node, generation = m.generation,
                                              number = m.saves, bytes = m.replica->save()] {
      Machine& later = machines_.at(node);
      if (later.generation != generation || later.saved >= number) return;
      later.disk = bytes;
      later.saved = number;
      send_ready(node);
    });
  }
  for (const auto& message : effects.send) m.outbox.push_back({m.saves, etc::encode(message)});
  send_ready(node);
  if (effects.decided) {
    m.decided = effects.decided;
    if (!m.line.empty()) {
      if (*effects.decided == EtcOutcome::kDone) {
        ++counts_.done;
        done_.push_back(m.line);
      } else if (*effects.decided == EtcOutcome::kUnsure) {
        ++counts_.unsure;
      } else {
        ++counts_.refused;
        refused_.insert(m.line);
      }
      m.line.clear();
    }
  }
  check(node);
}

void EtcWorld::send_ready(NodeId node) {
  Machine& m = machines_.at(node);
  while (!m.outbox.empty() && m.outbox.front().after_save <= m.saved) {
    SimCluster* cluster = network_.process(node);
    if (cluster && !cluster->send(m.outbox.front().frame) && !cluster->view().members.empty()) {
      fail("a message could not be sent");
    }
    m.outbox.pop_front();
  }
}

void EtcWorld::check(NodeId node) {
  const EtcReplica& replica = *machines_.at(node).replica;
  const auto [at, first] = history_.emplace(replica.committed(), replica.history());
  if (!first && at->second != replica.history()) {
    fail("node " + std::to_string(node.value) + " has carried out other changes than another");
  }
}

void EtcWorld::propose(NodeId node, etc::Change change) {
  Machine& m = machines_.at(node);
  m.decided.reset();
  carry_out(node, m.replica->propose(std::move(change)));
}

void EtcWorld::random_write() {
  const NodeId node{1 + static_cast<std::uint32_t>(pick(options_.nodes))};
  Machine& m = machines_.at(node);
  if (!m.replica || m.replica->under_way()) return;
  m.line = std::to_string(++last_line_);
  etc::Change change{.kind = etc::Kind::kAppend, .name = kLog, .to = "", .contents = m.line + "\n"};
  const etc::File* file = m.replica->files().find(kLog);
  if (pick(3) == 0) {  // read, changed, and written if nobody else did
    change.kind = etc::Kind::kPut;
    change.expects = file != nullptr ? file->version : etc::kNoFile;
    change.contents = (file != nullptr ? file->contents : "") + change.contents;
  }
  propose(node, std::move(change));
}

void EtcWorld::random_fault() {
  ++counts_.faults;
  const NodeId node{1 + static_cast<std::uint32_t>(pick(options_.nodes))};
  Machine& m = machines_.at(node);
  switch (pick(7)) {
    case 0:
      if (m.replica) {
        kill(node);
      } else if (network_.is_up(node)) {
        start(node);
      }
      return;
    case 1:
      network_.is_up(node) ? power_off(node) : power_on(node);
      return;
    case 2:
      if (network_.is_up(node)) network_.restart_corosync(node);
      return;
    case 3:
    case 4: {
      std::vector<std::set<NodeId>> sides(2);
      for (const auto& [n, machine] : machines_) sides[pick(2)].insert(n);
      return network_.partition(sides);
    }
    case 5:
      return network_.heal();
    default:  // everything at once
      for (const auto& [n, machine] : machines_) {
        if (network_.is_up(n)) power_off(n);
      }
      network_.run_for_ms(1 + pick(600));
      for (const auto& [n, machine] : machines_) power_on(n);
      return;
  }
}

void EtcWorld::chaos(std::uint64_t ms) {
  const std::uint64_t end = network_.now_ms() + ms;
  std::uint64_t next_fault = network_.now_ms() + 1'500;
  while (network_.now_ms() < end && broken_.empty()) {
    network_.run_for_ms(1 + pick(20));
    random_write();
    if (network_.now_ms() < next_fault) continue;
    random_fault();
    next_fault = network_.now_ms() + 50 + pick(1'500);
  }
}

void EtcWorld::settle(std::uint64_t ms) {
  network_.heal();
  for (const auto& [node, m] : machines_) {
    if (!network_.is_up(node)) {
      power_on(node);
    } else if (!m.replica) {
      start(node);
    }
  }
  const bool settled = network_.run_until(
      [&] {
        if (!all_established()) return false;
        const EtcReplica& first = *machines_.begin()->second.replica;
        return std::all_of(machines_.begin(), machines_.end(), [&](const auto& m) {
          return !m.second.replica->under_way() && m.second.replica->files() == first.files() &&
                 m.second.replica->committed() == first.committed();
        });
      },
      ms);
  if (!settled) return fail("no agreement");

  const etc::File* file = machines_.begin()->second.replica->files().find(kLog);
  std::istringstream lines(file != nullptr ? file->contents : "");
  std::vector<std::string> all;
  for (std::string line; std::getline(lines, line);) all.push_back(line);
  std::set<std::string> seen;
  for (const std::string& line : all) {
    if (!seen.insert(line).second) return fail("line " + line + " is there twice");
    if (refused_.contains(line)) return fail("line " + line + " was refused and is there");
  }
  for (const std::string& line : done_) {
    if (!seen.contains(line)) return fail("line " + line + " is lost");
  }
}

bool EtcWorld::all_established() const {
  return std::all_of(machines_.begin(), machines_.end(), [](const auto& m) {
    return m.second.replica && m.second.replica->established();
  });
}

std::string EtcWorld::to_string() const {
  std::string text;
  for (const auto& [node, m] : machines_) {
    text += m.replica ? m.replica->to_string() : "node " + std::to_string(node.value) + ": off";
    text += "\n";
  }
  return text;
}

}  // namespace ssi
