#include "migrate/fds/netlink_socket.h"

#include <linux/netlink.h>
#include <linux/sockios.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>

#include "migrate/fds/descriptor.h"
#include "migrate/fds/socket_link.h"

namespace ssi::fds {
namespace {

constexpr int kNetlinkLevel = 270;  // SOL_NETLINK
constexpr std::size_t kGroupWordsMax = 64;

struct Option {
  int number;
  const char* name;
};
constexpr Option kOptions[] = {{NETLINK_PKTINFO, "NETLINK_PKTINFO"},
                               {NETLINK_BROADCAST_ERROR, "NETLINK_BROADCAST_ERROR"},
                               {NETLINK_NO_ENOBUFS, "NETLINK_NO_ENOBUFS"},
                               {NETLINK_LISTEN_ALL_NSID, "NETLINK_LISTEN_ALL_NSID"},
                               {NETLINK_CAP_ACK, "NETLINK_CAP_ACK"},
                               {NETLINK_EXT_ACK, "NETLINK_EXT_ACK"},
                               {NETLINK_GET_STRICT_CHK, "NETLINK_GET_STRICT_CHK"}};

int option(int socket, int level, int name) {
  int value = 0;
  socklen_t size = sizeof value;
  return ::getsockopt(socket, level, name, &value, &size) == 0 ? value : 0;
}

bool has_groups(int socket) {
  std::array<std::uint32_t, kGroupWordsMax> groups{};
  socklen_t size = sizeof groups;
  if (::getsockopt(socket, kNetlinkLevel, NETLINK_LIST_MEMBERSHIPS, groups.data(), &size) != 0) {
    return true;  // not known
  }
  return std::ranges::any_of(groups, [](std::uint32_t word) { return word != 0; });
}

bool is_in_network_of(int socket, pid_t pid) {
  const UniqueFd its(::ioctl(socket, SIOCGSKNS));
  const std::string path = "/proc/" + std::to_string(pid) + "/ns/net";
  struct stat theirs {};
  struct stat own {};
  return its && ::fstat(*its, &theirs) == 0 && ::stat(path.c_str(), &own) == 0 &&
         theirs.st_ino == own.st_ino;
}

std::uint32_t port_of(int socket) {
  sockaddr_nl address{};
  socklen_t size = sizeof address;
  (void)::getsockname(socket, reinterpret_cast<sockaddr*>(&address), &size);
  return address.nl_pid;
}

}  // namespace

NetlinkSocket read_netlink_socket(int socket, pid_t pid) {
  NetlinkSocket s{.protocol = option(socket, SOL_SOCKET, SO_PROTOCOL),
                  .type = option(socket, SOL_SOCKET, SO_TYPE),
                  .port = port_of(socket),
                  .subscribed = has_groups(socket),
                  .option = {}};
  sockaddr_nl peer{};
  socklen_t size = sizeof peer;
  s.has_peer = ::getpeername(socket, reinterpret_cast<sockaddr*>(&peer), &size) != 0 ||
               peer.nl_pid != 0 || peer.nl_groups != 0;
  pollfd poll{socket, POLLIN, 0};
  s.unread = ::poll(&poll, 1, 0) != 0;
  s.of_other_network = !is_in_network_of(socket, pid);
  const auto set = std::ranges::find_if(
      kOptions, [&](const Option& o) { return option(socket, kNetlinkLevel, o.number) != 0; });
  if (set != std::end(kOptions)) s.option = set->name;
  return s;
}

std::string why_netlink_stays(const NetlinkSocket& s) {
  if (s.protocol != NETLINK_ROUTE && s.protocol != NETLINK_SOCK_DIAG) {
    return "of a protocol by which the kernel may keep something for it";
  }
  if (s.subscribed) return "that is told of changes here (by a multicast group)";
  if (s.has_peer) return "that is connected with another one";
  if (s.of_other_network) return "of another network namespace than its own";
  if (s.type != SOCK_RAW) return "that would become one of another type (SOCK_RAW)";
  if (!s.option.empty()) return "with the option " + s.option + ", which would be forgotten";
  if (s.unread) return "with an answer that was not read yet";
  return "";
}

Result<std::set<std::uint32_t>> netlink_ports(pid_t pid) {
  namespace fs = std::filesystem;
  std::set<std::uint32_t> ports;
  std::error_code ec;
  for (const auto& entry : fs::directory_iterator("/proc/" + std::to_string(pid) + "/fd", ec)) {
    if (!is_socket_link(fs::read_symlink(entry.path(), ec).string())) continue;
    SSI_ASSIGN(const UniqueFd socket,
               descriptor_of(pid, std::atoi(entry.path().filename().c_str())));
    if (option(*socket, SOL_SOCKET, SO_DOMAIN) == AF_NETLINK) ports.insert(port_of(*socket));
  }
  if (ec) return Error("look at its sockets: " + ec.message());
  return ports;
}

Result<> check_netlink_ports(const std::vector<pid_t>& pids, std::set<std::uint32_t> numbers) {
  for (auto pid = pids.begin(); pid != pids.end() && !numbers.empty(); ++pid) {
    SSI_ASSIGN(const auto ports, netlink_ports(*pid));
    for (const std::uint32_t port : ports) numbers.erase(port);
  }
  if (numbers.empty()) return {};
  return Error(ErrorCode::kRefused, "its socket to the kernel has the number " +
                                        std::to_string(*numbers.begin()) +
                                        ", which somebody has there");
}

}  // namespace ssi::fds
