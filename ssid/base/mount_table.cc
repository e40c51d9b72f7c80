#include "ssid/base/mount_table.h"

#include <fstream>
#include <sstream>

namespace ssi {

namespace {

struct Mount {
  std::string device, point, type;
};

// Calls `look` with each mount until it says false.
template <typename Look>
void each_mount(Look look) {
  std::ifstream in("/proc/self/mountinfo");
  for (std::string line; std::getline(in, line);) {
    std::istringstream words(line);
    std::string skip;
    Mount mount;
    words >> skip >> skip >> mount.device >> skip >> mount.point;
    while (words >> skip && skip != "-") {
    }
    words >> mount.type;
    if (!look(mount)) return;
  }
}

}  // namespace

int mounts_on(const std::string& directory, std::string_view type) {
  int found = 0;
  each_mount([&](const Mount& mount) {
    if (mount.point == directory && mount.type == type) ++found;
    return true;
  });
  return found;
}

std::string mounted_type(unsigned int major, unsigned int minor) {
  const std::string device = std::to_string(major) + ":" + std::to_string(minor);
  std::string type;
  each_mount([&](const Mount& mount) {
    if (mount.device == device) type = mount.type;
    return type.empty();
  });
  return type;
}

std::string cgroup2_mount() {
  std::ifstream mounts("/proc/self/mounts");
  std::string source, mount, type, rest;
  while (mounts >> source >> mount >> type && std::getline(mounts, rest)) {
    if (type == "cgroup2") return mount;
  }
  return "";
}

}  // namespace ssi
