#include "migrate/net/moved_socket.h"

#include <arpa/inet.h>
#include <doctest/doctest.h>

namespace ssi::net {

TEST_CASE("a socket's text is read back") {
  for (const char* text :
       {"tcp 10.77.0.1:7000", "udp 0.0.0.0:53", "tcp 127.0.0.1:41000 127.0.0.1:80", "tcp [::1]:80",
        "udp [fd00::1]:53 [fd00::2]:4000", "udplite 0.0.0.0:53", "udplite *:53 10.77.0.9:1",
        "tcp [::]:80", "tcp *:80"}) {
    const auto socket = parse_moved_socket(text);
    REQUIRE(socket);
    CHECK(to_string(*socket) == text);
  }
}

TEST_CASE("a text that is no socket is refused") {
  for (const char* text :
       {"", "tcp", "tcp 10.77.0.1", "tcp 10.77.0.1:0", "tcp 10.77.0.1:65536", "tcp 10.77.0.1:1x",
        "sctp 10.77.0.1:1", "udplite", "udplite6 [::1]:1", "icmp 10.77.0.1:1", "tcp 10.77.0:1",
        "tcp ::1:1", "tcp [10.77.0.1]:1", "tcp [::1:1", "tcp []:1", "tcp [*]:1",
        "tcp [fe80::1%lo]:1", "tcp 1.1.1.1:1 2.2.2.2:2 3.3.3.3:3", "tcp 1.1.1.1:1; } 2.2.2.2:2"}) {
    CHECK_MESSAGE(!parse_moved_socket(text), text);
  }
}

TEST_CASE("who sent a packet") {
  std::vector<std::uint8_t> packet(40);
  packet[0] = 0x45;
  packet[9] = 6;
  const std::uint8_t addresses[] = {10, 77, 0, 1, 10, 77, 0, 9};
  std::copy(std::begin(addresses), std::end(addresses), packet.begin() + 12);
  packet[20] = 0x1b, packet[21] = 0x58;  // 7000
  packet[22] = 0, packet[23] = 80;
  CHECK(sent_by(*parse_moved_socket("tcp 10.77.0.1:7000"), packet));
  CHECK(sent_by(*parse_moved_socket("tcp 0.0.0.0:7000"), packet));
  CHECK(sent_by(*parse_moved_socket("tcp 10.77.0.1:7000 10.77.0.9:80"), packet));
  CHECK(!sent_by(*parse_moved_socket("tcp 10.77.0.1:7000 10.77.0.9:81"), packet));
  CHECK(!sent_by(*parse_moved_socket("udp 10.77.0.1:7000"), packet));
  CHECK(!sent_by(*parse_moved_socket("udplite 10.77.0.1:7000"), packet));
  CHECK(!sent_by(*parse_moved_socket("tcp 10.77.0.2:7000"), packet));
  for (std::size_t size = 0; size < 24; ++size) {
    CHECK(!sent_by(*parse_moved_socket("tcp 10.77.0.1:7000"), std::span(packet).first(size)));
  }
  packet[9] = 136;
  CHECK(sent_by(*parse_moved_socket("udplite 10.77.0.1:7000"), packet));
  CHECK(!sent_by(*parse_moved_socket("udp 10.77.0.1:7000"), packet));
}

TEST_CASE("who sent an IPv6 packet") {
  std::vector<std::uint8_t> packet(60);
  packet[0] = 0x60;
  packet[6] = 17;
  packet[23] = 1;                        // from ::1
  packet[24] = 0xfd, packet[39] = 2;     // to fd00::2
  packet[40] = 0x1b, packet[41] = 0x58;  // 7000
  packet[42] = 0, packet[43] = 80;
  for (const char* text :
       {"udp [::1]:7000", "udp [::]:7000", "udp *:7000", "udp [::1]:7000 [fd00::2]:80"}) {
    CHECK_MESSAGE(sent_by(*parse_moved_socket(text), packet), text);
  }
  for (const char* text : {"tcp [::1]:7000", "udp [::2]:7000", "udp 0.0.0.0:7000",
                           "udp [::1]:7000 [fd00::2]:81", "udp [::1]:7000 [fd00::1]:80"}) {
    CHECK_MESSAGE(!sent_by(*parse_moved_socket(text), packet), text);
  }
  for (std::size_t size = 0; size < 44; ++size) {
    CHECK(!sent_by(*parse_moved_socket("udp [::1]:7000"), std::span(packet).first(size)));
  }
  in6_addr alias;
  REQUIRE(::inet_pton(AF_INET6, kLoopbackAlias, &alias) == 1);
  std::copy(std::begin(alias.s6_addr), std::end(alias.s6_addr), packet.begin() + 8);
  CHECK(sent_by(*parse_moved_socket("udp [::1]:7000"), packet));
}

}  // namespace ssi::net
