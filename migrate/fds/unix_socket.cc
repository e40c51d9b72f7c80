#include "migrate/fds/unix_socket.h"

#include <algorithm>

namespace ssi::fds {
namespace {

// Connected, and neither accepted nor shut down.
bool awaits_acceptance(const UnixSocket& s) {
  return s.is_pair() && s.state == UnixSocket::State::kConnected && s.peer == 0;
}

const UnixSocket* listener_of(const UnixSocket& s, const UnixTable& table) {
  for (const auto& [inode, other] : table) {
    if (std::ranges::find(other.waiting, s.inode) != other.waiting.end()) return &other;
  }
  return nullptr;
}

// Anybody may look for it by its name: to connect, or to send something.
bool is_found_by_name(const UnixSocket& s, const UnixSocketState& state) {
  if (s.name.empty() || state.name_deleted) return false;
  return s.state != UnixSocket::State::kConnected || !s.is_pair();
}

}  // namespace

std::string words(const UnixSocket& socket) {
  if (socket.name.empty()) return "unnamed";
  std::string text = socket.name;
  std::ranges::replace(text, '\0', '@');
  return text;
}

std::string address_at_home(const UnixSocket& s, const UnixSocketState& state) {
  if (s.is_pair() && s.state == UnixSocket::State::kConnected) return "";
  if (!is_found_by_name(s, state) || state.labels_messages) return "";
  return s.is_abstract() ? s.name : state.path;
}

std::vector<SocketInode> clients_of(const UnixSocket& s, const UnixTable& table) {
  std::vector<SocketInode> clients;
  if (s.type != UnixSocket::Type::kDatagram) return clients;
  for (const auto& [inode, other] : table) {
    if (other.peer == s.inode) clients.push_back(inode);
  }
  return clients;
}

std::vector<SocketInode> peers_to_answer(const UnixSocket& s, const UnixTable& table,
                                         const std::set<SocketInode>& inside) {
  std::vector<SocketInode> peers;
  if (s.type != UnixSocket::Type::kDatagram) return peers;
  if (s.peer != 0 && !inside.contains(s.peer)) peers.push_back(s.peer);
  for (const SocketInode client : clients_of(s, table)) {
    if (!inside.contains(client) && !table.at(client).name.empty()) peers.push_back(client);
  }
  return peers;
}

std::vector<SocketInode> outer_peers(const UnixSocket& socket, const UnixTable& table,
                                     const std::set<SocketInode>& inside) {
  std::set<SocketInode> outer;
  const auto add = [&](SocketInode peer) {
    if (peer != 0 && !inside.contains(peer)) outer.insert(peer);
  };
  add(socket.peer);
  for (const SocketInode waiting : socket.waiting) add(waiting);
  for (const auto& [inode, other] : table) {
    if (other.peer == socket.inode) add(inode);
  }
  if (awaits_acceptance(socket)) {
    if (const UnixSocket* listener = listener_of(socket, table)) add(listener->inode);
  }
  return {outer.begin(), outer.end()};
}

std::string why_not_relayed(const UnixSocket& s, const UnixSocketState& state, bool in_flight,
                            const std::vector<SocketInode>& peers, const UnixTable& table) {
  if (!s.is_pair() && !s.name.empty()) return "by datagrams that it could not answer";
  if (peers.size() != 1 || s.peer != peers.front() || !table.contains(s.peer)) {
    return "who waits there";
  }
  if (!s.is_pair() && (table.at(s.peer).peer == s.inode || s.unread_bytes > 0)) {
    return "who sends it datagrams, which are not relayed yet";
  }
  if (in_flight) return "with descriptors in its queue";
  if (state.labels_messages) return "which is asked for its identity with each message";
  return "";
}

std::optional<std::string> why_not(const UnixSocket& s, const UnixSocketState& state,
                                   const UnixTable& table) {
  if (is_found_by_name(s, state) && state.labels_messages) {
    return "whose clients are asked for their identity with each message";
  }
  if (is_found_by_name(s, state) && address_at_home(s, state).empty()) {
    return "that others reach by its name, and that name stays on this machine";
  }
  // Only its peer may send to it, and home's carrier is not that one.
  if (!s.is_pair() && is_found_by_name(s, state) && s.peer != 0 && s.unread_bytes > 0) {
    return "with unread datagrams of the one to whom it speaks";
  }
  if (std::ranges::find(s.waiting, SocketInode{0}) != s.waiting.end()) {
    return "to which somebody connected who is gone again";
  }
  if (awaits_acceptance(s) && s.unsent_bytes > 0 && listener_of(s, table) != nullptr) {
    return "that has sent something before it was accepted";
  }
  if (state.labels_messages && s.unread_bytes > 0) {
    return "with unread messages that say who sent them, or when";
  }
  return {};
}

}  // namespace ssi::fds
