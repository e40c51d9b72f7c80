#include "migrate/check/socket_facts.h"

#include <arpa/inet.h>
#include <linux/kcmp.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <optional>
#include <set>
#include <sstream>
#include <string_view>
#include <thread>

#include "migrate/check/fd_facts.h"
#include "migrate/fds/netlink_socket.h"
#include "migrate/fds/socket_link.h"
#include "migrate/fds/unix_diag.h"
#include "migrate/fds/unix_socket_state.h"
#include "ssid/base/proc_status.h"

namespace ssi::check {
namespace {

// As the kernel has them; no header for programs does (RFC 3828).
constexpr int kUdpLiteSendCoverage = 10, kUdpLiteReceiveCoverage = 11;

// Who asks the kernel something has the answer at once, and reads it.
constexpr int kLooksForAnswer = 10;

// A process's descriptors, taken as duplicates.
class Taker {
 public:
  explicit Taker(pid_t pid) : process_(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0))) {}
  UniqueFd take(int number) const {
    if (!process_) return UniqueFd();
    return UniqueFd(static_cast<int>(::syscall(SYS_pidfd_getfd, *process_, number, 0)));
  }

 private:
  UniqueFd process_;
};

SocketTable read_inet_sockets(const ProcDir& proc) {
  SocketTable table;
  for (const char* protocol :
       {"tcp", "tcp6", "udp", "udp6", "udplite", "udplite6", "raw", "raw6", "icmp", "icmp6"}) {
    if (auto text = proc.read(std::string("net/") + protocol)) {
      add_inet_sockets(table, protocol, *text);
    }
  }
  return table;
}

int option(int socket, int level, int name) {
  int value = 0;
  socklen_t size = sizeof value;
  return ::getsockopt(socket, level, name, &value, &size) == 0 ? value : 0;
}

std::optional<net::Endpoint> endpoint_of(const sockaddr_storage& name) {
  char text[INET6_ADDRSTRLEN] = {};
  if (name.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(name);
    inet_ntop(AF_INET, &v4.sin_addr, text, sizeof text);
    return net::Endpoint{text, ntohs(v4.sin_port)};
  }
  if (name.ss_family != AF_INET6) return {};
  const auto& v6 = reinterpret_cast<const sockaddr_in6&>(name);
  inet_ntop(AF_INET6, &v6.sin6_addr, text, sizeof text);
  return net::Endpoint{text, ntohs(v6.sin6_port)};
}

std::string list_of(int socket) {
  const int protocol = option(socket, SOL_SOCKET, SO_PROTOCOL);
  const int domain = option(socket, SOL_SOCKET, SO_DOMAIN);
  const int type = option(socket, SOL_SOCKET, SO_TYPE);
  if ((domain != AF_INET && domain != AF_INET6) || (type != SOCK_STREAM && type != SOCK_DGRAM))
    return "";
  const std::string family = domain == AF_INET6 ? "6" : "";
  switch (protocol) {
    case IPPROTO_TCP:
      return "tcp" + family;
    case IPPROTO_UDP:
      return "udp" + family;
    case IPPROTO_UDPLITE:
      return "udplite" + family;
    default:
      return "";
  }
}

std::string text_option(int socket, int level, int name) {
  char text[IFNAMSIZ + 1] = {};
  socklen_t size = IFNAMSIZ;  // no less will do
  return ::getsockopt(socket, level, name, text, &size) == 0 ? std::string(text) : "";
}

// What criu would lose, or can't set where the process goes.
std::string why_not_inet(int socket, const std::string& protocol) {
  if (const auto device = text_option(socket, SOL_SOCKET, SO_BINDTODEVICE); !device.empty()) {
    return "bound to this machine's network device " + device;
  }
  if (protocol.starts_with("TCP") && !text_option(socket, IPPROTO_TCP, TCP_ULP).empty()) {
    return "whose encryption the kernel does";
  }
  if (protocol == "UDP-Lite" || protocol == "UDPLITEv6") {
    for (const int coverage : {kUdpLiteSendCoverage, kUdpLiteReceiveCoverage}) {
      if (option(socket, IPPROTO_UDPLITE, coverage) != 0) {
        return "with a checksum of its own kind (UDPLITE_SEND_CSCOV), which would be forgotten";
      }
    }
  }
  int unsent = 0;
  if (protocol.starts_with("UDP") && option(socket, IPPROTO_UDP, UDP_CORK) != 0 &&
      ::ioctl(socket, SIOCOUTQ, &unsent) == 0 && unsent > 0) {
    return "with a datagram that is not complete yet (UDP_CORK)";
  }
  return "";
}

