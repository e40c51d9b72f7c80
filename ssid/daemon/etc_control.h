// /cluster/etc on this node: EtcReplica (fs/etc) fed with what the cluster delivers, its state kept
// on the disk, and changes by this node's users one after another.
//
// Owned by the daemon; control loop only, but files() and writable(). What may go wrong with a
// change: EtcOutcome. Without quorum it is refused at once; while the cluster comes together it
// waits for that, kWait at most.
#pragma once

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "fs/etc/etc_replica.h"
#include "ssid/base/clock.h"
#include "ssid/daemon/durable_file.h"
#include "ssid/wire/group/group_codec.h"

namespace ssi {

class EtcControl {
 public:
  static constexpr std::int64_t kWait_ms = 10'000;

  using Done = std::function<void(EtcOutcome)>;
  struct Handlers {
    // The files are others than before, also at the start.
    std::function<void(const SharedFiles&)> on_changed;
    // Calls back when every member has carried out what this one has.
    std::function<void(std::function<void()>)> wait_for_all;
  };

  // `directory` keeps the state. Error: it can't, or what it has is damaged.
  static Result<std::unique_ptr<EtcControl>> open(boost::asio::io_context& io, const Clock& clock,
                                                  Cluster& cluster, const std::string& directory,
                                                  Handlers handlers);

  // Of the cluster, in its order.
  void on_view();
  void on_frame(NodeId from, const group::EtcFrame& message);
  void on_tick();

  // Everything that is decided; any thread.
  std::shared_ptr<const SharedFiles> files() const;
  bool writable() const { return writable_; }  // there is quorum

  // `done` is called once, later. At kDone every node that answers in time has the change.
  void change(etc::Change change, Done done);

 private:
  struct Wanted {
    etc::Change change;
    Done done;
    std::int64_t until_ms = 0;
  };
  struct Outgoing {
    std::uint64_t after_save = 0;
    std::vector<std::uint8_t> frame;
  };
  EtcControl(boost::asio::io_context& io, const Clock& clock, Cluster& cluster,
             const std::string& directory, Handlers handlers);
  void carry_out(EtcReplica::Effects effects);
  void send_ready();
  void saved(std::uint64_t number, const Result<>& result);
  void publish();
  void next();
  void decided(EtcOutcome outcome);

  boost::asio::io_context& io_;
  const Clock& clock_;
  Cluster& cluster_;
  Handlers handlers_;
  EtcReplica replica_;
  std::uint64_t saves_ = 0;  // asked for
  std::uint64_t saved_ = 0;
  bool save_failed_ = false;
  std::deque<Outgoing> outbox_;  // waits for the disk
  std::deque<Wanted> wanted_;    // the first one is under way, if any is
  mutable std::mutex files_mutex_;
  std::shared_ptr<const SharedFiles> files_;
  std::atomic<bool> writable_{false};
  DurableFile disk_;  // last: its thread calls nobody any more when the rest goes
};

// The time of day, for a change's mtime.
std::int64_t etc_time_ns();

// Why a change of this file was refused, for a user. Not for kDone.
Error etc_error(EtcOutcome outcome, const std::string& name);

}  // namespace ssi
