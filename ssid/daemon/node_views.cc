#include "ssid/daemon/node_views.h"

#include <algorithm>

#include "ssid/base/log.h"
#include "ssid/wire/carrier/carrier_client.h"

namespace ssi {
namespace {

constexpr std::int64_t kAgainMs = 3000;

}  // namespace

NodeViews::NodeViews(const Clock& clock, const Cluster& cluster, std::uint16_t carrier_port,
                     std::string directory)
    : clock_(clock),
      cluster_(cluster),
      carrier_port_(carrier_port),
      directory_(std::move(directory)),
      wanted_(look()),
      thread_([this] { run(); }) {}

NodeViews::~NodeViews() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

ShowNodes NodeViews::look() const {
  ShowNodes now{directory_, {}};
  const auto& up = cluster_.up();
  for (const Node& node : cluster_.nodes()) {
    // Our own files can be had whatever corosync does.
    const bool is_up =
        node.id == cluster_.self() || std::binary_search(up.begin(), up.end(), node.id);
    now.nodes.push_back({{node.id.value, node.addresses, carrier_port_}, is_up});
  }
  return now;
}

void NodeViews::update() {
  ShowNodes now = look();
  {
    std::lock_guard lock(mutex_);
    if (now == wanted_ && clock_.now_ms() - told_ms_ < kAgainMs) return;
    wanted_ = std::move(now);
    tell_ = true;
  }
  told_ms_ = clock_.now_ms();
  wake_.notify_all();
}

std::vector<NodeId> NodeViews::nodes() const {
  std::lock_guard lock(mutex_);
  std::vector<NodeId> ids;
  for (const NodeView& node : wanted_.nodes) ids.push_back(NodeId{node.node.node});
  return ids;
}

void NodeViews::run() {
  std::string said;  // a carrier that is away is complained of once
  std::unique_lock lock(mutex_);
  for (;;) {
    wake_.wait(lock, [&] { return stop_ || tell_; });
    if (stop_) return;
    tell_ = false;
    const ShowNodes wanted = wanted_;
    lock.unlock();
    auto carrier = CarrierClient::connect(kNodeViewsSocket);
    const Result<> shown =
        carrier ? carrier->show_nodes(wanted) : Result<>(std::move(carrier).error());
    const std::string why = shown ? "" : shown.error().message();
    if (why != said && !shown) log_warning("{}: {}", directory_, why);
    said = why;
    lock.lock();
  }
}

}  // namespace ssi
