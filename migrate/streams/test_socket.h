// For tests of a guest's unix sockets: names, and a connected one whose other end stays at home.
#pragma once

#include <sys/socket.h>
#include <sys/un.h>

#include <cstddef>
#include <cstring>
#include <functional>
#include <span>

#include "migrate/streams/test_net.h"

namespace ssi::migrate {

inline constexpr StreamId kOut = 1, kIn = 2;  // seen from the guest

inline bool is_root() { return ::geteuid() == 0; }

// An address in the abstract namespace.
struct AbstractName {
  sockaddr_un address{};
  socklen_t bytes = 0;
  explicit AbstractName(const std::string& name) {
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path + 1, name.data(), name.size());
    bytes = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  }
  const sockaddr* raw() const { return reinterpret_cast<const sockaddr*>(&address); }
};

// The network namespace of this process.
inline UniqueFd own_network() {
  return UniqueFd(::open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC));
}

// The process at the other end, and home, which has the guest's own socket.
struct SocketHome {
  Net net;
  int type;
  UniqueFd peer;
  std::uint64_t generation = 0;

  explicit SocketHome(int socket_type) : type(socket_type) {
    int pair[2];
    REQUIRE(::socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, pair) == 0);
    peer = UniqueFd(pair[0]);
    UniqueFd guests(pair[1]);
    UniqueFd second = duplicate(guests);
    REQUIRE(net.home.export_fd(kOut, StreamDirection::kGuestWrites, std::move(guests)).ok());
    REQUIRE(net.home.export_fd(kIn, StreamDirection::kGuestReads, std::move(second)).ok());
  }
};

// A guest on a node: what it has in place of its socket.
struct SocketGuest {
  StreamTarget& node;
  std::uint64_t generation;
  UniqueFd fd;

  SocketGuest(SocketHome& home, StreamTarget& where) : node(where), generation(++home.generation) {
    for (const StreamId id : {kOut, kIn}) {
      const auto direction =
          id == kOut ? StreamDirection::kGuestWrites : StreamDirection::kGuestReads;
      StreamTarget::Attach attach{id, generation, direction, 0, home.net.dial()};
      attach.socket = kOut;
      attach.network = own_network();
      attach.socket_type = home.type;
      auto end = node.attach(std::move(attach));
      REQUIRE(end.ok());
      fd = std::move(*end);  // the same for both
    }
  }
  void start() {
    for (const StreamId id : {kOut, kIn}) REQUIRE(node.start(id).ok());
  }
  void drain() {
    for (const StreamId id : {kOut, kIn}) REQUIRE(node.drain(id, 10'000).ok());
  }
  void resume() {
    for (const StreamId id : {kOut, kIn}) REQUIRE(node.resume(id).ok());
  }
  // It has gone on to another node.
  void leave() {
    for (const StreamId id : {kOut, kIn}) (void)node.close(id, generation).ok();
    fd.reset();
  }
};

// The guest works on one node after the other while there is more to do; some connections are lost,
// and some moves are called off. `linger`: between its work and the move.
inline void work_and_move_on(
    SocketHome& home, std::span<StreamTarget> nodes, const std::function<bool()>& is_more,
    const std::function<void(SocketGuest&)>& work, const std::function<void()>& linger = [] {}) {
  for (std::size_t i = 0; is_more(); ++i) {
    SocketGuest guest(home, nodes[i % nodes.size()]);
    guest.start();
    work(guest);
    if (i % 4 == 0) home.net.cut();
    linger();
    guest.drain();
    if (i % 3 == 0) {  // the move is called off
      guest.resume();
      work(guest);
      guest.drain();
    }
    guest.leave();
  }
}

}  // namespace ssi::migrate
