#include "ssid/carrier/options.h"

#include <cstdint>
#include <cstdio>

#include "ssid/base/command_line.h"
#include "ssid/carrier/own_node.h"
#include "ssid/config/config.h"

namespace ssi {

namespace {

CarrierOptions as_configured(const Config& config) {
  CarrierOptions options;
  options.log_level = *parse_log_level(config.log_level);
  options.address = config.link.address;
  options.port = config.link.carrier_port;
  options.key_file = config.cluster.key_file;
  return options;
}

int wrong(const Error& error) {
  std::fprintf(stderr, "ssid-carrier: %s\n", one_line(error.message()).c_str());
  return 2;
}

}  // namespace

std::optional<CarrierOptions> parse_carrier_options(int argc, char** argv, int& status) {
  std::string config_path = kConfigPath;
  std::string corosync = "/etc/corosync/corosync.conf";
  std::optional<std::uint32_t> node;
  std::optional<std::uint16_t> port;
  std::optional<std::string> address, key, socket, root;
  bool force = false, foreground = false, nodes = false;
  CLI::App app(
      "Serves this node's files to guests of ours on other nodes, shows other nodes' files here, "
      "and\ncarries the bytes of moved pipes. Runs in the foreground.",
      "ssid-carrier");
  app.add_option("--config", config_path, "settings of this node");
  app.add_option("--node", node, "this node's number; else found by its addresses")
      ->check(CLI::Range(1u, UINT32_MAX));
  app.add_option("--corosync", corosync, "corosync.conf");
  app.add_option("--address", address, "listen only there");
  app.add_option("--port", port, "TCP port");
  app.add_option("--key", key, "the cluster's key");
  app.add_option("--socket", socket, "control socket");
  app.add_option("--root", root, "what is served");
  app.add_flag("--force", force, "SIGTERM ends it even while files are shown");
  app.add_flag(
      "--nodes", nodes,
      "only shows the files of all nodes at /cluster/node: what ssid-carrier starts itself");
  app.add_flag("--foreground", foreground, "accepted and not needed: it always is");
  if (const auto ended = parse_arguments(app, argc, argv)) {
    status = *ended;
    return std::nullopt;
  }
  const auto config = read_config(config_path);
  if (!config) {
    status = wrong(config.error());
    return std::nullopt;
  }
  CarrierOptions options = as_configured(*config);
  if (address) options.address = *address;
  if (port) options.port = *port;
  if (key) options.key_file = *key;
  if (socket) options.socket = *socket;
  if (root) options.root = *root;
  options.force = force;
  options.nodes = nodes;
  options.config = config_path;
  const auto own = node ? Result<NodeId>(NodeId{*node}) : find_own_node(corosync);
  if (!own) {
    status = wrong(own.error());
    return std::nullopt;
  }
  options.node = *own;
  return options;
}

}  // namespace ssi
