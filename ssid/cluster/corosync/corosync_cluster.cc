// One connection to corosync = one Connection object: three library handles and the waits for their
// descriptors. When anything of it fails, the whole of it is dropped and made anew; CorosyncCluster
// holds what outlives it (handlers, queue, what the outside sees).
#include "ssid/cluster/corosync/corosync_cluster.h"

#include <corosync/cmap.h>
#include <corosync/cpg.h>
#include <corosync/quorum.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstring>
#include <map>
#include <optional>

#include "ssid/cluster/corosync/corosync_text.h"
#include "ssid/cluster/corosync/node_list.h"
#include "ssid/cluster/parts.h"

namespace ssi {
namespace {

namespace asio = boost::asio;

constexpr std::size_t kPartBytesMax = 256u << 10;  // corosync takes up to about 1 MB at a time

std::vector<NodeId> sorted_nodes(const std::uint32_t* list, std::size_t count) {
  std::vector<NodeId> nodes;
  for (std::size_t i = 0; i < count; ++i) nodes.push_back(NodeId{list[i]});
  std::sort(nodes.begin(), nodes.end());
  return nodes;
}

// Waits on a descriptor that belongs to one of corosync's libraries: never closes it.
class Watch {
 public:
  Watch(asio::io_context& loop, int fd) : descriptor_(loop, fd) {}
  ~Watch() { descriptor_.release(); }
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;

  template <typename Handler>
  void wait(Handler handler) {
    descriptor_.async_wait(asio::posix::stream_descriptor::wait_read, std::move(handler));
  }

 private:
  asio::posix::stream_descriptor descriptor_;
};

class CorosyncCluster;

class Connection {
 public:
  static Result<std::unique_ptr<Connection>> make(CorosyncCluster& owner);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  cpg_handle_t group() const { return group_; }
  cmap_handle_t map() const { return map_; }
  NodeId self() const { return self_; }

 private:
  friend class CorosyncCluster;
  explicit Connection(CorosyncCluster& owner) : owner_(owner) {}
  Result<> open();

  CorosyncCluster& owner_;
  std::optional<cmap_handle_t> map_open_;
  std::optional<quorum_handle_t> quorum_open_;
  std::optional<cpg_handle_t> group_open_;
  cmap_handle_t map_ = 0;
  quorum_handle_t quorum_ = 0;
  cpg_handle_t group_ = 0;
  NodeId self_;
  std::unique_ptr<Watch> map_watch_;
  std::unique_ptr<Watch> quorum_watch_;
  std::unique_ptr<Watch> group_watch_;
};

class CorosyncCluster : public Cluster {
 public:
  CorosyncCluster(asio::io_context& loop, CorosyncOptions options)
      : loop_(loop), options_(std::move(options)), reconnect_(loop), retry_(loop) {}
  ~CorosyncCluster() override {
    *alive_ = false;
    connection_.reset();
  }

  NodeId self() const override { return self_; }
  const std::vector<Node>& nodes() const override { return nodes_; }
  const std::vector<NodeId>& up() const override { return up_; }
  const View& view() const override { return view_; }
  bool may_commit() const override { return view_.quorate && vote_; }

  Result<> start(ClusterHandlers handlers) override;
  Result<> send(std::span<const std::uint8_t> message, Needs needs) override;

 private:
  friend class Connection;

  // Handlers that run later find out by this whether they are still wanted.
  template <typename F>
  auto guarded(F f) {
    return [alive = alive_, f = std::move(f)](const boost::system::error_code& error) {
      if (!error && *alive) f();
    };
  }

  void connect();
  void lose(const Error& why);
  void log(const std::string& line) {
    if (options_.log) options_.log(line);
  }

  void wait_map();
  void wait_quorum();
  void wait_group();
  void join();
  void flush();

  // Called from inside the libraries' dispatch.
  void on_deliver(NodeId from, std::uint32_t pid, std::span<const std::uint8_t> frame);
  void on_members(std::map<NodeId, std::uint32_t> processes);
  void on_vote(bool quorate);
  void on_up(std::vector<NodeId> up);
  void on_map_changed() { nodes_changed_ = true; }
  void publish(const std::vector<NodeId>& joined, const std::vector<NodeId>& left);
  void tell_nodes() {
    if (handlers_.on_nodes) handlers_.on_nodes();
  }

  asio::io_context& loop_;
  CorosyncOptions options_;
  asio::steady_timer reconnect_;
  asio::steady_timer retry_;
  bool retry_running_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);

  ClusterHandlers handlers_;
  std::unique_ptr<Connection> connection_;
  std::string last_failure_;  // logged once, not every half second

