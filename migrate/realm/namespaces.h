// Making the world that guests of one home see on this node: mounts, host name, loopback, PID
// allocator. Called once, by ssid-realm before it becomes the realm's init; root; single-threaded.
#pragma once

#include <string>

#include "migrate/realm/realm_network.h"
#include "ssid/base/ids.h"
#include "ssid/base/result.h"

namespace ssi::migrate {

struct RealmOptions {
  NodeId home;
  NodeId node;              // where this realm is
  std::string root;         // home's files, mounted here (FUSE); "/" for the realm at home itself
  std::string host_name;    // home's
  std::string criu_bundle;  // directory with criu, its loader and its libraries
  RealmNetworkOptions network;
  bool at_home() const { return home == node; }
};

// unshare(2) of what a realm has of its own. At home only PIDs and mounts are: files, network, host
// name and IPC objects are home's already.
Result<> unshare_realm(const RealmOptions& options);

// As the first process of the new PID namespace: mounts, pivot_root, host name, loopback, PID
// range.
Result<> enter_realm(const RealmOptions& options);

}  // namespace ssi::migrate
