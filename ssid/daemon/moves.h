// The moves of this node, in and out: a worker thread each, and what they ask of the control loop.
// A move's fate is what the group decided, told here; never a guess of this node.
//
// The object belongs to the control loop; the MoveHost methods are called by the movers' threads
// and wait for the loop. Nothing is ever decided by a time-out: only by the group's order.
#pragma once

#include <boost/asio/io_context.hpp>
#include <chrono>
#include <functional>
#include <future>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>

#include "migrate/move/environment.h"
#include "migrate/move/source_move.h"
#include "ssid/daemon/move_planner.h"
#include "ssid/daemon/tls_move_link.h"

namespace ssi {

class Moves : public migrate::MoveHost {
 public:
  using Done = std::function<void(Result<migrate::MoveReport>)>;

  // What the control loop does for moves; all called on the loop, but for those marked.
  struct Handlers {
    // Sends the ordered commit. An error: it was not sent and never will be.
    std::function<Result<>(const migrate::MoveTicket&)> send_commit;
    std::function<void(const migrate::MoveTicket&, const std::string& reason)> send_abandon;
    // Any thread, blocking.
    std::function<Result<std::string>(NodeId home)> prepare_realm;
    std::function<Result<>(NodeId home)> refresh_files;
    std::function<Result<UniqueFd>(NodeId home)> open_root;
    std::function<Result<>(NodeId home, pid_t process)> tell_watchers;
    std::function<Result<>(NodeId home, const std::string& cgroup, bool on)> rebuild_sockets;
    std::function<Result<>(const migrate::MoveTicket&, const std::vector<net::MovedSocket>&)>
        quiet_network, hold_network;
    std::function<void(const migrate::MoveTicket&)> release_network;
    std::function<Result<>(const migrate::MoveTicket&, const std::vector<migrate::StreamRef>&)>
        remember;
    std::function<void(const migrate::MoveTicket&)> forget;
    // Target, on the loop: the move's commit can still be decided (the term has not changed).
    std::function<bool(const migrate::MoveTicket&)> may_still_come;
    // Target: an offer that refuse() let in has come to nothing.
    std::function<void(const migrate::MoveTicket&)> failed_to_arrive;
    std::function<void(const migrate::MoveTicket&, const migrate::Carried& carried)> stand_down;
    // A guest runs here since now.
    std::function<void(const migrate::MoveTicket&)> arrived;
    // May this offer come in? nullopt or a reason why not.
    std::function<std::optional<std::string>(const migrate::MoveTicket&)> refuse;
  };

  struct OutgoingMove {
    PreparedMove prepared;
    std::string address;
    std::uint16_t port = 0;
  };

  Moves(boost::asio::io_context& io, migrate::FreezerRoot& freezer, migrate::StreamPort& streams,
        fds::FilePort& files, std::shared_ptr<const TlsContext> tls, LinkTimeouts timeouts,
        migrate::CriuFiles criu, std::string images_root, migrate::OpenUserfaultfd open_userfaultfd,
        Handlers handlers);
  ~Moves() override;

  // `prepare` runs in the mover's thread (it reads /proc); `done` is called on the loop.
  void start_out(SsiPid pid, std::function<Result<OutgoingMove>()> prepare, Done done);
  // Somebody wants to bring a process: called by the link server on the link's own thread, and
  // returns when the process runs here or nothing of it is left.
  void serve(std::unique_ptr<TlsLink> link);
  bool is_moving(SsiPid pid) const { return moving_.contains(pid); }
  // A copy here that an open move of this ssid will decide about.
  bool is_arriving(const migrate::CopyName& copy) const {
    return awaited_.contains(copy) || restoring_.contains(copy);
  }
  std::size_t coming_in() const { return restoring_.size(); }
  std::size_t going_out() const { return moving_.size(); }

  // What the group decided, told by the loop. Of our own commits:
  void on_commit_decided(SsiPid pid, Epoch epoch, bool accepted);
  // Of arrivals: it came; its source (nobody else) gave it up; the process is no more.
  void on_came(SsiPid pid, Epoch epoch);
  void on_abandoned(NodeId from, SsiPid pid, Epoch epoch);
  void on_over(SsiPid pid, std::uint64_t start_time);

  // MoveHost, called by movers.
  Result<std::string> prepare_realm(NodeId home) override { return handlers_.prepare_realm(home); }
  Result<> refresh_files(NodeId home) override { return handlers_.refresh_files(home); }
  Result<UniqueFd> open_root(NodeId home) override { return handlers_.open_root(home); }
  Result<> tell_watchers(NodeId home, pid_t process) override {
    return handlers_.tell_watchers(home, process);
  }
  Result<> rebuild_sockets(NodeId home, const std::string& cgroup, bool on) override {
    return handlers_.rebuild_sockets(home, cgroup, on);
  }
  Result<> quiet_network(const migrate::MoveTicket& ticket,
                         const std::vector<net::MovedSocket>& sockets) override {
    return handlers_.quiet_network(ticket, sockets);
  }
  Result<> hold_network(const migrate::MoveTicket& ticket,
                        const std::vector<net::MovedSocket>& sockets) override {
    return handlers_.hold_network(ticket, sockets);
  }
  void release_network(const migrate::MoveTicket& ticket) override {
    handlers_.release_network(ticket);
  }
  migrate::CommitFate commit(const migrate::MoveTicket& ticket) override;
  void abandon(const migrate::MoveTicket& ticket, const std::string& reason) override;
  migrate::CommitFate await_commit(const migrate::MoveTicket& ticket) override;
  Result<> remember_guest(const migrate::MoveTicket& ticket,
                          const std::vector<migrate::StreamRef>& streams) override;
  void forget_guest(const migrate::MoveTicket& ticket) override { handlers_.forget(ticket); }
  void stand_down(const migrate::MoveTicket& ticket, const migrate::Carried& carried) override {
    handlers_.stand_down(ticket, carried);
  }

 private:
  using Key = migrate::CopyName;
  struct Open {
    migrate::MoveTicket ticket;
    std::promise<migrate::CommitFate> fate;
  };
  using OpenMoves = std::map<Key, Open>;
  struct Worker {
    std::thread thread;
  };

  static Key key(const migrate::MoveTicket& t) { return {t.pid, t.epoch}; }
  void decide(OpenMoves& open, const Key& key, migrate::CommitFate fate);
  Result<migrate::MoveReport> run_out(OutgoingMove& move,
                                      std::chrono::steady_clock::time_point since);
  void spawn(std::function<void()> work);
  // Runs `f` on the loop and gives its result to the calling mover.
  template <typename F>
  auto on_loop(F f) -> decltype(f());

  boost::asio::io_context& io_;
  std::shared_ptr<const TlsContext> tls_;
  const LinkTimeouts timeouts_;
  Handlers handlers_;
  migrate::MoveEnvironment env_;
  OpenMoves committing_;                           // source: sent, not delivered
  OpenMoves awaited_;                              // target: restored, not decided
  std::set<SsiPid> moving_;                        // out of here
  std::map<migrate::CopyName, NodeId> restoring_;  // into here, not yet done; from where
  std::set<migrate::CopyName> called_off_;         // of those: the source gave up meanwhile
  std::list<Worker> workers_;
};

}  // namespace ssi
