// What ssid-carrier is made of: the store and the exported streams that other nodes come for, the
// views and attached streams of guests here, and the ways between them. Owned by main();
// thread-safe.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "fs/store/store.h"
#include "fs/view/view.h"
#include "migrate/streams/listener_home.h"
#include "migrate/streams/listener_target.h"
#include "migrate/streams/stream_home.h"
#include "migrate/streams/stream_target.h"
#include "ssid/carrier/node_views.h"
#include "ssid/wire/carrier/carrier_messages.h"
#include "ssid/wire/link_server.h"
#include "ssid/wire/tls_context.h"

namespace ssi {

class Carrier {
 public:
  struct Options {
    std::string address;  // to listen at; empty: every one
    std::uint16_t port = kCarrierPort;
    std::string root = "/";  // what is served
    bool shows_nodes = false;
  };
  Carrier(Options options, std::shared_ptr<const TlsContext> tls);
  ~Carrier();

  Result<> listen();
  std::uint16_t port() const { return server_->port(); }
  std::size_t views() const;  // of guests

  // The ops of the control socket.
  Result<> mount_view(const MountView& wanted);
  Result<> show_nodes(const ShowNodes& wanted);
  Result<> unmount_view(const UnmountView& wanted);
  Result<> refresh_view(const std::string& mountpoint);
  Result<> rebuild_sockets(const RebuildSockets& wanted);
  Result<> tell_watchers(const TellWatchers& wanted);
  ViewList list_views();
  Result<> export_stream(const ExportStream& wanted, UniqueFd fd, UniqueFd owner);
  Result<> own_stream(std::uint64_t id, UniqueFd owner);
  Result<> close_stream(const StreamRef& wanted);
  Result<UniqueFd> attach_stream(const AttachStream& wanted, UniqueFd network = {});
  Result<UniqueFd> attach_datagrams(const AttachListener& wanted, UniqueFd network);
  Result<UniqueFd> attach_listener(const AttachListener& wanted, UniqueFd network);
  Result<AcceptedConnections> accepted_by(std::uint64_t listener);
  Result<> start_stream(const StartStream& wanted);
  Result<> demand_stream(const DemandStream& wanted);
  Result<> drain_stream(const DrainStream& wanted);
  Result<> resume_stream(std::uint64_t id);
  Result<> refresh_terminal(const StreamRef& m) {
    return targets_.refresh_terminal(m.id, m.timeout_ms);
  }
  Result<std::uint64_t> hold_file(UniqueFd fd);
  Result<std::uint64_t> hold_locks(UniqueFd fd, const HoldLocksOf& wanted);
  Result<UniqueFd> open_held_file(std::uint64_t id);
  void release_file(std::uint64_t id) { store_.held().release(id); }
  // Now and then: what movers held and forgot.
  void drop_old_holds() { store_.held().drop_old(); }
  Result<> detach_stream(const DetachStream& m);
  CarrierStats stats();

 private:
  struct Mounted {
    CarrierPeer home;
    std::shared_ptr<fs::View> view;  // null while it is being mounted
  };

  void serve(std::shared_ptr<Channel> channel, NodeId peer);
  Result<std::unique_ptr<Channel>> dial(const CarrierPeer& peer);
  // As a connection of that kind, which home has taken.
  migrate::StreamTarget::Dial dial_as(LinkKind kind, const CarrierPeer& home);
  Result<std::shared_ptr<fs::View>> view_at(const std::string& mountpoint);

  const Options options_;
  const std::shared_ptr<const TlsContext> tls_;
  fs::DigestCache digests_;
  fs::Store store_;
  migrate::StreamHome homes_;
  migrate::StreamTarget targets_;
  migrate::ListenerHome home_listeners_{homes_};
  migrate::ListenerTarget listeners_{targets_};
  NodeViews node_views_;
  mutable std::mutex views_mutex_;
  std::map<std::string, Mounted> views_;  // by mount point
  std::mutex local_mutex_;
  std::map<std::thread::id, std::thread> local_;  // serve connections of this node to itself
  std::vector<std::thread::id> local_done_;
  std::mutex channels_mutex_;
  std::set<Channel*> channels_;
  bool stopped_ = false;
  std::unique_ptr<LinkServer> server_;
};

}  // namespace ssi
