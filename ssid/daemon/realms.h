// The realms of this node: one a home, made when its first guest comes and kept from then on (a
// realm costs nothing at rest). Outlive ssid: a restarted one finds them by their sockets.
//
// Thread-safe; prepare() blocks while files are mounted and namespaces are made.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "ssid/base/ids.h"
#include "ssid/base/result.h"

namespace ssi {

class Realms {
 public:
  struct Paths {
    std::string dir;          // /run/ssid/realms
    std::string criu_bundle;  // made by make_criu_bundle()
    std::string program;      // ssid-realm
  };
  // Mounts `home`'s files at a directory of this node.
  using MountView = std::function<Result<>(NodeId home, const std::string& mount_point)>;
  // Called (from the preparing thread) when a realm has come to be.
  using OnRealm = std::function<void(NodeId home, const std::string& socket)>;
  using HostName = std::function<std::string(NodeId)>;
  // What a realm of `home` is told of its network: arguments of ssid-realm. Home makes its end of
  // the tunnel.
  using Network = std::function<Result<std::vector<std::string>>(NodeId home)>;

  Realms(NodeId self, Paths paths, MountView mount_view, HostName host_name, Network network,
         OnRealm on_realm);

  // The path of the socket of the realm's init.
  Result<std::string> prepare(NodeId home);
  std::string socket_path(NodeId home) const;
  // Of the realm's init, in this node's /proc.
  Result<pid_t> init_pid(NodeId home) const;
  // Realms that an earlier ssid left and that still live.
  std::vector<NodeId> find_living() const;

 private:
  bool lives(NodeId home) const;
  Result<> make(NodeId home);

  const NodeId self_;
  const Paths paths_;
  const MountView mount_view_;
  const HostName host_name_;
  const Network network_;
  const OnRealm on_realm_;
  std::mutex mutex_;  // one realm is made at a time
};

}  // namespace ssi
