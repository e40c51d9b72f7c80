#include "ssid/daemon/group_driver.h"

#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>

#include <boost/asio/post.hpp>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "ssid/base/log.h"

namespace ssi {
namespace {

constexpr std::uintmax_t kSavedBytesMax = 1u << 30;

std::uint64_t wall_ms() {
  timespec t{};
  ::clock_gettime(CLOCK_REALTIME, &t);
  return static_cast<std::uint64_t>(t.tv_sec) * 1000 +
         static_cast<std::uint64_t>(t.tv_nsec) / 1'000'000;
}

std::uint64_t random_number() {
  std::uint64_t number = 0;
  SSI_CHECK(::getrandom(&number, sizeof number, 0) == sizeof number);
  return number >> 16;  // room to count on
}

// Whole or not at all; on a tmpfs, so there is nothing to sync.
Result<> write_file(const std::string& path, std::span<const char> bytes) {
  const std::string temporary = path + ".new";
  {
    std::ofstream out(temporary, std::ios::trunc | std::ios::binary);
    out.write(bytes.data(), static_cast<std::streamsize>(bytes.size())).flush();
    if (!out) return Error("can't write " + temporary);
  }
  if (::rename(temporary.c_str(), path.c_str()) != 0) return Error::from_errno("write " + path);
  return {};
}

std::string read_file(const std::string& path) {
  std::error_code ec;
  if (std::filesystem::file_size(path, ec) > kSavedBytesMax || ec) return {};
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

// Names this boot as far as guests are concerned: what is in run_dir goes with them. (The kernel's
// boot id is the same for all containers of a machine.)
Result<std::string> boot_id_in(const std::string& run_dir) {
  const std::string path = run_dir + "/boot";
  std::string id = read_file(path);
  if (!id.empty()) return id;
  id = std::to_string(random_number());
  SSI_TRY(write_file(path, id));
  return id;
}

}  // namespace

GroupDriver::GroupDriver(boost::asio::io_context& io, const Clock& clock, Cluster& cluster,
                         Options options)
    : io_(io), clock_(clock), cluster_(cluster), options_(std::move(options)), timer_(io) {}

Result<> GroupDriver::start(Handlers handlers) {
  handlers_ = std::move(handlers);
  SSI_ASSIGN(boot_id_, boot_id_in(options_.run_dir));
  ClusterHandlers h;
  h.on_view = [this](const View& v, const auto& joined, const auto& left) {
    carry_out(replica_->on_view(v, now_ms()));
    drain_events();
    handlers_.on_view(joined, left);
  };
  h.on_message = [this](const View&, NodeId from, auto bytes) { on_message(from, bytes); };
  h.on_nodes = [this] {
    replica_->set_nodes(static_cast<std::uint32_t>(cluster_.nodes().size()));
    handlers_.on_nodes();
  };
  SSI_TRY(cluster_.start(std::move(h)));
  if (!self()) return Error("corosync is not there; ssid needs it to know the cluster");
  for (const Node& n : cluster_.nodes()) nodes_[n.id] = n;
  replica_.emplace(
      TableReplica::Options{.self = self(),
                            .boot_id = boot_id_,
                            .nodes = static_cast<std::uint32_t>(cluster_.nodes().size()),
                            .first_proposal = random_number(),
                            .grace_ms = options_.grace_ms});
  const std::string saved = read_file(options_.run_dir + "/table");
  if (!saved.empty()) {
    const auto* bytes = reinterpret_cast<const std::uint8_t*>(saved.data());
    SSI_TRY(replica_->restore({bytes, saved.size()}).context(options_.run_dir + "/table"));
  }
  wait_for_tick();
  return {};
}

std::optional<group::TableEntry> GroupDriver::find(SsiPid pid) const {
  const ProcessRecord* record = replica_->table().find(pid);
  if (record == nullptr) return std::nullopt;
  return *record;
}

std::optional<group::Tombstone> GroupDriver::tombstone(SsiPid pid) const {
  const Tombstone* stone = replica_->table().find_tombstone(pid);
  if (stone == nullptr) return std::nullopt;
  return *stone;
}

std::vector<group::TableEntry> GroupDriver::entries() const {
  std::vector<group::TableEntry> all;
  for (const auto& [pid, record] : replica_->table().entries()) all.push_back(record);
  return all;
}

Result<> GroupDriver::propose(group::Operation operation) {
  if (auto* commit = std::get_if<group::Commit>(&operation)) {
    if (!table_valid() || !cluster_.may_commit()) {
      return Error(ErrorCode::kNoQuorum, "the cluster has no quorum");
    }
    if (commit->term != term()) return Error("the cluster has changed while it moved");
    commit->at_ms = wall_ms();
  }
  if (auto* drained = std::get_if<group::SetDrained>(&operation)) {
    if (!table_valid() || !cluster_.may_commit()) {
      return Error(ErrorCode::kNoQuorum, "the cluster has no quorum");
    }
    drained->term = term();
  }
  TableReplica::Effects effects;
  (void)replica_->propose(std::move(operation), effects);
  carry_out(std::move(effects));
  return {};
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

void GroupDriver::on_message(NodeId from, std::span<const std::uint8_t> bytes) {
  auto message = group::decode(bytes);
  if (!message) return log_warning("message of node {}: {}", from.value, message.error().message());
  carry_out(replica_->on_message(from, *message, now_ms()));
  drain_events();  // before what comes after it in the group's order
  handlers_.on_message(from, *message);
}

// In the order that TableReplica wants. Events are told from the loop, never from inside propose():
// who proposes has to be able to note it first.
void GroupDriver::carry_out(TableReplica::Effects effects) {
  if (effects.save) save();
  for (const group::GroupMessage& message : effects.send) {
    // Out of the group there is nobody to hear it; the next view brings everything up to date.
    if (auto sent = broadcast(message); !sent && !view().members.empty()) {
      log_error("a message of the process table was not sent: {}", sent.error().message());
    }
  }
  if (effects.events.empty()) return;
  for (TableReplica::Event& event : effects.events) events_.push_back(std::move(event));
  boost::asio::post(io_, [this] { drain_events(); });
}

void GroupDriver::drain_events() {
  if (draining_) return;
  draining_ = true;
  while (!events_.empty()) {
    const TableReplica::Event event = std::move(events_.front());
    events_.pop_front();
    handlers_.on_event(event);
  }
  draining_ = false;
}

void GroupDriver::wait_for_tick() {
  timer_.expires_after(std::chrono::seconds(1));
  timer_.async_wait([this](boost::system::error_code ec) {
    if (ec) return;
    carry_out(replica_->tick(now_ms()));
    drain_events();
    handlers_.on_tick();
    wait_for_tick();
  });
}

void GroupDriver::save() const {
  const auto bytes = replica_->save();
  const auto* chars = reinterpret_cast<const char*>(bytes.data());
  if (auto saved = write_file(options_.run_dir + "/table", {chars, bytes.size()}); !saved) {
    log_error("process table: {}", saved.error().message());
  }
}

}  // namespace ssi
