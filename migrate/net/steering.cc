#include "migrate/net/steering.h"

namespace ssi::net {
namespace {

// The words of one of the two tables.
struct Family {
  const char* name;
  const char* address_type;
  const char* protocol;  // what the packet says of it
  const char* echo;      // what a ping is, and its answer
  const char* any;       // the address of a socket of all of home's
  bool (*has)(const std::string& address);
  // How a packet leaves the rules that has its mark. With ::1 in it, one that came by a tunnel
  // would not be forwarded (kLoopbackAlias).
  const char* leave;

  std::string address_and_port(const char* address, const char* port) const {
    return std::string(name) + " " + address + " . " + protocol + " . th " + port;
  }
  std::string tuple(const char* own, const char* own_port, const char* other,
                    const char* other_port) const {
    return address_and_port(own, own_port) + " . " + name + " " + other + " . th " + other_port;
  }
  // As the guest's socket sees it: "10.77.0.1 . tcp . 7000 . 10.77.0.9 . 41000".
  std::string port_type() const {
    return "type " + std::string(address_type) + " . inet_proto . inet_service";
  }
  std::string tuple_type() const { return port_type() + " . " + address_type + " . inet_service"; }
  // What the packet says of it, sent by the guest and sent to it.
  std::string tuple_of_sender() const { return tuple("saddr", "sport", "daddr", "dport"); }
  std::string tuple_of_receiver() const { return tuple("daddr", "dport", "saddr", "sport"); }
  std::string port_of_sender() const { return address_and_port("saddr", "sport"); }
  std::string port_of_receiver() const { return address_and_port("daddr", "dport"); }
  std::string protocol_is(const std::string& which) const {
    return std::string(protocol) + " " + which;
  }
  // A ping and its answer have the same number; both by who asked, whom, and that number.
  std::string asks() const { return std::string(echo) + " type echo-request "; }
  std::string answers() const { return std::string(echo) + " type echo-reply "; }
  std::string ping(const char* from, const char* to) const {
    return std::string(name) + " " + from + " . " + name + " " + to + " . " + echo + " id";
  }
  std::string ping_asked() const { return ping("saddr", "daddr"); }
  std::string ping_answered() const { return ping("daddr", "saddr"); }
};
constexpr Family kIpv4{"ip", "ipv4_addr", "ip protocol", "icmp", "0.0.0.0", is_ipv4, "accept"};
constexpr Family kIpv6{"ip6", "ipv6_addr", "meta l4proto", "icmpv6", "::", is_ipv6, "goto leave"};
constexpr const char* kDatagrams = "{ udp, udplite } ";

using Elements = std::map<std::string, std::string>;  // key -> data ("" in a set)

// Contents of the maps and sets. A key is said once: of two guests that claim one, the first.
struct Contents {
  Elements to, ports, quiet, here, mute, mute_ports, mute_home, mute_ports_home;
  std::map<NodeId, Elements> own, own_ports;
  std::set<std::string> known;  // tuples that are told here, so need not be learned
};

void place(const Steering& all, const Placement& p, const std::string& key, bool tuple,
           Contents& c) {
  const bool at_home = p.place == all.home;
  const std::string held = std::to_string(kHoldMark);
  Elements& to = tuple ? c.to : c.ports;
  Elements& mute = tuple ? c.mute : c.mute_ports;
  Elements& mute_home = tuple ? c.mute_home : c.mute_ports_home;
  if (p.moving()) {
    to.emplace(key, held);
  } else if (!at_home) {
    to.emplace(key, std::to_string(mark_of(p.place)));
  }
  if (at_home && !p.moving() && !tuple) c.here.emplace(key, "accept");
  if (!at_home) (tuple ? c.own : c.own_ports)[p.place].emplace(key, "");
  // Who is not the process may not speak for it; who becomes it has to wait.
  mute.emplace(key, p.moving() ? "goto hold" : "drop");
  if (!at_home) mute_home.emplace(key, p.target == all.home ? "goto hold" : "drop");
  if (tuple) c.known.insert(key);
}

std::string key_of(const MovedSocket& s, const std::string& address) {
  const std::string port =
      address + " . " + to_string(s.protocol) + " . " + std::to_string(s.local.port);
  if (!s.remote) return port;
  return port + " . " + s.remote->address + " . " + std::to_string(s.remote->port);
}

// Those of the family.
std::vector<std::string> addresses_of(const Family& family, const Steering& all,
                                      const MovedSocket& s) {
  std::vector<std::string> found;
  if (s.remote && !family.has(s.remote->address)) return found;
  if (s.local.address == family.any || s.local.address == "*") {
    for (const std::string& a : all.addresses) {
      if (family.has(a)) found.push_back(a);
    }
  } else if (family.has(s.local.address)) {
    found.push_back(s.local.address);
  }
  return found;
}

Contents contents_of(const Family& family, const Steering& all) {
  Contents c;
  for (const auto& [pid, p] : all.guests) {
    for (const MovedSocket& s : p.sockets) {
      for (const std::string& address : addresses_of(family, all, s)) {
        place(all, p, key_of(s, address), s.remote.has_value(), c);
      }
    }
    for (MovedSocket s : p.quiet) {
      s.remote.reset();
      for (const std::string& address : addresses_of(family, all, s)) {
        c.quiet.emplace(key_of(s, address), "goto hold");
      }
    }
  }
  return c;
}

std::string number(NodeId node) { return std::to_string(node.value); }

class Text {
 public:
  explicit Text(const Family& family) : table_(std::string(family.name) + " ssid ") {}
  void line(const std::string& words) { text_ += words + "\n"; }
  void object(const std::string& kind, const std::string& name, const std::string& definition) {
    line("add " + kind + " " + table_ + name + " { " + definition + "; }");
  }
  void chain(const std::string& name, std::initializer_list<std::string> rules,
             const std::string& hook = "") {
    line("add chain " + table_ + name + (hook.empty() ? "" : " { " + hook + "; }"));
    line("flush chain " + table_ + name);
    for (const std::string& r : rules) rule(name, r);
  }
  void rule(const std::string& chain, const std::string& words) {
    line("add rule " + table_ + chain + " " + words);
  }
  void fill(const std::string& kind, const std::string& name, const Elements& elements) {
    line("flush " + kind + " " + table_ + name);
    if (elements.empty()) return;
    std::string all;
    for (const auto& [key, data] : elements) {
      all += (all.empty() ? "" : ", ") + key + (data.empty() ? "" : " : " + data);
    }
    element("add", name, all);
  }
  void element(const std::string& verb, const std::string& name, const std::string& keys) {
    line(verb + " element " + table_ + name + " { " + keys + " }");
  }
  std::string take() { return std::move(text_); }

