#include "migrate/net/ipv6.h"

#include <filesystem>
#include <fstream>
#include <vector>

#include "migrate/net/moved_socket.h"
#include "migrate/net/nft.h"

namespace ssi::net {
namespace fs = std::filesystem;
namespace {

constexpr const char* kSettings = "/proc/sys/net/ipv6/conf/";

int read(const std::string& name) {
  int value = 0;
  std::ifstream(kSettings + name) >> value;
  return value;
}

Result<> set(const std::string& name, int value) {
  std::ofstream file(kSettings + name);
  file << value << std::flush;
  if (!file) return Error("can't set net.ipv6.conf " + name);
  return {};
}

// A device may go at any time; what is not there needs no setting.
void set_if_there(const std::string& name, int value) {
  std::error_code ec;
  if (fs::exists(kSettings + name, ec)) (void)set(name, value);
}

}  // namespace

bool has_ipv6() {
  std::error_code ec;
  return fs::exists(std::string(kSettings) + "all/forwarding", ec);
}

Result<> prepare_ipv6_device(const std::string& device) {
  constexpr int kNoLinkLocalAddress = 1;
  for (const auto& [name, value] : {std::pair{"addr_gen_mode", kNoLinkLocalAddress},
                                    {"disable_ipv6", 0},
                                    {"accept_ra", 0},
                                    {"autoconf", 0},
                                    {"accept_redirects", 0}}) {
    SSI_TRY(set(device + "/" + name, value));
  }
  // A chain whose device went and came back has no hook any more: it is made anew.
  const std::string chain = "chain netdev ssid " + device;
  std::string text = "add table netdev ssid\nadd " + chain + "\nflush " + chain + "\ndelete " +
                     chain + "\nadd " + chain + " { type filter hook ingress device \"" + device +
                     "\" priority filter; }\n";
  for (const std::string side : {"ip6 saddr ", "ip6 daddr "}) {
    text += "add rule netdev ssid " + device + " meta l4proto { tcp, udp, udplite, icmpv6 } " +
            side + "::1 " + side + "set " + kLoopbackAlias + "\n";
  }
  return apply_nft(text);
}

bool forwards_ipv6() { return read("all/forwarding") != 0; }

Result<> turn_ipv6_forwarding_on() {
  struct Device {
    std::string name;
    bool believed_routers = false;
  };
  std::vector<Device> hosts;
  std::error_code ec;
  for (const auto& entry : fs::directory_iterator(kSettings, ec)) {
    const std::string name = entry.path().filename().string();
    if (name == "all" || read(name + "/forwarding") != 0) continue;
    hosts.push_back({name, read(name + "/accept_ra") == 1});
    // Also as a router: else what it learned of routers would be forgotten now.
    if (hosts.back().believed_routers) set_if_there(name + "/accept_ra", 2);
  }
  SSI_TRY(set("all/forwarding", 1));
  for (const Device& d : hosts) {
    set_if_there(d.name + "/forwarding", 0);
    if (d.believed_routers) set_if_there(d.name + "/accept_ra", 1);
  }
  return {};
}

}  // namespace ssi::net
