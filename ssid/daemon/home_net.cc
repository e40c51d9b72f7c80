#include "ssid/daemon/home_net.h"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <filesystem>
#include <fstream>

#include "migrate/net/ipv6.h"
#include "migrate/net/nft.h"
#include "migrate/net/silence.h"
#include "ssid/base/log.h"

namespace ssi {
namespace asio = boost::asio;
namespace fs = std::filesystem;
using net::MovedSocket;
using net::Placement;

namespace {

constexpr auto kCopyEnds = std::chrono::seconds(20);  // a move that was given up
constexpr const char* kForwarding = "/proc/sys/net/ipv4/ip_forward";

void log_failure(Result<> result) {
  if (!result) log_error("network: {}", result.error().message());
}

// "PLACE TARGET TERM", then a socket a line.
std::string to_text(const Placement& p) {
  std::string text = std::to_string(p.place.value) + " " + std::to_string(p.target.value) + " " +
                     std::to_string(p.term) + "\n";
  for (const MovedSocket& s : p.sockets) text += net::to_string(s) + "\n";
  return text;
}

std::optional<Placement> placement_from(std::istream& in) {
  Placement p;
  std::string line;
  if (!(in >> p.place.value >> p.target.value >> p.term) || !std::getline(in, line)) return {};
  while (std::getline(in, line)) {
    auto socket = net::parse_moved_socket(line);
    if (!socket) return {};
    p.sockets.push_back(std::move(*socket));
  }
  return p;
}

}  // namespace

// What the worker's thread alone uses.
struct HomeNet::Worker {
  std::string guard_file, guard6_file;
  bool guard = false;   // this node forwards for guests only
  bool guard6 = false;  // the same for IPv6
  std::optional<net::HoldDevice> held;
  std::set<NodeId> tunnels;
  asio::thread_pool thread{1};

  // Once a boot; an ssid that starts again finds it done.
  Result<> prepare() {
    if (held) return {};
    SSI_TRY(net::ensure_hold_route());
    SSI_TRY(turn_forwarding_on());
    if (net::has_ipv6()) SSI_TRY(turn_ipv6_forwarding_on());
    SSI_ASSIGN(auto device, net::HoldDevice::open());
    held.emplace(std::move(device));
    return {};
  }

  // A node that was no router forwards what is its guests', and no more.
  Result<> turn_forwarding_on() {
    int forwards = 0;
    std::ifstream(kForwarding) >> forwards;
    std::error_code ec;
    guard = fs::exists(guard_file, ec);
    if (forwards != 0) return {};
    guard = true;
    std::ofstream(guard_file) << "ssid has turned net.ipv4.ip_forward on\n";
    std::ofstream file(kForwarding);
    file << "1" << std::flush;
    if (!file) return Error("can't set net.ipv4.ip_forward");
    return {};
  }

  Result<> turn_ipv6_forwarding_on() {
    std::error_code ec;
    guard6 = fs::exists(guard6_file, ec);
    if (net::forwards_ipv6()) return {};
    guard6 = true;
    std::ofstream(guard6_file) << "ssid has turned net.ipv6.conf.all.forwarding on\n";
    return net::turn_ipv6_forwarding_on();
  }

  Result<> connect(const net::TunnelEnds& ends) {
    SSI_TRY(prepare());
    if (tunnels.contains(ends.node)) return {};
    SSI_TRY(net::ensure_home_end(ends));
    tunnels.insert(ends.node);
    return {};
  }

