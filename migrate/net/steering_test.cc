#include "migrate/net/steering.h"

#include <doctest/doctest.h>

namespace ssi::net {
namespace {

constexpr NodeId kHome{1}, kSecond{2}, kThird{3};
constexpr const char* kConnection = "10.77.0.1 . tcp . 7000 . 10.77.0.9 . 41000";

Steering one(Placement p) {
  p.sockets = {*parse_moved_socket("tcp 10.77.0.1:7000 10.77.0.9:41000")};
  return {.home = kHome,
          .tunnels = {kSecond, kThird},
          .addresses = {"10.77.0.1", "fd00::1", "127.0.0.1", "::1"},
          .guests = {{{kHome, 70041}, std::move(p)}}};
}

// What a map or set is filled with.
std::string content(const Steering& all, const std::string& name,
                    const std::string& family = "ip") {
  const std::string text = ruleset(all), start = "add element " + family + " ssid " + name + " { ";
  const std::size_t at = text.find(start);
  if (at == std::string::npos) return "";
  return text.substr(at + start.size(), text.find(" }", at) - at - start.size());
}

std::string element(const std::string& data) { return kConnection + (" : " + data); }

}  // namespace

TEST_CASE("away: its packets go there, it may speak from there, and nobody else for it") {
  const auto all = one({.place = kSecond});
  CHECK(content(all, "to") == element(std::to_string(mark_of(kSecond))));
  CHECK(content(all, "own_2") == kConnection);
  CHECK(content(all, "own_3").empty());
  CHECK(content(all, "mute") == element("drop"));
  CHECK(content(all, "mute_home") == element("drop"));
}

TEST_CASE("on its way out: what comes waits, the source may speak, the target has to wait") {
  const auto all = one({.place = kHome, .target = kSecond});
  CHECK(content(all, "to") == element(std::to_string(kHoldMark)));
  CHECK(content(all, "own_2").empty());
  CHECK(content(all, "mute") == element("goto hold"));
  CHECK(content(all, "mute_home").empty());
}

TEST_CASE("on its way home: the copy at home has to wait") {
  const auto all = one({.place = kSecond, .target = kHome});
  CHECK(content(all, "to") == element(std::to_string(kHoldMark)));
  CHECK(content(all, "own_2") == kConnection);
  CHECK(content(all, "mute_home") == element("goto hold"));
}

TEST_CASE("from node to node: home itself stays silent") {
  const auto all = one({.place = kSecond, .target = kThird});
  CHECK(content(all, "own_2") == kConnection);
  CHECK(content(all, "own_3").empty());
  CHECK(content(all, "mute") == element("goto hold"));
  CHECK(content(all, "mute_home") == element("drop"));
}

TEST_CASE("back home: nothing is steered, and where it was is not believed any more") {
  const auto all = one({.place = kHome});
  CHECK(content(all, "to").empty());
  CHECK(content(all, "mute") == element("drop"));
  CHECK(content(all, "mute_home").empty());
  CHECK(ruleset(all).find(std::string("delete element ip ssid learned_2 { ") + kConnection) !=
        std::string::npos);
}

TEST_CASE("a socket of all addresses is one of each") {
  auto all = one({.place = kSecond});
  all.guests.begin()->second.sockets = {*parse_moved_socket("tcp 0.0.0.0:80")};
  const std::string mark = std::to_string(mark_of(kSecond));
  CHECK(content(all, "ports") ==
        "10.77.0.1 . tcp . 80 : " + mark + ", 127.0.0.1 . tcp . 80 : " + mark);
  CHECK(content(all, "own_ports_2") == "10.77.0.1 . tcp . 80, 127.0.0.1 . tcp . 80");
}

TEST_CASE("a socket of IPv6 is in its table only, one of both families in both") {
  const std::string mark = std::to_string(mark_of(kSecond));
  auto all = one({.place = kSecond});
  auto& sockets = all.guests.begin()->second.sockets;
  CHECK(content(all, "to", "ip6").empty());
  sockets = {*parse_moved_socket("tcp [fd00::1]:7000 [fd00::9]:41000")};
  CHECK(content(all, "to").empty());
  CHECK(content(all, "to", "ip6") == "fd00::1 . tcp . 7000 . fd00::9 . 41000 : " + mark);
  const std::string ipv6 = "fd00::1 . tcp . 80 : " + mark + ", ::1 . tcp . 80 : " + mark;
  sockets = {*parse_moved_socket("tcp [::]:80")};
  CHECK(content(all, "ports").empty());
  CHECK(content(all, "ports", "ip6").size() == ipv6.size());
  sockets = {*parse_moved_socket("tcp *:80")};
  CHECK(content(all, "ports") ==
        "10.77.0.1 . tcp . 80 : " + mark + ", 127.0.0.1 . tcp . 80 : " + mark);
  CHECK(content(all, "ports", "ip6").size() == ipv6.size());
  sockets = {*parse_moved_socket("udp *:53 10.77.0.9:4000")};
  CHECK(content(all, "to", "ip6").empty());
  CHECK(content(all, "to").find("10.77.0.1 . udp . 53 . 10.77.0.9 . 4000") == 0);
  all.ipv6 = false;
  CHECK(ruleset(all).find("ip6") == std::string::npos);
}

TEST_CASE("::1 does not go by a device") {
  const std::string text = ruleset(one({.place = kSecond}));
  const std::string alias = kLoopbackAlias;
  const auto back =
      text.find("prerouting iifname \"ssid-*\" ip6 daddr " + alias + " ip6 daddr set ::1\n");
  REQUIRE(back != std::string::npos);
  CHECK(back < text.find("add rule ip6 ssid prerouting jump steer\n"));
  CHECK(text.find("leave iifname \"ssid-*\" ip6 saddr ::1 ip6 saddr set " + alias) !=
        std::string::npos);
}

TEST_CASE("what criu says to a socket that it rebuilds is neither held nor dropped") {
  const std::string text = ruleset(one({.place = kSecond, .target = kHome}));
  for (const std::string chain : {"prerouting", "output"}) {
    const std::string rule = "add rule ip ssid " + chain + " ";
    const auto criu = text.find(rule + "meta mark 49428 accept\n");
    REQUIRE(criu != std::string::npos);
    CHECK(criu < text.find(rule + "jump steer\n"));
  }
}

TEST_CASE("UDP-Lite is steered as UDP is, and not taken for it") {
  auto all = one({.place = kSecond});
  all.guests.begin()->second.sockets = {*parse_moved_socket("udplite 10.77.0.1:53"),
                                        *parse_moved_socket("udp 10.77.0.1:54 10.77.0.9:1")};
  all.guests.begin()->second.quiet = {*parse_moved_socket("udplite 10.77.0.1:53")};
  const std::string mark = std::to_string(mark_of(kSecond));
  CHECK(content(all, "ports") == "10.77.0.1 . udplite . 53 : " + mark);
  CHECK(content(all, "to") == "10.77.0.1 . udp . 54 . 10.77.0.9 . 1 : " + mark);
  CHECK(content(all, "quiet") == "10.77.0.1 . udplite . 53 : goto hold");
  const std::string text = ruleset(all);
  for (const char* chain : {"prerouting", "output"}) {
    CHECK(text.find(std::string("add rule ip ssid ") + chain +
                    " ip protocol != { tcp, udp, udplite, icmp } accept\n") != std::string::npos);
  }
}

TEST_CASE("who asked last gets the answers to pings") {
  const std::string text = ruleset(one({.place = kSecond}));
  const auto has = [&](const std::string& rule) {
    return text.find("add rule " + rule + "\n") != std::string::npos;
  };
  for (const std::string family : {"ip", "ip6"}) {
    const std::string table = family + " ssid ", icmp = family == "ip" ? "icmp" : "icmpv6";
    const std::string asked = family + " saddr . " + family + " daddr . " + icmp + " id";
    const std::string answered = family + " daddr . " + family + " saddr . " + icmp + " id";
    CHECK(has(table + "from_2 " + icmp + " type echo-request jump asks_2"));
    CHECK(has(table + "asks_2 update @pings_2 { " + asked + " }"));
    CHECK(has(table + "asks_2 delete @pings_3 { " + asked + " }"));
    CHECK(has(table + "output " + icmp + " type echo-request jump asks_0"));
    CHECK(has(table + "asks_0 delete @pings_2 { " + asked + " }"));
    for (const std::string chain : {"prerouting", "output"}) {
      CHECK(has(table + chain + " " + icmp + " type echo-reply jump steer_pings"));
    }
    CHECK(has(table + "steer_pings " + answered + " @pings_3 meta mark set " +
              std::to_string(mark_of(kThird)) + (family == "ip" ? " accept" : " goto leave")));
  }
}

TEST_CASE("a key is said once, whoever claims it") {
  auto all = one({.place = kSecond});
  all.guests[{kHome, 70042}] = all.guests.begin()->second;
  all.guests[{kHome, 70042}].place = kThird;
  CHECK(content(all, "to") == element(std::to_string(mark_of(kSecond))));
}

}  // namespace ssi::net
