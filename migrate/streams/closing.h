// What is being closed in the background: each in a thread of its own, for a peer that does not
// answer may hold it up for seconds, and nobody may wait for that, least of all ssid's control
// loop. Threads that are done are joined when the next one comes.
//
// Thread-safe. Owned by a table of streams.
#pragma once

#include <atomic>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <thread>

namespace ssi::migrate {

class Closing {
 public:
  ~Closing() { wait(); }

  void start(std::function<void()> close);
  // For all. What is started afterwards is still closed, but not waited for before the destructor.
  void wait();
  // Threads that are not joined yet.
  std::size_t size() const;

 private:
  struct Task {
    std::atomic<bool> done = false;
    std::thread thread;
  };
  mutable std::mutex mutex_;
  std::list<std::unique_ptr<Task>> tasks_;
};

}  // namespace ssi::migrate
