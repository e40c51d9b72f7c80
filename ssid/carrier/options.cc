#include "ssid/carrier/options.h"

#include <getopt.h>

#include <cstdio>
#include <cstdlib>

#include "ssid/carrier/own_node.h"

namespace ssi {
namespace {

constexpr const char* kUsage =
    "usage: ssid-carrier [OPTION]...\n"
    "Serves this node's files to guests of ours on other nodes, shows other nodes' files here, "
    "and\n"
    "carries the bytes of moved pipes. Runs in the foreground.\n"
    "\n"
    "  --node N          this node's number (default: found by its addresses in corosync.conf)\n"
    "  --corosync FILE   that file (default /etc/corosync/corosync.conf)\n"
    "  --address A       listen only there (default: every address)\n"
    "  --port P          TCP port (default 7789)\n"
    "  --key FILE        cluster key (default /etc/corosync/authkey)\n"
    "  --socket PATH     control socket (default /run/ssid/carrier.sock)\n"
    "  --root DIR        what is served (default /)\n"
    "  --force           SIGTERM ends it even while views are mounted\n"
    "  --foreground      accepted for symmetry: it always is\n"
    "  --help\n";

enum Option {
  kNode = 1,
  kCorosync,
  kAddress,
  kPort,
  kKey,
  kSocket,
  kRoot,
  kForce,
  kForeground,
  kHelp
};

bool number(const char* text, unsigned long max, unsigned long& value) {
  char* end = nullptr;
  value = std::strtoul(text, &end, 10);
  return *text >= '0' && *text <= '9' && *end == '\0' && value <= max;
}

}  // namespace

std::optional<CarrierOptions> parse_carrier_options(int argc, char** argv, int& status) {
  static const option kOptions[] = {
      {"node", required_argument, nullptr, kNode},
      {"corosync", required_argument, nullptr, kCorosync},
      {"address", required_argument, nullptr, kAddress},
      {"port", required_argument, nullptr, kPort},
      {"key", required_argument, nullptr, kKey},
      {"socket", required_argument, nullptr, kSocket},
      {"root", required_argument, nullptr, kRoot},
      {"force", no_argument, nullptr, kForce},
      {"foreground", no_argument, nullptr, kForeground},
      {"help", no_argument, nullptr, kHelp},
      {nullptr, 0, nullptr, 0},
  };
  CarrierOptions options;
  std::string corosync = "/etc/corosync/corosync.conf";
  unsigned long value = 0;
  const auto wrong = [&](const std::string& what) {
    std::fprintf(stderr, "ssid-carrier: %s\n", what.c_str());
    status = 2;
    return std::nullopt;
  };
  for (;;) {
    const int found = ::getopt_long(argc, argv, "", kOptions, nullptr);
    if (found == -1) break;
    switch (found) {
      case kNode:
        if (!number(optarg, UINT32_MAX, value) || value == 0)
          return wrong("--node: not a node number");
        options.node = {static_cast<std::uint32_t>(value)};
        break;
      case kPort:
        if (!number(optarg, 65535, value)) return wrong("--port: not a port");
        options.port = static_cast<std::uint16_t>(value);
        break;
      case kCorosync:
        corosync = optarg;
        break;
      case kAddress:
        options.address = optarg;
        break;
      case kKey:
        options.key_file = optarg;
        break;
      case kSocket:
        options.socket = optarg;
        break;
      case kRoot:
        options.root = optarg;
        break;
      case kForce:
        options.force = true;
        break;
      case kForeground:
        break;
      case kHelp:
        std::fputs(kUsage, stdout);
        status = 0;
        return std::nullopt;
      default:
        status = 2;
        return std::nullopt;
    }
  }
  if (optind != argc) return wrong(std::string("unexpected argument: ") + argv[optind]);
  if (!options.node) {
    const auto own = find_own_node(corosync);
    if (!own) return wrong(own.error().message());
    options.node = *own;
  }
  return options;
}

}  // namespace ssi
