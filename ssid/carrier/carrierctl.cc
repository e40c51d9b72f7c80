// ssid-carrierctl: asks this node's carrier by hand; for operators and tests.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

#include "ssid/wire/carrier/carrier_client.h"

namespace {

constexpr const char* kUsage =
    "usage: ssid-carrierctl [--socket PATH] COMMAND\n"
    "  stats\n"
    "  views\n"
    "  mount NODE ADDRESS PORT DIR   show node NODE's files at DIR\n"
    "  refresh DIR                   forget what is believed about names and attributes there\n"
    "  unmount [--force] DIR\n";

int usage() {
  std::fputs(kUsage, stderr);
  return 2;
}

int done(const ssi::Result<>& result) {
  if (result.ok()) return 0;
  std::fprintf(stderr, "ssid-carrierctl: %s\n", result.error().message().c_str());
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  int at = 1;
  std::string socket = ssi::kCarrierSocket;
  if (argc > 2 && std::strcmp(argv[1], "--socket") == 0) {
    socket = argv[2];
    at = 3;
  }
  if (at >= argc) return usage();
  const std::string_view command = argv[at++];
  if (command == "--help") {
    std::fputs(kUsage, stdout);
    return 0;
  }
  const int left = argc - at;
  auto client = ssi::CarrierClient::connect(socket);
  if (!client) return done(std::move(client).error());
  if (command == "stats" && left == 0) {
    const auto stats = client->stats();
    if (!stats) return done(stats.error());
    for (const auto& [name, value] : stats->counters) {
      std::printf("%s %llu\n", name.c_str(), static_cast<unsigned long long>(value));
    }
    return 0;
  }
  if (command == "views" && left == 0) {
    const auto views = client->list_views();
    if (!views) return done(views.error());
    for (const auto& view : *views) {
      std::printf("%u %s %s\n", view.home_node, view.mountpoint.c_str(),
                  view.connected ? "connected" : "waiting");
    }
    return 0;
  }
  if (command == "mount" && left == 4) {
    ssi::MountView view;
    view.home.node = static_cast<std::uint32_t>(std::strtoul(argv[at], nullptr, 10));
    view.home.addresses = {argv[at + 1]};
    view.home.port = static_cast<std::uint16_t>(std::strtoul(argv[at + 2], nullptr, 10));
    view.mountpoint = argv[at + 3];
    return done(client->mount_view(view));
  }
  if (command == "refresh" && left == 1) return done(client->refresh_view(argv[at]));
  if (command == "unmount" && left == 1) return done(client->unmount_view(argv[at], false));
  if (command == "unmount" && left == 2 && std::strcmp(argv[at], "--force") == 0) {
    return done(client->unmount_view(argv[at + 1], true));
  }
  return usage();
}
