// The network of a realm: home's addresses on the realm's end of a tunnel to home, and nothing
// else. Made by ssid-realm, before its init is there; root; single-threaded.
#pragma once

#include <string>
#include <vector>

#include "migrate/net/tunnel.h"
#include "ssid/base/ids.h"
#include "ssid/base/result.h"

namespace CLI {
class App;
}

namespace ssi::migrate {

struct RealmNetworkOptions {
  std::string home_link;  // where home is reached by this node, and this node by home
  std::string node_link;
  std::vector<std::string> addresses;  // home's
  std::string source;                  // the one that new connections come from
  std::string source6;                 // the same for IPv6
};
// --home-link and so on: what ssid says and ssid-realm reads.
void add_network_options(CLI::App& app, RealmNetworkOptions& options);
std::vector<std::string> network_arguments(const RealmNetworkOptions& options);

class RealmNetwork {
 public:
  // In the node's network namespace, before the realm's is made.
  static Result<RealmNetwork> open(const RealmNetworkOptions& options);
  // In the realm's. Without a home_link: a loopback is all there is.
  Result<> make(NodeId home, NodeId node) const;

 private:
  RealmNetwork(net::RouteSocket outside, const RealmNetworkOptions& options)
      : outside_(std::move(outside)), options_(options) {}
  net::RouteSocket outside_;
  const RealmNetworkOptions& options_;
};

}  // namespace ssi::migrate