unsigned in_flight_to(const ProcDir& proc, int number) {
  const auto info = proc.read("fdinfo/" + std::to_string(number));
  return info ? static_cast<unsigned>(std::strtoul(field(*info, "scm_fds").c_str(), nullptr, 10))
              : 0;
}

// The process runs, and may take some between the question how many there are and the look at them.
Result<std::vector<UniqueFd>> peek_all(const ProcDir& self, int socket) {
  constexpr int kTries = 20;
  for (int tries = 1;; ++tries) {
    const unsigned expected = in_flight_to(self, socket);
    if (expected == 0) return std::vector<UniqueFd>();
    auto files = fds::peek_descriptors(socket, expected);
    if (files || tries == kTries) return files;
  }
}

// A unix socket of the process, or one in flight to it; open here.
struct Seen {
  std::size_t fact;  // index
  UniqueFd socket;
};

// What it watches, by numbers of descriptors (each once), as fdinfo has it; none: it can't be told.
std::optional<std::set<int>> watched_by(const std::string& info) {
  std::set<int> numbers;
  std::istringstream lines(info);
  for (std::string line; std::getline(lines, line);) {
    constexpr std::string_view kWatched = "tfd:";
    if (!line.starts_with(kWatched)) continue;
    if (!numbers.insert(std::atoi(line.c_str() + kWatched.size())).second) return {};
  }
  return numbers;
}

// `epoll`: open here, and no descriptor of `pid`. criu makes it watch descriptors of these numbers
// of the process that has the socket.
std::string why_epoll_stays(const ProcDir& self, int epoll, pid_t pid) {
  const auto info = self.read("fdinfo/" + std::to_string(epoll));
  const auto watched = info ? watched_by(*info) : std::nullopt;
  const bool its_own =
      watched && std::ranges::all_of(*watched, [&](int number) {
        const kcmp_epoll_slot slot{
            .efd = static_cast<unsigned>(epoll), .tfd = static_cast<unsigned>(number), .toff = 0};
        return ::syscall(SYS_kcmp, pid, self.pid(), KCMP_EPOLL_TFD, number, &slot) == 0;
      });
  return its_own ? "" : "that watches what it has under another number, or not at all";
}

// Adds what is in flight to the sockets of `fds`, to those in flight, and so on.
Result<std::vector<Seen>> see_all(const ProcDir& proc, std::vector<FdFact>& fds) {
  const Taker taker(proc.pid());
  SSI_ASSIGN(const ProcDir self, ProcDir::open(::getpid()));
  std::vector<Seen> seen;
  std::set<std::uint64_t> looked_at;
  for (std::size_t i = 0; i < fds.size(); ++i) {  // grows meanwhile
    if (fds[i].kind != FdKind::kUnixSocket || fds[i].in_flight) continue;
    UniqueFd socket = taker.take(fds[i].number);
    struct stat st {};
    if (!socket || ::fstat(*socket, &st) != 0 || !S_ISSOCK(st.st_mode)) continue;  // closed by now
    fds[i].inode = st.st_ino;  // or another one by now
    seen.push_back({i, std::move(socket)});
  }
  FileSystems systems;
  for (std::size_t i = 0; i < seen.size(); ++i) {
    const int socket = *seen[i].socket, number = fds[seen[i].fact].number;
    if (!looked_at.insert(fds[seen[i].fact].inode).second) continue;
    auto files = peek_all(self, socket);
    if (!files) {
      fds[seen[i].fact].why_not = "with descriptors in its queue that can't be looked at";
      continue;
    }
    for (UniqueFd& file : *files) {
      SSI_ASSIGN(FdFact fd, read_fd(self, std::to_string(*file), 0, proc, systems));
      fd.number = number;
      fd.in_flight = true;
      if (fd.kind == FdKind::kEpoll) fd.why_not = why_epoll_stays(self, *file, proc.pid());
      fds.push_back(std::move(fd));
      if (fds.back().kind == FdKind::kUnixSocket) seen.push_back({fds.size() - 1, std::move(file)});
    }
  }
  return seen;
}

// The kernel says who was at the other end when they were connected. criu connects them anew, as
// root; a process that asks is not to take somebody else for itself.
std::string why_not_peer(int socket, pid_t pid) {
  ucred peer{};
  socklen_t size = sizeof peer;
  constexpr auto kNobody = static_cast<uid_t>(-1);  // datagrams: nobody was asked
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0 || peer.uid == 0 ||
      peer.uid == kNobody) {
    return "";
  }
  std::istringstream own(proc_status_line(pid, "Uid"));  // real, effective, saved
  for (uid_t uid = 0; own >> uid;) {
    if (uid == peer.uid) return "";
  }
  return "that was connected by another user than the process is";
}

