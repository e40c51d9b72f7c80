#include "ssid/daemon/group_driver.h"

#include <signal.h>

#include "ssid/base/log.h"

namespace ssi {
namespace {

constexpr std::size_t kPartItems = 2000;

std::uint64_t wall_ms() {
  timespec t{};
  ::clock_gettime(CLOCK_REALTIME, &t);
  return static_cast<std::uint64_t>(t.tv_sec) * 1000 +
         static_cast<std::uint64_t>(t.tv_nsec) / 1'000'000;
}

}  // namespace

GroupDriver::GroupDriver(boost::asio::io_context& io, const Clock& clock, Cluster& cluster,
                         std::uint64_t grace_ms)
    : io_(io), clock_(clock), cluster_(cluster), grace_ms_(grace_ms), deadline_(io) {}

Result<> GroupDriver::start(Handlers handlers) {
  handlers_ = std::move(handlers);
  ClusterHandlers h;
  h.on_view = [this](const View& v, const auto& joined, const auto& left) {
    on_view(v, joined, left);
  };
  h.on_message = [this](const View& v, NodeId from, auto bytes) { on_message(v, from, bytes); };
  return cluster_.start(std::move(h));
}

void GroupDriver::set_nodes(const std::vector<Node>& nodes) {
  for (const Node& n : nodes) nodes_[n.id] = n;
}

std::optional<group::TableEntry> GroupDriver::find(SsiPid pid) const {
  const ProcessRecord* record = table_.find(pid);
  if (record == nullptr) return std::nullopt;
  return *record;
}

std::optional<group::Tombstone> GroupDriver::tombstone(SsiPid pid) const {
  const Tombstone* stone = table_.find_tombstone(pid);
  if (stone == nullptr) return std::nullopt;
  return *stone;
}

std::vector<group::TableEntry> GroupDriver::entries() const {
  std::vector<group::TableEntry> all;
  for (const auto& [pid, record] : table_.entries()) all.push_back(record);
  return all;
}

Result<> GroupDriver::propose(group::Operation operation) {
  return std::visit(
      [this](auto& op) -> Result<> {
        if constexpr (std::is_same_v<std::decay_t<decltype(op)>, group::Boots>) {
          return Error("boots are never proposed");
        } else {
          if constexpr (std::is_same_v<std::decay_t<decltype(op)>, group::Commit>)
            op.at_ms = wall_ms();
          return cluster_.send(encode(group::GroupMessage(op)), Needs::kQuorum);
        }
      },
      operation);
}

Result<> GroupDriver::broadcast(const group::GroupMessage& message) {
  return cluster_.send(encode(message));
}

std::string GroupDriver::address_of(NodeId node) const {
  const auto it = nodes_.find(node);
  return it == nodes_.end() || it->second.addresses.empty() ? "" : it->second.addresses.front();
}

std::string GroupDriver::name_of(NodeId node) const {
  const auto it = nodes_.find(node);
  return it == nodes_.end() ? "node" + std::to_string(node.value) : it->second.name;
}

void GroupDriver::on_view(const View& view, const std::vector<NodeId>& joined,
                          const std::vector<NodeId>& left) {
  valid_ = false;
  exchange_.clear();
  waiting_.clear();
  if (!view.members.empty()) send_table();
  handlers_.on_view(joined, left);
}

void GroupDriver::send_table() {
  group::Snapshot head;
  head.ballot = term_;
  head.committed = applied_;
  std::vector<group::Snapshot> parts{head};
  std::size_t items = 0;
  const auto next = [&]() -> group::Snapshot& {
    if (++items % kPartItems == 0) parts.push_back(head);
    return parts.back();
  };
  for (const auto& [pid, record] : table_.entries()) next().entries.push_back(record);
  for (const Tombstone& stone : table_.tombstones()) next().tombstones.push_back(stone);
  for (std::size_t i = 0; i < parts.size(); ++i) {
    parts[i].part = static_cast<std::uint32_t>(i);
    parts[i].parts = static_cast<std::uint32_t>(parts.size());
    (void)broadcast(parts[i]);
  }
}

void GroupDriver::on_message(const View& view, NodeId from, std::span<const std::uint8_t> bytes) {
  auto message = group::decode(bytes);
  if (!message) return log_warning("message of node {}: {}", from.value, message.error().message());
  if (auto* part = std::get_if<group::Snapshot>(&*message)) {
    if (!valid_ && view.has(from)) take(from, std::move(*part));
    return;
  }
  std::optional<group::Operation> operation;
  if (auto* c = std::get_if<group::Commit>(&*message))
    operation = std::move(*c);
  else if (auto* r = std::get_if<group::Retire>(&*message))
    operation = std::move(*r);
  else if (auto* k = std::get_if<group::Claim>(&*message))
    operation = std::move(*k);
  if (!operation) return handlers_.on_message(from, *message);
  if (valid_) return apply(from, *operation);
  waiting_.push_back({from, std::move(*operation)});
}

void GroupDriver::take(NodeId from, group::Snapshot part) {
  Held& held = exchange_[from];
  if (part.part != held.parts.size()) held.parts.clear();  // the rest of one from an earlier view
  if (part.part != held.parts.size()) return;
  held.parts.push_back(std::move(part));
  for (const NodeId member : view().members) {
    const auto it = exchange_.find(member);
    if (it == exchange_.end() || !it->second.complete()) return;
  }
  settle();
}

void GroupDriver::settle() {
  const Held* best = nullptr;
  for (const auto& [node, held] : exchange_) {
    const auto rank = [](const Held& h) {
      return std::pair(h.parts.front().ballot, h.parts.front().committed);
    };
    if (best == nullptr || rank(held) > rank(*best)) best = &held;
  }
  std::vector<group::TableEntry> entries;
  std::vector<group::Tombstone> stones;
  for (const group::Snapshot& part : best->parts) {
    entries.insert(entries.end(), part.entries.begin(), part.entries.end());
    stones.insert(stones.end(), part.tombstones.begin(), part.tombstones.end());
  }
  term_ = best->parts.front().ballot + (view().quorate ? 1 : 0);
  applied_ = best->parts.front().committed;
  table_.restore(std::move(entries), std::move(stones), {});
  table_.on_view(view(), static_cast<std::uint64_t>(clock_.now_ms()), grace_ms_);
  exchange_.clear();
  valid_ = true;
  for (const Waiting& w : std::exchange(waiting_, {})) apply(w.sender, w.operation);
  watch_deadlines();
  handlers_.on_table_valid();
}

void GroupDriver::apply(NodeId sender, const group::Operation& operation) {
  const Applied applied = std::visit(
      [&](const auto& op) -> Applied {
        using Op = std::decay_t<decltype(op)>;
        if constexpr (std::is_same_v<Op, group::Commit>) {
          return op.from == sender ? table_.apply(op, view()) : Applied::kStale;
        } else if constexpr (std::is_same_v<Op, group::Boots>) {
          return Applied::kStale;
        } else {
          return table_.apply(op, sender, view());
        }
      },
      operation);
  if (applied == Applied::kAccepted) ++applied_;
  handlers_.on_decided(operation, applied == Applied::kAccepted);
}

void GroupDriver::watch_deadlines() {
  deadline_.cancel();
  const auto next = table_.next_deadline_ms();
  if (!next) return;
  const auto now = static_cast<std::uint64_t>(clock_.now_ms());
  deadline_.expires_after(std::chrono::milliseconds(*next > now ? *next - now + 10 : 500));
  deadline_.async_wait([this](boost::system::error_code ec) {
    if (!ec) retire_lost();
  });
}

// Said by one: the lowest member.
void GroupDriver::retire_lost() {
  if (valid_ && view().quorate && view().members.front() == self()) {
    for (const ProcessRecord& lost : table_.expired(static_cast<std::uint64_t>(clock_.now_ms()))) {
      group::Retire r;
      r.process = lost.process;
      r.epoch = lost.epoch;
      r.start_time = lost.start_time;
      r.wait_status = SIGKILL;
      const NodeId away = view().has(lost.where) ? lost.process.home : lost.where;
      r.reason = "node " + std::to_string(away.value) + " went down" +
                 (away == lost.where ? " and took it along" : ", its home");
      r.node = self();
      (void)propose(r);
    }
  }
  watch_deadlines();
}

}  // namespace ssi