 private:
  const std::string table_;
  std::string text_;
};

void add_sets(const Family& family, const Steering& all, Text& text) {
  const std::string tuple = family.tuple_type(), port = family.port_type();
  text.object("map", "to", tuple + " : mark");
  text.object("map", "ports", port + " : mark");
  text.object("map", "here", port + " : verdict");
  text.object("map", "quiet", port + " : verdict");
  text.object("map", "mute", tuple + " : verdict");
  text.object("map", "mute_ports", port + " : verdict");
  text.object("map", "mute_home", tuple + " : verdict");
  text.object("map", "mute_ports_home", port + " : verdict");
  for (const NodeId n : all.tunnels) {
    text.object("set", "own_" + number(n), tuple);
    text.object("set", "own_ports_" + number(n), port);
    text.object("set", "learned_" + number(n),
                tuple + "; flags dynamic,timeout; timeout 1d; size 65536");
    text.object(
        "set", "pings_" + number(n),
        "typeof " + family.ping_asked() + "; flags dynamic,timeout; timeout 1m; size 65536");
  }
}

// Who asked last gets the answers: numbers of pings are given by each kernel for itself, so a guest
// and a process of home's may use the same. `asker` 0: home itself.
void add_asking_chain(const Family& family, const Steering& all, NodeId asker, Text& text) {
  const std::string chain = "asks_" + number(asker);
  text.chain(chain, {});
  for (const NodeId n : all.tunnels) {
    text.rule(chain, (n == asker ? "update @pings_" : "delete @pings_") + number(n) + " { " +
                         family.ping_asked() + " }");
  }
}

void add_ping_chains(const Family& family, const Steering& all, Text& text) {
  text.chain("steer_pings", {});
  add_asking_chain(family, all, NodeId{}, text);
  for (const NodeId n : all.tunnels) {
    text.rule("steer_pings", family.ping_answered() + " @pings_" + number(n) + " meta mark set " +
                                 std::to_string(mark_of(n)) + " " + family.leave);
    add_asking_chain(family, all, n, text);
  }
}

void add_tunnel_chains(const Family& family, NodeId n, Text& text) {
  const std::string from = "from_" + number(n), may_send = "may_send_" + number(n);
  const std::string sender = family.tuple_of_sender(), port = family.port_of_sender();
  const std::string back = "meta mark set " + std::to_string(mark_of(n)) + " " + family.leave;
  text.chain(may_send, {sender + " @own_" + number(n) + " return", sender + " vmap @mute",
                        port + " @own_ports_" + number(n) + " return", port + " vmap @mute_ports"});
  const std::string learn = "update @learned_" + number(n) + " { " + sender + " }";
  text.chain(from,
             {family.asks() + "jump asks_" + number(n), family.protocol_is(family.echo) + " accept",
              "jump " + may_send, family.protocol_is("tcp ") + learn,
              // A socket that speaks to everybody moves without what it said to whom.
              family.protocol_is(kDatagrams) + port + " != @own_ports_" + number(n) + " " + learn,
              "jump steer", "fib daddr type != local accept", "jump steer_learned",
              "socket wildcard 0-1 accept",
              // To home, where nobody listens: perhaps somebody does in the realm.
              "tcp flags & (fin|syn|rst|ack) == syn " + back, family.protocol_is("udp ") + back});
}

// ::1 in packets that come by a device, and in those that are forwarded. (What home itself sends
// goes as it is, so that the kernel's answers about it find the socket.)
void add_loopback_rules(Text& text) {
  const std::string alias = kLoopbackAlias;
  for (const std::string side : {"ip6 saddr ", "ip6 daddr "}) {
    text.rule("prerouting", "iifname \"ssid-*\" " + side + alias + " " + side + "set ::1");
    text.rule("leave", "iifname \"ssid-*\" " + side + "::1 " + side + "set " + alias);
  }
  text.rule("leave", "accept");
}

void add_chains(const Family& family, const Steering& all, Text& text) {
  const std::string to_guest = family.tuple_of_receiver(), to_port = family.port_of_receiver();
  const std::string leave = std::string(" ") + family.leave;
  const bool guard = family.has("::1") ? all.guard6 : all.guard;
  text.chain("leave", {});
  text.chain("hold", {"meta mark set " + std::to_string(kHoldMark) + leave});
  text.chain("steer", {"tcp flags & (fin|syn|rst|ack) == syn " + to_port + " vmap @quiet",
                       family.protocol_is(kDatagrams) + to_port + " vmap @quiet",
                       "meta mark set " + to_guest + " map @to" + leave,
                       "meta mark set " + to_port + " map @ports" + leave});
  text.chain("steer_learned", {});
  add_ping_chains(family, all, text);
  std::string tunnels;
  for (const NodeId n : all.tunnels) {
    text.rule("steer_learned", to_guest + " @learned_" + number(n) + " meta mark set " +
                                   std::to_string(mark_of(n)) + leave);
    add_tunnel_chains(family, n, text);
    tunnels +=
        (tunnels.empty() ? "" : ", ") + ("\"ssid-n" + number(n)) + "\" : goto from_" + number(n);
  }
  const std::string ping = family.echo;
  const std::string others = family.protocol_is("!= { tcp, udp, udplite, " + ping + " } accept");
  const std::string answers = family.answers() + "jump steer_pings";
  const std::string more_of_pings = family.protocol_is(ping + " accept");
  const std::string from_criu = "meta mark " + std::to_string(kCriuMark) + " accept";
  text.chain("prerouting", {from_criu},
             "type filter hook prerouting priority mangle; policy accept");
  if (family.has("::1")) add_loopback_rules(text);
  text.rule("prerouting", others);
  if (!tunnels.empty()) text.rule("prerouting", "iifname vmap { " + tunnels + " }");
  for (const std::string& rule :
       {answers, more_of_pings, std::string("jump steer"),
        std::string("socket wildcard 0-1 accept"), std::string("jump steer_learned")}) {
    text.rule("prerouting", rule);
  }
  text.chain("output",
             {others, from_criu, family.asks() + "jump asks_" + number(NodeId{}), answers,
              more_of_pings, family.tuple_of_sender() + " vmap @mute_home",
              family.port_of_sender() + " vmap @mute_ports_home", "jump steer",
              to_port + " vmap @here", "fib daddr type local jump steer_learned"},
             "type route hook output priority mangle; policy accept");
  if (guard) {
    text.chain("forward", {"iifname \"ssid-*\" accept", "oifname \"ssid-*\" accept", "drop"},
               "type filter hook forward priority filter; policy accept");
  }
  // The mark has chosen the tunnel; the tunnel's own packets go their usual way.
  text.chain("postrouting", {"oifname \"ssid-*\" meta mark set 0"},
             "type filter hook postrouting priority mangle; policy accept");
}

void add_elements(const Family& family, const Steering& all, Text& text) {
  Contents c = contents_of(family, all);
  text.fill("map", "to", c.to);
  text.fill("map", "ports", c.ports);
  text.fill("map", "here", c.here);
  text.fill("map", "quiet", c.quiet);
  text.fill("map", "mute", c.mute);
  text.fill("map", "mute_ports", c.mute_ports);
  text.fill("map", "mute_home", c.mute_home);
  text.fill("map", "mute_ports_home", c.mute_ports_home);
  Elements known;
  for (const std::string& key : c.known) known.emplace(key, "");
  for (const NodeId n : all.tunnels) {
    text.fill("set", "own_" + number(n), c.own[n]);
    text.fill("set", "own_ports_" + number(n), c.own_ports[n]);
    if (known.empty()) continue;
    // Whatever was learned of it is old. To delete what is not there is an error, so it is added
    // first.
    for (const char* verb : {"add", "delete"}) {
      std::string keys;
      for (const std::string& key : c.known) keys += (keys.empty() ? "" : ", ") + key;
      text.element(verb, "learned_" + number(n), keys);
    }
  }
}

std::string table(const Family& family, const Steering& all) {
  Text text(family);
  text.line("add table " + std::string(family.name) + " ssid");
  add_sets(family, all, text);
  add_chains(family, all, text);
  add_elements(family, all, text);
  return text.take();
}

}  // namespace

std::uint32_t mark_of(NodeId node) { return kMarkBase | node.value; }

std::string ruleset(const Steering& all) {
  return table(kIpv4, all) + (all.ipv6 ? table(kIpv6, all) : "");
}

}  // namespace ssi::net