void add_open_sockets(const ProcDir& proc, std::set<fds::SocketInode>& inodes) {
  const auto numbers = proc.list("fd");
  if (!numbers) return;
  for (const std::string& number : *numbers) {
    const auto target = proc.link("fd/" + number);
    const auto inode = target ? fds::socket_inode(*target) : std::nullopt;
    if (inode) inodes.insert(*inode);
  }
}

// Has its file another name than the one that it was bound to? Another way there is none.
bool was_renamed(const ProcDir& proc, const std::string& name, const std::string& path) {
  if (name.empty() || name.front() == '\0' || path.empty() || name == path) return false;
  if (name.front() != '/') {
    return !path.ends_with("/" + name.substr(name.starts_with("./") ? 2 : 0));
  }
  const auto now = proc.status("root" + path);
  if (!now) return false;  // out of its sight
  const auto bound = proc.status("root" + name);
  return !bound || bound->st_ino != now->st_ino || bound->st_dev != now->st_dev;
}

// criu binds it by its name, which it takes from the kernel: the one that was bound. It can be told
// another.
std::string why_not_renamed(const std::string& name, const std::string& path) {
  if (name.front() != '/') {
    return "whose file was renamed to " + path + ", and whose name is relative";
  }
  if (path.size() >= sizeof(sockaddr_un::sun_path)) {
    return "whose file was renamed to a name that is too long to be bound again";
  }
  return {};
}

}  // namespace

std::string socket_protocol(const std::string& path) {
  char name[64] = {};
  const ssize_t size = ::getxattr(path.c_str(), "system.sockprotoname", name, sizeof name - 1);
  return size > 0 ? name : "";
}

FdKind socket_kind(const std::string& protocol) {
  if (protocol.starts_with("UNIX")) return FdKind::kUnixSocket;
  if (protocol == "NETLINK") return FdKind::kNetlinkSocket;
  for (const std::string_view inet : {"TCP", "TCPv6", "UDP", "UDPv6", "UDP-Lite", "UDPLITEv6",
                                      "RAW", "RAWv6", "PING", "PINGv6", "MPTCP", "MPTCPv6"}) {
    if (protocol == inet) return FdKind::kInetSocket;
  }
  return FdKind::kOtherSocket;
}

