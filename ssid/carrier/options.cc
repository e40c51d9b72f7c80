#include "ssid/carrier/options.h"

#include <cstdio>

#include "ssid/base/command_line.h"
#include "ssid/base/log.h"
#include "ssid/carrier/own_node.h"

namespace ssi {

std::optional<CarrierOptions> parse_carrier_options(int argc, char** argv, int& status) {
  CarrierOptions options;
  std::string corosync = "/etc/corosync/corosync.conf";
  bool foreground = false;
  CLI::App app(
      "Serves this node's files to guests of ours on other nodes, shows other nodes' files here, "
      "and\ncarries the bytes of moved pipes. Runs in the foreground.",
      "ssid-carrier");
  app.add_option("--node", options.node.value, "this node's number; else found by its addresses")
      ->check(CLI::PositiveNumber);
  app.add_option("--corosync", corosync, "corosync.conf");
  app.add_option("--address", options.address, "listen only there");
  app.add_option("--port", options.port, "TCP port");
  app.add_option("--key", options.key_file, "the cluster's key");
  app.add_option("--socket", options.socket, "control socket");
  app.add_option("--root", options.root, "what is served");
  app.add_flag("--force", options.force, "SIGTERM ends it even while files are shown");
  app.add_flag("--foreground", foreground, "accepted and not needed: it always is");
  if (const auto ended = parse_arguments(app, argc, argv)) {
    status = *ended;
    return std::nullopt;
  }
  if (!options.node) {
    const auto own = find_own_node(corosync);
    if (!own) {
      std::fprintf(stderr, "ssid-carrier: %s\n", one_line(own.error().message()).c_str());
      status = 2;
      return std::nullopt;
    }
    options.node = *own;
  }
  return options;
}

}  // namespace ssi
