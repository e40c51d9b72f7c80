#include "migrate/fds/unix_socket.h"

#include <doctest/doctest.h>

namespace ssi::fds {
namespace {

using Type = UnixSocket::Type;
using State = UnixSocket::State;

UnixTable table_of(std::initializer_list<UnixSocket> sockets) {
  UnixTable table;
  for (const UnixSocket& s : sockets) table[s.inode] = s;
  return table;
}

std::string reason(const UnixSocket& s, const UnixTable& table = {}, UnixSocketState state = {}) {
  return why_not(s, state, table).value_or("");
}

}  // namespace

TEST_CASE("names as words") {
  CHECK(words({}) == "unnamed");
  CHECK(words({.name = "/run/x.sock"}) == "/run/x.sock");
  CHECK(words({.name = std::string("\0a\0b", 4)}) == "@a@b");
}

TEST_CASE("a pair knows only itself") {
  const auto all = table_of({{.inode = 1, .state = State::kConnected, .peer = 2},
                             {.inode = 2, .state = State::kConnected, .peer = 1},
                             {.inode = 3, .state = State::kConnected, .peer = 4}});
  CHECK(outer_peers(all.at(1), all, {1, 2}).empty());
  CHECK(outer_peers(all.at(1), all, {1}) == std::vector<SocketInode>{2});
  CHECK(reason(all.at(1), all).empty());
}

TEST_CASE("who sends to a datagram socket is its peer, too, whether it knows or not") {
  const auto all = table_of(
      {{.inode = 1, .type = Type::kDatagram}, {.inode = 2, .type = Type::kDatagram, .peer = 1}});
  CHECK(outer_peers(all.at(1), all, {1}) == std::vector<SocketInode>{2});
  CHECK(outer_peers(all.at(1), all, {1, 2}).empty());
}

TEST_CASE("a peer that is in no table stays, too") {
  const UnixSocket s{.inode = 1, .state = State::kConnected, .peer = 77};
  CHECK(outer_peers(s, {}, {1}) == std::vector<SocketInode>{77});
}

TEST_CASE("who waits to be accepted, and by whom") {
  auto all = table_of({{.inode = 1, .state = State::kListening, .waiting = {2}},
                       {.inode = 2, .state = State::kConnected}});
  CHECK(outer_peers(all.at(1), all, {1}) == std::vector<SocketInode>{2});
  CHECK(outer_peers(all.at(2), all, {2}) == std::vector<SocketInode>{1});
  CHECK(outer_peers(all.at(2), all, {1, 2}).empty());
  CHECK(reason(all.at(2), all).empty());
  all[2].unsent_bytes = 768;
  CHECK(reason(all.at(2), all) == "that has sent something before it was accepted");
  all[1].waiting = {0};
  CHECK(reason(all.at(1), all) == "to which somebody connected who is gone again");
  CHECK(reason(all.at(2), all).empty());  // shut down by now
}

TEST_CASE("one whose name others may use is reached at home, which sends its clients on") {
  for (const Type type : {Type::kStream, Type::kSeqpacket, Type::kDatagram}) {
    UnixSocket s{.inode = 1, .type = type, .name = "x"};  // it may begin to listen
    if (type != Type::kDatagram) CHECK(address_at_home(s, {.path = "/run/x"}) == "/run/x");
    s.state = type == Type::kDatagram ? State::kOpen : State::kListening;
    CHECK(address_at_home(s, {.path = "/run/x"}) == "/run/x");
    CHECK(reason(s, {}, {.path = "/run/x"}).empty());
    UnixSocket abstract = s;
    abstract.name = std::string("\0x", 2);
    CHECK(address_at_home(abstract, {}) == abstract.name);
    CHECK(reason(abstract).empty());
    CHECK(address_at_home(s, {.name_deleted = true}).empty());
    CHECK(reason(s, {}, {.name_deleted = true}).empty());
    CHECK(address_at_home(s, {.labels_messages = true, .path = "/run/x"}).empty());
    CHECK(reason(s, {}, {.labels_messages = true, .path = "/run/x"}) ==
          "whose clients are asked for their identity with each message");
  }
  CHECK(reason({.inode = 1, .state = State::kListening}).empty());
  CHECK(reason({.inode = 1, .state = State::kConnected, .name = "/run/x"}).empty());
  CHECK(address_at_home({.state = State::kConnected, .name = "x"}, {.path = "/run/x"}).empty());
  const UnixSocket unlinked{.inode = 1, .state = State::kListening, .name = "/run/x"};
  CHECK(reason(unlinked, {}, {.name_deleted = true}).empty());
}

TEST_CASE("datagrams that could not be answered") {
  const auto table = table_of({{.inode = 1, .type = Type::kDatagram, .name = "x"},
                               {.inode = 2, .type = Type::kDatagram, .peer = 1},
                               {.inode = 3, .type = Type::kDatagram, .peer = 1, .name = "me"},
                               {.inode = 4, .type = Type::kDatagram, .peer = 3, .name = "y"}});
  const auto peers = [&](SocketInode of, const std::set<SocketInode>& inside) {
    return peers_to_answer(table.at(of), table, inside);
  };
  CHECK(peers(1, {1, 3}).empty());
  CHECK(peers(1, {1}) == std::vector<SocketInode>{3});
  CHECK(peers(4, {4}) == std::vector<SocketInode>{3});
  CHECK(peers(4, {3, 4}).empty());
  CHECK(why_not_relayed(table.at(4), {}, false, {3}, table) ==
        "by datagrams that it could not answer");
  CHECK(clients_of(table.at(1), table) == std::vector<SocketInode>{2, 3});
  UnixSocket unread = table.at(4);
  unread.unread_bytes = 1;
  CHECK(reason(unread, {}, {.path = "/y"}) == "with unread datagrams of the one to whom it speaks");
}

TEST_CASE("datagrams to one who stays can be relayed, not back") {
  const auto table = table_of({{.inode = 1, .type = Type::kDatagram, .name = "log"},
                               {.inode = 2, .type = Type::kDatagram, .peer = 1},
                               {.inode = 3, .type = Type::kDatagram, .peer = 4},
                               {.inode = 4, .type = Type::kDatagram, .peer = 3}});
  CHECK(why_not_relayed(table.at(2), {}, false, {1}, table).empty());
  CHECK(why_not_relayed(table.at(3), {}, false, {4}, table) ==
        "who sends it datagrams, which are not relayed yet");
  UnixSocket unread = table.at(2);
  unread.unread_bytes = 1;
  CHECK(why_not_relayed(unread, {}, false, {1}, table) ==
        "who sends it datagrams, which are not relayed yet");
}

TEST_CASE("a stream to one who stays can be relayed") {
  const auto all = table_of({{.inode = 1, .state = State::kConnected, .peer = 2},
                             {.inode = 2, .state = State::kConnected, .peer = 1},
                             {.inode = 3, .state = State::kConnected, .peer = 9}});
  CHECK(why_not_relayed(all.at(1), {}, false, {2}, all).empty());
  CHECK(why_not_relayed(all.at(1), {}, true, {2}, all) == "with descriptors in its queue");
  CHECK(why_not_relayed(all.at(1), {.labels_messages = true}, false, {2}, all) ==
        "which is asked for its identity with each message");
  CHECK(why_not_relayed(all.at(1), {}, false, {2, 3}, all) == "who waits there");
  CHECK(why_not_relayed(all.at(3), {}, false, {9}, all) == "who waits there");
  UnixSocket messages = all.at(1);
  messages.type = Type::kSeqpacket;
  CHECK(why_not_relayed(messages, {}, false, {2}, all).empty());
}

TEST_CASE("messages with credentials can't be put back") {
  UnixSocket s{.inode = 1, .type = Type::kDatagram, .unread_bytes = 4};
  CHECK(reason(s, {}, {.labels_messages = true}) ==
        "with unread messages that say who sent them, or when");
  s.unread_bytes = 0;
  CHECK(reason(s, {}, {.labels_messages = true}).empty());
}

}  // namespace ssi::fds