Result<std::optional<SocketWords>> words_of_socket(int socket) {
  const std::string list = list_of(socket);
  if (list.empty()) return Error(ErrorCode::kUsage, "a socket of another kind");
  sockaddr_storage name{};
  socklen_t size = sizeof name;
  if (::getsockname(socket, reinterpret_cast<sockaddr*>(&name), &size) != 0) {
    return Error::from_errno("getsockname");
  }
  const auto local = endpoint_of(name);
  if (!local || local->port == 0) return std::optional<SocketWords>();
  const bool v6 = list.ends_with("6");
  std::optional<net::Endpoint> remote = net::Endpoint{v6 ? "::" : "0.0.0.0", 0};
  size = sizeof name;
  if (::getpeername(socket, reinterpret_cast<sockaddr*>(&name), &size) == 0) {
    remote = endpoint_of(name);
  }
  const bool listening = option(socket, SOL_SOCKET, SO_ACCEPTCONN) == 1;
  if (list.starts_with("tcp") && !listening) {
    tcp_info info{};
    size = sizeof info;
    if (::getsockopt(socket, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) {
      return Error::from_errno("TCP_INFO");
    }
    if (info.tcpi_state == TCP_CLOSE) return std::optional<SocketWords>();
    // Of one that is being connected, or was cut off, getpeername says nothing.
    if (remote->port == 0) return Error(ErrorCode::kUsage, "a connection that does not stand");
  }
  return std::optional(socket_words(list, *local, *remote, listening));
}

void add_inet_facts(const ProcDir& proc, std::vector<FdFact>& fds) {
  const auto is_inet = [](const FdFact& fd) { return fd.kind == FdKind::kInetSocket; };
  if (std::ranges::none_of(fds, is_inet)) return;
  const Taker taker(proc.pid());
  std::optional<SocketTable> sockets;  // of those that don't tell themselves
  for (FdFact& fd : fds) {
    if (!is_inet(fd)) continue;
    const UniqueFd taken = taker.take(fd.number);
    auto words = taken ? words_of_socket(*taken) : Error(ErrorCode::kGone, "closed by now");
    if (!words) {
      if (!sockets) sockets = read_inet_sockets(proc);
      const auto listed = sockets->find(fd.inode);
      words = listed == sockets->end() ? std::nullopt : std::optional(listed->second);
    }
    if (*words) {
      fd.details = (*words)->details;
      fd.listening = (*words)->listening;
      fd.socket = (*words)->socket;
    }
    if (taken) {
      fd.why_not = why_not_inet(*taken, fd.protocol);
      if (fd.socket && fd.socket->local.address == "::" &&
          option(*taken, IPPROTO_IPV6, IPV6_V6ONLY) == 0) {
        fd.socket->local.address = "*";  // those who come by IPv4 are its, too
      }
    }
  }
}

void add_netlink_facts(const ProcDir& proc, std::vector<FdFact>& fds) {
  const Taker taker(proc.pid());
  for (FdFact& fd : fds) {
    if (fd.kind != FdKind::kNetlinkSocket) continue;
    const UniqueFd taken = taker.take(fd.number);
    if (!taken) continue;  // closed by now
    auto socket = fds::read_netlink_socket(*taken, proc.pid());
    for (int tries = 0; socket.unread && tries < kLooksForAnswer; ++tries) {
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
      socket = fds::read_netlink_socket(*taken, proc.pid());
    }
    fd.why_not = fds::why_netlink_stays(socket);
  }
}

Result<> add_unix_facts(const ProcDir& proc, std::vector<FdFact>& fds) {
  const auto is_unix = [](const FdFact& fd) { return fd.kind == FdKind::kUnixSocket; };
  if (std::ranges::none_of(fds, is_unix)) return {};
  SSI_ASSIGN(const auto seen, see_all(proc, fds));
  SSI_ASSIGN(const fds::UnixTable table, fds::read_unix_sockets(proc.pid()));
  std::set<fds::SocketInode> inside;
  for (const FdFact& fd : fds) {
    if (is_unix(fd)) inside.insert(fd.inode);
  }
  // It runs, and may have opened some since then; what is true is asked when it stands still.
  add_open_sockets(proc, inside);
  for (const Seen& one : seen) {
    FdFact& fd = fds[one.fact];
    const auto socket = table.find(fd.inode);
    if (socket == table.end()) {
      fd.why_not = "of another network namespace than its own";
      continue;
    }
    fd.details = words(socket->second);
    fd.socket_type = static_cast<std::uint32_t>(option(*one.socket, SOL_SOCKET, SO_TYPE));
    fd.listening = socket->second.state == fds::UnixSocket::State::kListening;
    const fds::UnixSocketState state = fds::read_state(*one.socket);
    fd.named_at = address_at_home(socket->second, state);
    fd.named_sender = state.named_sender;
    const bool connection =
        socket->second.is_pair() && socket->second.state == fds::UnixSocket::State::kConnected;
    if (!connection) {
      fd.former_path = state.former_path;
      if (was_renamed(proc, socket->second.name, state.path)) {
        fd.renamed_to = state.path;
        fd.why_not = why_not_renamed(socket->second.name, state.path);
      }
    }
    // Whoever else waits at one that listens waits at home's.
    fd.peers = fd.named_at.empty() ? outer_peers(socket->second, table, inside)
                                   : peers_to_answer(socket->second, table, inside);
    fd.clients = clients_of(socket->second, table);
    fd.has_own_clients = std::ranges::any_of(
        fd.clients, [&](fds::SocketInode client) { return inside.contains(client); });
    fd.waits_inside = std::ranges::any_of(socket->second.waiting,
                                          [&](auto waiting) { return inside.contains(waiting); });
    const bool loaded = std::ranges::any_of(
        fds, [&](const FdFact& other) { return other.in_flight && other.number == fd.number; });
    if (loaded && !fd.named_at.empty() && fd.socket_type == SOCK_DGRAM) {
      fd.why_not = "with descriptors in its queue";
    }
    fd.why_not_relayed = why_not_relayed(socket->second, state, loaded, fd.peers, table);
    if (fd.why_not.empty()) fd.why_not = why_not(socket->second, state, table).value_or("");
    if (fd.why_not.empty() && inside.contains(socket->second.peer)) {
      fd.why_not = why_not_peer(*one.socket, proc.pid());
    }
  }
  return {};
}

}  // namespace ssi::check