  Result<> apply(net::Steering wanted, const std::vector<MovedSocket>& mute) {
    SSI_TRY(prepare());
    SSI_ASSIGN(const auto own, net::read_home_addresses());
    wanted.addresses = own.all;
    wanted.addresses.emplace_back("127.0.0.1");
    wanted.addresses.emplace_back("::1");
    wanted.tunnels = tunnels;
    wanted.ipv6 = net::has_ipv6();
    wanted.guard = guard;
    wanted.guard6 = guard6;
    SSI_TRY(net::apply_nft(net::ruleset(wanted)));
    return held->release([&](std::span<const std::uint8_t> packet) {
      return std::ranges::none_of(mute, [&](const auto& s) { return net::sent_by(s, packet); });
    });
  }
};

HomeNet::HomeNet(asio::io_context& io, NodeId self, std::string dir, AddressOf address_of)
    : io_(io),
      dir_(std::move(dir)),
      address_of_(std::move(address_of)),
      worker_(std::make_unique<Worker>()) {
  wanted_.home = self;
  worker_->guard_file = dir_ + "/forwarding";
  worker_->guard6_file = dir_ + "/forwarding6";
}

HomeNet::~HomeNet() { worker_->thread.join(); }

void HomeNet::start() {
  std::error_code ec;
  fs::create_directories(dir_, ec);
  for (const auto& entry : fs::directory_iterator(dir_, ec)) {
    std::ifstream in(entry.path());
    const std::string name = entry.path().filename().string();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    if (auto p = placement_from(in)) {
      wanted_.guests[{wanted_.home, std::atoi(name.c_str())}] = std::move(*p);
    }
  }
  for (const NodeId n : net::find_home_ends()) worker_->tunnels.insert(n);
}

net::TunnelEnds HomeNet::ends(NodeId node) const {
  return {wanted_.home, node, address_of_(wanted_.home), address_of_(node)};
}

void HomeNet::connect(NodeId node, std::function<void(Result<net::HomeAddresses>)> done) {
  asio::post(worker_->thread, [this, ends = ends(node), wanted = wanted_, done = std::move(done)] {
    auto found = [&]() -> Result<net::HomeAddresses> {
      SSI_TRY(worker_->connect(ends));
      SSI_TRY(worker_->apply(wanted, {}));
      return net::read_home_addresses();
    }();
    asio::post(io_, [done, found = std::move(found)] { done(found); });
  });
}

Placement* HomeNet::find(SsiPid pid) {
  const auto it = wanted_.guests.find(pid);
  return it == wanted_.guests.end() ? nullptr : &it->second;
}

void HomeNet::save(SsiPid pid) const {
  const std::string path = dir_ + "/" + std::to_string(pid.pid);
  const auto it = wanted_.guests.find(pid);
  std::error_code ec;
  if (it == wanted_.guests.end()) {
    fs::remove(path, ec);
    return;
  }
  std::ofstream(path + ".new", std::ios::trunc) << to_text(it->second);
  fs::rename(path + ".new", path, ec);
  if (ec) log_error("network: can't write {}: {}", path, ec.message());
}

void HomeNet::apply(std::vector<MovedSocket> mute, std::vector<pid_t> silence, Done done) {
  asio::post(worker_->thread, [this, wanted = wanted_, mute = std::move(mute),
                               silence = std::move(silence), done = std::move(done)]() mutable {
    // A copy that is over must not answer what it may still get.
    for (const pid_t pid : silence) log_failure(net::silence_sockets(pid));
    auto applied = worker_->apply(std::move(wanted), mute);
    asio::post(io_, [done, applied = std::move(applied)] { done(applied); });
  });
}

void HomeNet::hold(Hold h, Done done) {
  Placement& p = wanted_.guests[h.pid];
  p.place = h.from;
  p.term = h.term;
  p.target = h.only_new ? NodeId{} : h.to;
  (h.only_new ? p.quiet : p.sockets) = std::move(h.sockets);
  if (!h.only_new) p.quiet.clear();
  save(h.pid);
  std::vector<net::TunnelEnds> tunnels;
  for (const NodeId node : {h.from, h.to}) {
    if (node != wanted_.home) tunnels.push_back(ends(node));
  }
  asio::post(worker_->thread,
             [this, wanted = wanted_, tunnels = std::move(tunnels), done = std::move(done)] {
               auto held = [&]() -> Result<> {
                 for (const auto& t : tunnels) SSI_TRY(worker_->connect(t));
                 return worker_->apply(wanted, {});
               }();
               asio::post(io_, [done, held = std::move(held)] { done(held); });
             });
}

void HomeNet::release(SsiPid pid, bool forget) {
  Placement* const p = find(pid);
  if (p == nullptr || (!p->moving() && p->quiet.empty())) return;
  p->target = {};
  p->quiet.clear();
  // What the copy at the target said is not so.
  save(pid);
  apply(p->sockets, {}, log_failure);
  if (!forget) return;
  // Not yet: the copy at the target may still be about to end, and must not be heard.
  auto timer = std::make_shared<asio::steady_timer>(io_, kCopyEnds);
  timer->async_wait([this, pid, timer](boost::system::error_code) {
    const Placement* const now = find(pid);
    if (now == nullptr || now->place != wanted_.home || now->moving() || !now->quiet.empty())
      return;
    ended(pid);
  });
}

void HomeNet::moved(SsiPid pid, NodeId to, std::vector<pid_t> copies) {
  Placement* const p = find(pid);
  if (p == nullptr) return;
  if (!p->moving()) p->sockets.clear();  // it had none when it moved
  p->place = to;
  p->target = {};
  p->quiet.clear();
  save(pid);
  apply({}, std::move(copies), log_failure);
}

void HomeNet::ended(SsiPid pid) {
  if (wanted_.guests.erase(pid) == 0) return;
  save(pid);
  apply({}, {}, log_failure);
}

void HomeNet::settle(std::uint64_t term,
                     const std::function<std::optional<NodeId>(SsiPid)>& where) {
  const bool any = !wanted_.guests.empty();
  std::vector<SsiPid> gone;
  std::vector<MovedSocket> mute;  // what the copies said whose move did not come
  const auto not_coming = [&](const Placement& p) {
    mute.insert(mute.end(), p.sockets.begin(), p.sockets.end());
  };
  for (auto& [pid, p] : wanted_.guests) {
    const auto now = where(pid);
    const bool may_come = p.term == term && (p.moving() || !p.quiet.empty());
    if (!now && !may_come) {
      // A first move that did not come: as in release(), its copy must not be heard; forgotten when
      // the cluster changes next.
      if (!p.moving()) {
        gone.push_back(pid);
        continue;
      }
      not_coming(p);
      p.target = {};
      p.quiet.clear();
      save(pid);
    }
    if (!now || may_come || (p.place == *now && !p.moving() && p.quiet.empty())) continue;
    if (p.moving() && p.place == *now) not_coming(p);
    p.place = *now;
    p.target = {};
    p.quiet.clear();
    save(pid);
  }
  for (const SsiPid pid : gone) {
    wanted_.guests.erase(pid);
    save(pid);
  }
  // Also if nothing is new here: an ssid may have died between saving and doing.
  if (any) apply(std::move(mute), {}, log_failure);
}

}  // namespace ssi
