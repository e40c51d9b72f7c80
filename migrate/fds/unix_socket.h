// Unix sockets: what the kernel knows of one, and which of them can go with a process. Pure.
//
// criu rebuilds a socket together with its peer: both have to move, and nobody who stays may know
// either of them, by its other end or by its name.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace ssi::fds {

using SocketInode = std::uint64_t;

struct UnixSocket {
  enum class Type : std::uint8_t { kStream, kDatagram, kSeqpacket };
  enum class State : std::uint8_t { kOpen, kConnected, kListening };

  SocketInode inode = 0;
  Type type = Type::kStream;
  State state = State::kOpen;
  SocketInode peer = 0;  // 0: none, or one that was not accepted yet
  std::string name;      // as bound; abstract ones begin with a zero byte; empty: none
  // Listening: those who wait to be accepted; 0 for one that has gone again.
  std::vector<SocketInode> waiting{};
  std::uint32_t unread_bytes = 0;
  std::uint32_t unsent_bytes = 0;  // on their way to the peer; with what the kernel needs for them

  // Of one that listens the kernel tells it there.
  std::uint32_t backlog() const { return state == State::kListening ? unsent_bytes : 0; }
  bool is_abstract() const { return name.starts_with('\0'); }
  // Both ends know each other, for good.
  bool is_pair() const { return type != Type::kDatagram; }
};

// All of one network namespace. (Those with a name in the file system are reached from others,
// too.)
using UnixTable = std::map<SocketInode, UnixSocket>;

// What only the socket itself tells.
struct UnixSocketState {
  bool name_deleted = false;     // its file: nobody can find it any more
  bool labels_messages = false;  // what is received comes with credentials, a time or the like
  bool named_sender = false;     // a datagram waits that came from a socket with a name
  std::string path{};            // of its file, from the root on; empty: it has none any more
  std::string former_path{};     // of a deleted one: something else may be there by now
};

// A socket that others find by its name, and whose clients (of one for datagrams: these) home can
// send on to where it goes. Streams: one that listens, or may begin to. Its address, for
// connect(2): the path of its file, or its abstract name. Empty: it is none.
std::string address_at_home(const UnixSocket& socket, const UnixSocketState& state);

// "unnamed", "/run/x.sock", "@name"
std::string words(const UnixSocket& socket);

// Datagram sockets: those that are connected with it.
std::vector<SocketInode> clients_of(const UnixSocket& socket, const UnixTable& table);

// A datagram socket with such an address: those that are not `inside` and to which it would send:
// its own peer, and clients that have a name.
std::vector<SocketInode> peers_to_answer(const UnixSocket& socket, const UnixTable& table,
                                         const std::set<SocketInode>& inside);

// Sockets that are not `inside` (of what moves) and that are connected with this one, or wait to
// be.
std::vector<SocketInode> outer_peers(const UnixSocket& socket, const UnixTable& table,
                                     const std::set<SocketInode>& inside);

// Why what it says to `peers`, which stay, can't be relayed; to be put behind who they are. Empty:
// it can. `in_flight`: there are descriptors in its queue.
std::string why_not_relayed(const UnixSocket& socket, const UnixSocketState& state, bool in_flight,
                            const std::vector<SocketInode>& peers, const UnixTable& table);

// Why it could not even go together with all who know it; as the end of a sentence that begins with
// the socket. None: it could.
std::optional<std::string> why_not(const UnixSocket& socket, const UnixSocketState& state,
                                   const UnixTable& table);

}  // namespace ssi::fds
