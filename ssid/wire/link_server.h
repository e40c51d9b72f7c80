// Where links come in: accepts connections, makes links of those that have the key, drops the
// others.
#pragma once

#include <atomic>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <thread>

#include "ssid/base/clock.h"
#include "ssid/wire/tcp.h"
#include "ssid/wire/tls_link.h"

namespace ssi {

// Pure: lets through the first `burst` events of each period, and counts the rest.
class RateLimit {
 public:
  RateLimit(int burst, std::int64_t period_ms) : burst_(burst), period_ms_(period_ms) {}
  // True: say it; `suppressed` says how many were not said before.
  bool allow(std::int64_t now_ms, std::int64_t& suppressed);

 private:
  int burst_;
  std::int64_t period_ms_;
  std::int64_t period_start_ms_ = 0;
  int said_ = 0;
  std::int64_t suppressed_ = 0;
};

struct LinkServerOptions {
  LinkTimeouts timeouts;
  // Connections that have not shown the key yet. More are closed at once: they can't use up our
  // threads.
  int handshakes_max = 16;
};

// Role: one listening port of a daemon. Owned by the composition root. Its own thread accepts; each
// link is handed to `on_link` on a thread of its own, which on_link may use as long as it likes
// (the link's worker), or return from at once. What may go wrong: strangers connect; they are
// closed without a word and logged, three lines a minute at most.
class LinkServer {
 public:
  using OnLink = std::function<void(std::unique_ptr<TlsLink>)>;

  static Result<std::unique_ptr<LinkServer>> start(std::shared_ptr<const TlsContext> context,
                                                   const std::string& address, std::uint16_t port,
                                                   LinkServerOptions options, OnLink on_link);
  // Accepts no more, waits for handshakes under way and for every on_link to return. Whoever keeps
  // on_link busy must have been told to stop (TlsLink::abort()).
  ~LinkServer();

  std::uint16_t port() const { return listener_.port(); }

 private:
  struct Worker {
    std::thread thread;
    std::atomic<bool> done{false};
  };

  LinkServer(std::shared_ptr<const TlsContext> context, TcpListener listener,
             LinkServerOptions options, OnLink on_link);
  void accept_loop();
  void serve(UniqueFd connection);
  void log_refused(const std::string& why);
  void join_finished();

  std::shared_ptr<const TlsContext> context_;
  TcpListener listener_;
  LinkServerOptions options_;
  OnLink on_link_;
  SystemClock clock_;
  std::atomic<int> handshakes_{0};
  std::atomic<bool> stopping_{false};
  std::mutex log_mutex_;
  RateLimit log_limit_{3, 60'000};
  std::list<Worker> workers_;  // accept thread only, and the destructor after it
  std::thread accept_thread_;
};

}  // namespace ssi
