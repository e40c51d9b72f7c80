#include "migrate/check/socket_facts.h"

#include <doctest/doctest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <iterator>

#include "ssid/base/unique_fd.h"

namespace ssi::check {

TEST_CASE("a socket says of itself what the list says of it") {
  const auto listed = [](int socket, const char* list) {
    struct stat st {};
    REQUIRE(::fstat(socket, &st) == 0);
    std::ifstream in(std::string("/proc/self/net/") + list);
    SocketTable table;
    add_inet_sockets(table, list, {std::istreambuf_iterator<char>(in), {}});
    const auto found = table.find(st.st_ino);
    return found == table.end() ? std::nullopt : std::optional(found->second);
  };
  const auto same = [&](int socket, const char* list) {
    const auto told = words_of_socket(socket);
    REQUIRE(told.ok());
    const auto expected = listed(socket, list);
    REQUIRE(told->has_value() == expected.has_value());
    if (!expected) return;
    CHECK((*told)->details == expected->details);
    CHECK((*told)->listening == expected->listening);
    CHECK((*told)->socket == expected->socket);
  };
  for (const int family : {AF_INET, AF_INET6}) {
    const bool v6 = family == AF_INET6;
    const UniqueFd listener(::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const UniqueFd client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    same(*listener, v6 ? "tcp6" : "tcp");  // neither knows it
    sockaddr_storage any{};
    any.ss_family = static_cast<sa_family_t>(family);
    REQUIRE(::bind(*listener, reinterpret_cast<sockaddr*>(&any), sizeof any) == 0);
    same(*listener, v6 ? "tcp6" : "tcp");
    REQUIRE(::listen(*listener, 5) == 0);
    same(*listener, v6 ? "tcp6" : "tcp");
    socklen_t size = sizeof any;
    REQUIRE(::getsockname(*listener, reinterpret_cast<sockaddr*>(&any), &size) == 0);
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = v6 ? reinterpret_cast<sockaddr_in6&>(any).sin6_port
                     : reinterpret_cast<sockaddr_in&>(any).sin_port;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(::connect(*client, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0);
    const UniqueFd accepted(::accept4(*listener, nullptr, nullptr, SOCK_CLOEXEC));
    same(*client, "tcp");
    same(*accepted, v6 ? "tcp6" : "tcp");  // an IPv4 address in IPv6's clothes
    ::shutdown(*client, SHUT_WR);
    same(*client, "tcp");
    same(*accepted, v6 ? "tcp6" : "tcp");
    const UniqueFd datagrams(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    same(*datagrams, "udp");
    to.sin_port = 0;
    REQUIRE(::bind(*datagrams, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0);
    same(*datagrams, "udp");
    to.sin_port = htons(9);
    REQUIRE(::connect(*datagrams, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0);
    same(*datagrams, "udp");
  }
  int pair[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
  CHECK(words_of_socket(pair[0]).error().code() == ErrorCode::kUsage);
  ::close(pair[0]);
  ::close(pair[1]);
}

}  // namespace ssi::check
