// ssid-carrier: data between nodes, once per node. See ARCHITECTURE.md. Composition root: options,
// key, parts, signals.
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "ssid/base/log.h"
#include "ssid/base/notify.h"
#include "ssid/base/priority.h"
#include "ssid/carrier/capabilities.h"
#include "ssid/carrier/carrier.h"
#include "ssid/carrier/control_server.h"
#include "ssid/carrier/node_views_process.h"
#include "ssid/carrier/options.h"

namespace ssi {
namespace {

int fail(const Error& error, int status = 1) {
  std::fprintf(stderr, "ssid-carrier: %s\n", one_line(error.message()).c_str());
  return status;
}

// `ssid-carrier --nodes` as started by another one.
std::vector<std::string> node_views_command(const CarrierOptions& options,
                                            const std::string& socket) {
  std::error_code ignored;
  return {std::filesystem::read_symlink("/proc/self/exe", ignored),
          "--nodes",
          "--config",
          options.config,
          "--node",
          std::to_string(options.node.value),
          "--key",
          options.key_file,
          "--root",
          options.root,
          "--socket",
          socket};
}

int run(const CarrierOptions& options) {
  go_first();
  // Descriptors are what a carrier lives on.
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    (void)::setrlimit(RLIMIT_NOFILE, &files);
  }
  if (const auto kept = keep_needed_capabilities(); !kept) return fail(kept.error());
  ::umask(0077);
  auto key = read_cluster_key(options.key_file);
  if (!key) return fail(key.error());
  auto tls = TlsContext::from_key(*key, options.node);
  if (!tls) return fail(tls.error());

  // Blocked before any thread exists, so that only sigwait() below takes them.
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGIO, SIG_IGN);  // of leases, see fs/store/ops_leases.cc
  sigset_t signals;
  ::sigemptyset(&signals);
  ::sigaddset(&signals, SIGTERM);
  ::sigaddset(&signals, SIGINT);
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);

  // The dead mounts of one whose carrier has died are the next one's to take away.
  if (options.nodes) ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  Carrier carrier({.address = options.address,
                   .port = options.port,
                   .root = options.root,
                   .shows_nodes = options.nodes},
                  *tls);
  if (!options.nodes) {
    if (const auto listening = carrier.listen(); !listening) return fail(listening.error());
  }
  std::error_code ignored;
  // Also ssid's directory, whichever of the two starts first: everybody's commands and every user's
  // deputies come to their sockets through it.
  const auto directory = std::filesystem::path(options.socket).parent_path();
  if (std::filesystem::create_directories(directory, ignored)) {
    std::filesystem::permissions(directory, std::filesystem::perms(0755), ignored);
  }
  auto control = ControlServer::start(options.socket, carrier);
  if (!control) return fail(control.error());
  std::optional<NodeViewsProcess> node_views;
  if (options.nodes) {
    log_info("/cluster/node of node {}", options.node.value);
  } else {
    node_views.emplace(node_views_command(options, directory / "nodes.sock"));
    log_info("node {}, port {}", options.node.value, carrier.port());
  }
  notify_manager("READY=1");

  for (;;) {
    int signal = 0;
    if (::sigwait(&signals, &signal) != 0) continue;
    const std::size_t views = carrier.views();
    if (views == 0 || options.force) {
      log_info("ends: {}", ::strsignal(signal));
      notify_manager("STOPPING=1");
      return 0;
    }
    // Guests would lose their files. A second thought is SIGKILL.
    log_warning("{}: not ending, {} views are mounted", ::strsignal(signal), views);
  }
}

}  // namespace
}  // namespace ssi

int main(int argc, char** argv) {
  ssi::log_start("ssid-carrier", ssi::LogLevel::kInfo);
  int status = 0;
  const auto options = ssi::parse_carrier_options(argc, argv, status);
  if (!options) return status;
  ssi::set_log_level(options->log_level);
  return ssi::run(*options);
}
