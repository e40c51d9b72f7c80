#include "migrate/realm/realm_network.h"

#include "migrate/net/moved_socket.h"
#include "ssid/base/command_line.h"

namespace ssi::migrate {

void add_network_options(CLI::App& app, RealmNetworkOptions& options) {
  app.add_option("--home-link", options.home_link, "where this node reaches home");
  app.add_option("--node-link", options.node_link, "where home reaches this node");
  app.add_option("--address", options.addresses, "an address of home");
  app.add_option("--source", options.source, "home's address for new connections");
  app.add_option("--source6", options.source6, "home's address for new connections of IPv6");
}

std::vector<std::string> network_arguments(const RealmNetworkOptions& o) {
  std::vector<std::string> words{"--home-link", o.home_link, "--node-link", o.node_link};
  if (!o.source.empty()) words.insert(words.end(), {"--source", o.source});
  if (!o.source6.empty()) words.insert(words.end(), {"--source6", o.source6});
  for (const std::string& address : o.addresses) {
    words.insert(words.end(), {"--address", address});
  }
  return words;
}

Result<RealmNetwork> RealmNetwork::open(const RealmNetworkOptions& options) {
  SSI_ASSIGN(auto outside, net::RouteSocket::open());
  return RealmNetwork(std::move(outside), options);
}

Result<> RealmNetwork::make(NodeId home, NodeId node) const {
  if (options_.home_link.empty()) return {};
  for (const std::string& address : options_.addresses) {
    if (!net::is_ipv4(address) && !net::is_ipv6(address)) {
      return Error("'" + address + "' is no address");
    }
  }
  return net::make_realm_end(outside_, {home, node, options_.home_link, options_.node_link},
                             {options_.addresses, options_.source, options_.source6});
}

}  // namespace ssi::migrate