  NodeId self_;
  std::vector<Node> nodes_;
  bool nodes_changed_ = false;
  std::vector<NodeId> up_;
  bool vote_ = false;
  View view_;
  std::map<NodeId, std::uint32_t> processes_;  // of the view: the process that is ssid there
  Outbox outbox_{{.part_bytes_max = kPartBytesMax,
                  .message_bytes_max = kMessageBytesMax,
                  .queue_bytes_max = kQueueBytesMax}};
  Inbox inbox_{kMessageBytesMax};
};

// ---- callbacks from C

CorosyncCluster& cluster_of(cpg_handle_t handle) {
  void* context = nullptr;
  SSI_CHECK(cpg_context_get(handle, &context) == CS_OK && context != nullptr);
  return *static_cast<CorosyncCluster*>(context);
}

CorosyncCluster& cluster_of_quorum(quorum_handle_t handle) {
  const void* context = nullptr;
  SSI_CHECK(quorum_context_get(handle, &context) == CS_OK && context != nullptr);
  return *static_cast<CorosyncCluster*>(const_cast<void*>(context));
}

}  // namespace

namespace {

Result<std::unique_ptr<Connection>> Connection::make(CorosyncCluster& owner) {
  std::unique_ptr<Connection> connection(new Connection(owner));
  SSI_TRY(connection->open());
  return connection;
}

Result<> Connection::open() {
  cs_error_t rc = cmap_initialize(&map_);
  if (rc != CS_OK) return corosync_error("connect to corosync", rc);
  map_open_ = map_;
  cmap_track_handle_t track = 0;
  rc = cmap_track_add(
      map_, "nodelist.", CMAP_TRACK_ADD | CMAP_TRACK_DELETE | CMAP_TRACK_MODIFY | CMAP_TRACK_PREFIX,
      [](cmap_handle_t, cmap_track_handle_t, std::int32_t, const char*, cmap_notify_value,
         cmap_notify_value,
         void* context) { static_cast<CorosyncCluster*>(context)->on_map_changed(); },
      &owner_, &track);
  if (rc != CS_OK) return corosync_error("watch the node list", rc);

  cpg_model_v1_data_t group_model{};
  group_model.model = CPG_MODEL_V1;
  group_model.cpg_deliver_fn = [](cpg_handle_t handle, const cpg_name*, std::uint32_t node,
                                  std::uint32_t pid, void* bytes, std::size_t size) {
    cluster_of(handle).on_deliver(NodeId{node}, pid, {static_cast<std::uint8_t*>(bytes), size});
  };
  group_model.cpg_confchg_fn = [](cpg_handle_t handle, const cpg_name*, const cpg_address* members,
                                  std::size_t count, const cpg_address*, std::size_t,
                                  const cpg_address* joined, std::size_t joined_count) {
    // Two processes of one node, for a moment while ssid is restarted: the one that came last is
    // it.
    std::map<NodeId, std::uint32_t> processes;
    for (std::size_t i = 0; i < count; ++i) processes[NodeId{members[i].nodeid}] = members[i].pid;
    for (std::size_t i = 0; i < joined_count; ++i) {
      if (processes.contains(NodeId{joined[i].nodeid})) {
        processes[NodeId{joined[i].nodeid}] = joined[i].pid;
      }
    }
    cluster_of(handle).on_members(std::move(processes));
  };
  rc = cpg_model_initialize(&group_, CPG_MODEL_V1,
                            reinterpret_cast<cpg_model_data_t*>(&group_model), &owner_);
  if (rc != CS_OK) return corosync_error("connect to corosync's groups", rc);
  group_open_ = group_;
  unsigned int self = 0;
  rc = cpg_local_get(group_, &self);
  if (rc != CS_OK) return corosync_error("ask corosync for this node's number", rc);
  self_ = NodeId{self};

  quorum_model_v1_data_t quorum_model{};
  quorum_model.model = QUORUM_MODEL_V1;
  quorum_model.quorum_notify_fn = [](quorum_handle_t handle, std::uint32_t quorate, quorum_ring_id,
                                     std::uint32_t, const std::uint32_t*) {
    cluster_of_quorum(handle).on_vote(quorate != 0);
  };
  quorum_model.nodelist_notify_fn = [](quorum_handle_t handle, quorum_ring_id, std::uint32_t count,
                                       const std::uint32_t* members, std::uint32_t,
                                       const std::uint32_t*, std::uint32_t, const std::uint32_t*) {
    cluster_of_quorum(handle).on_up(sorted_nodes(members, count));
  };
  std::uint32_t type = 0;
  rc = quorum_model_initialize(&quorum_, QUORUM_MODEL_V1,
                               reinterpret_cast<quorum_model_data_t*>(&quorum_model), &type,
                               &owner_);
  if (rc != CS_OK) return corosync_error("connect to corosync's quorum", rc);
  quorum_open_ = quorum_;
  if (type == QUORUM_FREE) return Error("corosync has no quorum provider: set corosync_votequorum");
  rc = quorum_trackstart(quorum_, CS_TRACK_CURRENT | CS_TRACK_CHANGES);
  if (rc != CS_OK) return corosync_error("watch the quorum", rc);

  int fd = -1;
  if (cmap_fd_get(map_, &fd) != CS_OK) return Error("corosync: no descriptor for its map");
  map_watch_ = std::make_unique<Watch>(owner_.loop_, fd);
  if (quorum_fd_get(quorum_, &fd) != CS_OK) return Error("corosync: no descriptor for its quorum");
  quorum_watch_ = std::make_unique<Watch>(owner_.loop_, fd);
  if (cpg_fd_get(group_, &fd) != CS_OK) return Error("corosync: no descriptor for its groups");
  group_watch_ = std::make_unique<Watch>(owner_.loop_, fd);
  return {};
}

Connection::~Connection() {
  // The waits first: the libraries close the descriptors.
  map_watch_.reset();
  quorum_watch_.reset();
  group_watch_.reset();
  if (group_open_) cpg_finalize(*group_open_);
  if (quorum_open_) quorum_finalize(*quorum_open_);
  if (map_open_) cmap_finalize(*map_open_);
}

// ---- connecting

Result<> CorosyncCluster::start(ClusterHandlers handlers) {
  SSI_CHECK(handlers.on_view && handlers.on_message && !handlers_.on_view);
  handlers_ = std::move(handlers);
  connect();
  return {};
}

void CorosyncCluster::connect() {
  auto made = Connection::make(*this);
  Result<std::vector<Node>> nodes =
      made ? read_node_list((*made)->map()) : Result<std::vector<Node>>(made.error());
  if (!nodes) {
    if (nodes.error().message() != last_failure_) {
      last_failure_ = nodes.error().message();
      log(last_failure_ + "; trying again");
    }
    reconnect_.expires_after(std::chrono::milliseconds(options_.reconnect_ms));
    reconnect_.async_wait(guarded([this] { connect(); }));
    return;
  }
  connection_ = std::move(*made);
  last_failure_.clear();
  self_ = connection_->self();
  nodes_ = std::move(*nodes);
  log("connected to corosync as node " + std::to_string(self_.value) + " of " +
      std::to_string(nodes_.size()));
  wait_map();
  wait_quorum();
  wait_group();
  // From the loop: start() has not returned yet when this is the first time.
  asio::post(loop_, [this, alive = alive_] {
    if (*alive) tell_nodes();
  });
  join();
}

void CorosyncCluster::join() {
  if (!connection_) return;
  cpg_name name{};
  name.length = static_cast<std::uint32_t>(std::min(options_.group.size(), sizeof name.value - 1));
  std::memcpy(name.value, options_.group.data(), name.length);
  const cs_error_t rc = cpg_join(connection_->group(), &name);
  if (rc == CS_OK) return;
  if (!try_again(rc)) {
    // Not from inside start(): the handlers hear of it from the loop.
    asio::post(loop_, [this, alive = alive_, rc] {
      if (*alive) lose(corosync_error("join the group", rc));
    });
    return;
  }
  reconnect_.expires_after(std::chrono::milliseconds(options_.retry_ms));
  reconnect_.async_wait(guarded([this] { join(); }));
}

void CorosyncCluster::lose(const Error& why) {
  if (!connection_) return;
  log(why.message() + "; connecting again");
  connection_.reset();
  outbox_.clear();
  inbox_.view_changed();
  up_.clear();
  vote_ = false;
  retry_.cancel();
  retry_running_ = false;
  if (!processes_.empty()) on_members({});
  tell_nodes();
  reconnect_.expires_after(std::chrono::milliseconds(options_.reconnect_ms));
  reconnect_.async_wait(guarded([this] { connect(); }));
}

// ---- waiting. A dispatch that says "try again" is simply waited for once more: the descriptor
// stays readable.

void CorosyncCluster::wait_map() {
  connection_->map_watch_->wait(guarded([this] {
    if (!connection_) return;
    const cs_error_t rc = cmap_dispatch(connection_->map_, CS_DISPATCH_ALL);
    if (rc != CS_OK && !try_again(rc)) return lose(corosync_error("read from corosync", rc));
    if (nodes_changed_) {
      nodes_changed_ = false;
      // The view's quorum is counted anew with the next view, not in the middle of one.
      if (auto nodes = read_node_list(connection_->map_); nodes && *nodes != nodes_) {
        nodes_ = std::move(*nodes);
        tell_nodes();
      }
    }
    if (connection_) wait_map();
  }));
}

void CorosyncCluster::wait_quorum() {
  connection_->quorum_watch_->wait(guarded([this] {
    if (!connection_) return;
    const cs_error_t rc = quorum_dispatch(connection_->quorum_, CS_DISPATCH_ALL);
    if (rc != CS_OK && !try_again(rc)) return lose(corosync_error("read from corosync", rc));
    if (connection_) wait_quorum();
  }));
}

void CorosyncCluster::wait_group() {
  connection_->group_watch_->wait(guarded([this] {
    if (!connection_) return;
    const cs_error_t rc = cpg_dispatch(connection_->group_, CS_DISPATCH_ALL);
    if (rc != CS_OK && !try_again(rc)) return lose(corosync_error("read from corosync", rc));
    if (!connection_) return;
    wait_group();
    flush();
  }));
}

// ---- sending

Result<> CorosyncCluster::send(std::span<const std::uint8_t> message, Needs needs) {
  if (view_.members.empty()) return Error("this node is in no group: corosync is not running");
  if (needs == Needs::kQuorum && !may_commit()) {
    return Error(ErrorCode::kNoQuorum, "the cluster has no quorum");
  }
  SSI_TRY(outbox_.push(message));
  flush();
  return {};
}

void CorosyncCluster::flush() {
  if (!connection_ || retry_running_ || view_.members.empty()) return;
  for (auto frame = outbox_.next(); !frame.empty(); frame = outbox_.next()) {
    iovec part{const_cast<std::uint8_t*>(frame.data()), frame.size()};
    const cs_error_t rc = cpg_mcast_joined(connection_->group(), CPG_TYPE_AGREED, &part, 1);
    if (rc == CS_OK) {
      outbox_.sent();
      continue;
    }
    if (!try_again(rc)) {
      asio::post(loop_, [this, alive = alive_, rc] {
        if (*alive) lose(corosync_error("send to the group", rc));
      });
    }
    // Also after an error: until lose() has run, nothing more is tried.
    retry_running_ = true;
    retry_.expires_after(std::chrono::milliseconds(options_.retry_ms));
    retry_.async_wait(guarded([this] {
      retry_running_ = false;
      flush();
    }));
    return;
  }
}

// ---- what corosync tells

void CorosyncCluster::on_deliver(NodeId from, std::uint32_t pid,
                                 std::span<const std::uint8_t> frame) {
  const auto process = processes_.find(from);
  if (process == processes_.end() || process->second != pid)
    return;  // an earlier ssid of that node
  auto whole = inbox_.add(from, frame);
  if (!whole) {
    log("from node " + std::to_string(from.value) + ": " + whole.error().message() + ", dropped");
    return;
  }
  if (from == self_) outbox_.came_back(frame, whole->has_value());
  if (*whole) handlers_.on_message(view_, from, **whole);
}

void CorosyncCluster::on_members(std::map<NodeId, std::uint32_t> processes) {
  // Before our own join is through, the group's other members are of no interest.
  if (!processes.empty() && !processes.contains(self_)) return;
  std::vector<NodeId> joined;
  std::vector<NodeId> left;
  for (const auto& [node, pid] : processes) {
    const auto before = processes_.find(node);
    if (before == processes_.end() || before->second != pid) joined.push_back(node);
  }
  for (const auto& [node, pid] : processes_) {
    const auto now = processes.find(node);
    if (now == processes.end() || now->second != pid) left.push_back(node);
  }
  if (joined.empty() && left.empty()) return;
  processes_ = std::move(processes);
  ++view_.number;
  view_.members.clear();
  for (const auto& [node, pid] : processes_) view_.members.push_back(node);
  view_.quorate = view_.members.size() * 2 > nodes_.size() && !nodes_.empty();
  inbox_.view_changed();
  outbox_.view_changed();
  handlers_.on_view(view_, joined, left);
}

void CorosyncCluster::on_vote(bool quorate) {
  if (vote_ == quorate) return;
  vote_ = quorate;
  tell_nodes();
}

void CorosyncCluster::on_up(std::vector<NodeId> up) {
  if (up_ == up) return;
  up_ = std::move(up);
  tell_nodes();
}

}  // namespace

std::unique_ptr<Cluster> make_corosync_cluster(asio::io_context& loop, CorosyncOptions options) {
  return std::make_unique<CorosyncCluster>(loop, std::move(options));
}

}  // namespace ssi
