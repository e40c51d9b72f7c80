// The cluster on corosync: libcpg for the group and its messages, libquorum for who is up and
// whether it is quorate, libcmap for the configured nodes. The only place of the project that
// includes corosync.
//
// Owned by the daemon; runs on the thread of `loop`, where it waits for corosync's descriptors.
// When corosync goes away (restart, crash), on_view tells a view without members and the connection
// is tried again every `reconnect_ms` until it stands.
//
// What may go wrong: while corosync itself is stopped by a signal, the calls that make a connection
// wait for it; those on a standing connection don't.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "ssid/cluster/cluster.h"

namespace boost::asio {
class io_context;
}

namespace ssi {

struct CorosyncOptions {
  std::string group = "ssid";
  std::uint32_t reconnect_ms = 500;
  std::uint32_t retry_ms = 2;  // after corosync's "try again"
  // One line for the log, only when something changed. May be empty.
  std::function<void(const std::string&)> log;
};

// start() tries to connect at once, so with a running corosync self() and nodes() are known after
// it.
std::unique_ptr<Cluster> make_corosync_cluster(boost::asio::io_context& loop,
                                               CorosyncOptions options);

}  // namespace ssi
