// The carrier's second process, which shows the nodes at /cluster/node: started with the carrier,
// again when it dies, and killed when the carrier does. The next one takes away the dead mounts.
//
// Owned by main(); a thread of its own waits for it.
#pragma once

#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace ssi {

class NodeViewsProcess {
 public:
  explicit NodeViewsProcess(std::vector<std::string> argv);
  ~NodeViewsProcess();

 private:
  void run();

  const std::vector<std::string> argv_;
  std::mutex mutex_;
  std::condition_variable wake_;
  int child_ = 0;  // PID; 0: none
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace ssi
