// Keeps the carrier's views at /cluster/node in step with the cluster: tells it which nodes there
// are and which are up, when that changes and now and then (the carrier may have been restarted).
//
// Owned by the daemon. A thread of its own talks to the carrier, so the loop never waits for it.
#pragma once

#include <condition_variable>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "ssid/base/clock.h"
#include "ssid/cluster/cluster.h"
#include "ssid/wire/carrier/carrier_messages.h"

namespace ssi {

class NodeViews {
 public:
  NodeViews(const Clock& clock, const Cluster& cluster, std::uint16_t carrier_port,
            std::string directory);
  ~NodeViews();

  // Control loop; when the directory is there, every second, and when nodes come or go.
  void update();
  // Any thread: the nodes of the cluster.
  std::vector<NodeId> nodes() const;

 private:
  ShowNodes look() const;
  void run();

  const Clock& clock_;
  const Cluster& cluster_;
  const std::uint16_t carrier_port_;
  const std::string directory_;
  std::int64_t told_ms_ = 0;  // control loop
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  ShowNodes wanted_;
  bool tell_ = false;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace ssi
