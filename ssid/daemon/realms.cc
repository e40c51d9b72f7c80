#include "ssid/daemon/realms.h"

#include <sys/mount.h>

#include <charconv>
#include <filesystem>

#include "migrate/realm/realm_client.h"
#include "ssid/base/spawn.h"

namespace ssi {
namespace fs = std::filesystem;

Realms::Realms(NodeId self, Paths paths, MountView mount_view, HostName host_name, OnRealm on_realm)
    : self_(self),
      paths_(std::move(paths)),
      mount_view_(std::move(mount_view)),
      host_name_(std::move(host_name)),
      on_realm_(std::move(on_realm)) {}

std::string Realms::socket_path(NodeId home) const {
  return paths_.dir + "/" + std::to_string(home.value) + ".sock";
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
  SSI_ASSIGN(
      const std::string said,
      run_to_end({paths_.program, "--home", std::to_string(home.value), "--node",
                  std::to_string(self_.value), "--root", root, "--hostname", host_name_(home),
                  "--criu", paths_.criu_bundle, "--socket", socket_path(home)}));
  (void)said;
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
