#include "ssid/daemon/realms.h"

#include <sys/mount.h>
#include <sys/stat.h>

#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "migrate/realm/realm_client.h"
#include "ssid/base/log.h"
#include "ssid/base/proc_status.h"
#include "ssid/base/spawn.h"

namespace ssi {
namespace fs = std::filesystem;

Realms::Realms(NodeId self, Paths paths, MountView mount_view, HostName host_name, Network network,
               OnRealm on_realm)
    : self_(self),
      paths_(std::move(paths)),
      mount_view_(std::move(mount_view)),
      host_name_(std::move(host_name)),
      network_(std::move(network)),
      on_realm_(std::move(on_realm)) {}

std::string Realms::socket_path(NodeId home) const {
  return paths_.dir + "/" + std::to_string(home.value) + ".sock";
}

// Nobody can be asked: what the kernel tells of the socket is who made it, which has ended.
Result<pid_t> Realms::init_pid(NodeId home) const {
  const std::string socket = socket_path(home);
  std::error_code ec;
  for (const auto& entry : fs::directory_iterator("/proc", ec)) {
    const pid_t pid = std::atoi(entry.path().filename().c_str());
    struct stat st {};
    if (pid <= 0 || ::stat(entry.path().c_str(), &st) != 0 || st.st_uid != 0) continue;
    std::ifstream file(entry.path() / "cmdline");
    bool named = false;
    for (std::string word; std::getline(file, word, '\0');) named |= word == socket;
    if (named && innermost_pid(pid) == 1) return pid;
  }
  return Error(ErrorCode::kGone, "no realm of node " + std::to_string(home.value));
}

bool Realms::lives(NodeId home) const {
  return migrate::RealmClient::connect(socket_path(home)).ok();
}

Result<std::string> Realms::prepare(NodeId home) {
  std::lock_guard lock(mutex_);
  if (!lives(home)) {
    SSI_TRY(make(home).context("realm of node " + std::to_string(home.value)));
    on_realm_(home, socket_path(home));
  }
  return socket_path(home);
}

Result<> Realms::make(NodeId home) {
  std::string root = "/";
  if (home != self_) {
    root = paths_.dir + "/" + std::to_string(home.value) + "/root";
    std::error_code ec;
    fs::create_directories(root, ec);
    if (ec) return Error("make " + root + ": " + ec.message());
    SSI_TRY(mount_view_(home, root));
  }
  std::vector<std::string> command{paths_.program,
                                   "--home",
                                   std::to_string(home.value),
                                   "--node",
                                   std::to_string(self_.value),
                                   "--root",
                                   root,
                                   "--hostname",
                                   host_name_(home),
                                   "--criu",
                                   paths_.criu_bundle,
                                   "--socket",
                                   socket_path(home)};
  if (home != self_) {
    SSI_ASSIGN(const auto network, network_(home).context("network"));
    command.insert(command.end(), network.begin(), network.end());
  }
  SSI_ASSIGN(const std::string said, run_to_end(command));
  if (!said.empty()) log_warning("realm of node {}: {}", home.value, said);
  return {};
}

std::vector<NodeId> Realms::find_living() const {
  std::vector<NodeId> homes;
  std::error_code ec;
  for (const auto& entry : fs::directory_iterator(paths_.dir, ec)) {
    const std::string name = entry.path().filename().string();
    std::uint32_t number = 0;
    const auto [end, bad] = std::from_chars(name.data(), name.data() + name.size(), number);
    if (bad != std::errc{} ||
        std::string_view(end, static_cast<std::size_t>(name.data() + name.size() - end)) !=
            ".sock") {
      continue;
    }
    if (lives(NodeId{number})) homes.push_back(NodeId{number});
  }
  return homes;
}

}  // namespace ssi
