// The file server of a node: serves this node's root to views on other nodes. A connection is
// served by the thread that calls serve(); sessions outlive their connections.
//
// One per carrier, owned by its composition root; thread-safe. What may go wrong: a client sends
// rubbish: its connection ends, nothing else happens.
#pragma once

#include <atomic>
#include <chrono>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>

#include "fs/store/session.h"
#include "ssid/wire/carrier/hello.h"

namespace ssi::fs {

class Store {
 public:
  struct Options {
    std::string root = "/";
    std::chrono::seconds session_kept{600};  // without any connection
    std::size_t fds_max = 4096;              // O_PATH descriptors per session
  };
  explicit Store(Options options) : options_(std::move(options)) {}
  ~Store() { stop(); }

  // Serves one client connection, whose hello was received, until it ends. Blocks.
  void serve(Channel& channel, const LinkHello& hello);

  // Breaks all connections; serve() returns soon after.
  void stop();

  // Files of that device (a view of another node, mounted here) are not shown to clients.
  FileStat& files() { return stat_; }
  // Those of processes that are on their way from here to there.
  HeldFiles& held() { return held_; }

  struct Stats {
    std::size_t sessions = 0;
    std::size_t connections = 0;
    std::size_t nodes = 0;
    std::uint64_t requests = 0;
    std::uint64_t refused = 0;  // connections closed because of a bad request
  };
  Stats stats() const;

 private:
  struct Kept {
    std::shared_ptr<Session> session;
    std::size_t connections = 0;
    std::chrono::steady_clock::time_point idle_since;
  };
  std::shared_ptr<Session> session_of(const LinkHello& hello);
  void leave(const SessionToken& token);

  const Options options_;
  FileStat stat_;
  DigestCache digests_;
  HeldFiles held_;
  mutable std::mutex mutex_;
  std::map<SessionToken, Kept> sessions_;
  std::set<Channel*> channels_;
  bool stopped_ = false;
  std::atomic<std::uint64_t> requests_{0};
  std::atomic<std::uint64_t> refused_{0};
};

}  // namespace ssi::fs
