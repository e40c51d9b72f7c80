// cluster_corosync_contract: the contract suite on nodes that run corosync already.
//     cluster_corosync_contract --node 1=PID --node 2=PID --node 3=PID [--hook PROGRAM] [doctest's
//     options]
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "ssid/cluster/contract/corosync_world.h"

namespace {

int usage() {
  std::fprintf(
      stderr,
      "cluster_corosync_contract: usage: --node ID=PID ... [--hook PROGRAM] [--wait SECONDS]\n"
      "  PID: any process in that node's namespaces; PROGRAM cut 1:2,3 | heal | restart 2\n");
  return 2;
}

}  // namespace

int main(int argc, char** argv) {
  ssi::CorosyncWorldOptions options;
  std::vector<char*> rest{argv[0]};
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    const bool ours = argument == "--node" || argument == "--hook" || argument == "--wait";
    if (!ours) {
      rest.push_back(argv[i]);
      continue;
    }
    if (++i == argc) return usage();
    const std::string value = argv[i];
    if (argument == "--hook") {
      options.hook = value;
    } else if (argument == "--wait") {
      options.wait_ms = std::strtoul(value.c_str(), nullptr, 10) * 1000;
    } else {
      const std::size_t equals = value.find('=');
      if (equals == std::string::npos) return usage();
      const auto node = static_cast<std::uint32_t>(std::strtoul(value.c_str(), nullptr, 10));
      const auto pid = static_cast<pid_t>(std::strtol(value.c_str() + equals + 1, nullptr, 10));
      if (node == 0 || pid <= 0) return usage();
      options.nodes[ssi::NodeId{node}] = pid;
    }
  }
  if (options.nodes.empty()) return usage();
  ssi::set_contract_world([options] { return std::make_unique<ssi::CorosyncWorld>(options); });
  doctest::Context context(static_cast<int>(rest.size()), rest.data());
  return context.run();
}
