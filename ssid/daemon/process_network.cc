// ProcessControl and the network: what a move, and a realm that is made, ask of the process's home.
#include <boost/asio/post.hpp>
#include <future>

#include "migrate/check/proc_dir.h"
#include "migrate/check/waiting.h"
#include "migrate/realm/realm_network.h"
#include "ssid/base/log.h"
#include "ssid/daemon/process_control.h"

namespace ssi {
namespace asio = boost::asio;
using migrate::MoveTicket;
using nlohmann::json;

namespace {

// Home is asked while a process stands still.
constexpr auto kAskTimeout = std::chrono::seconds(3);

json hold_arguments(const MoveTicket& t, const std::vector<net::MovedSocket>& sockets,
                    bool only_new) {
  json words = json::array();
  for (const auto& s : sockets) words.push_back(net::to_string(s));
  return {{"pid", t.pid.pid}, {"from", t.from.value}, {"to", t.to.value},
          {"term", t.term},   {"only_new", only_new}, {"sockets", std::move(words)}};
}

}  // namespace

Result<std::vector<std::string>> ProcessControl::realm_network(NodeId home) {
  auto answer = std::make_shared<std::promise<Result<json>>>();
  asio::post(io_, [this, home, answer] {
    handlers_.ask(home, "internal.network", json::object(),
                  [answer](Result<json> said) { answer->set_value(std::move(said)); });
  });
  auto future = answer->get_future();
  // Silent: the next try may do. Unable: its guests have no network there.
  if (future.wait_for(kAskTimeout) != std::future_status::ready) {
    return Error(ErrorCode::kTimeout, "home does not answer");
  }
  const auto asked = future.get();
  if (!asked) {
    log_warning("realm of node {}: it has no network: {}", home.value, asked.error().message());
    return std::vector<std::string>();
  }
  const json& said = *asked;
  migrate::RealmNetworkOptions options{.home_link = group_.address_of(home),
                                       .node_link = group_.address_of(group_.self())};
  try {
    options.addresses = said.at("addresses").get<std::vector<std::string>>();
    options.source = said.at("source").get<std::string>();
    options.source6 = said.at("source6").get<std::string>();
  } catch (const json::exception&) {
    return Error("home gave a damaged answer");
  }
  return migrate::network_arguments(options);
}

Result<> ProcessControl::hold_network(const MoveTicket& t,
                                      const std::vector<net::MovedSocket>& sockets, bool only_new) {
  auto held = std::make_shared<std::promise<Result<>>>();
  asio::post(io_, [this, t, sockets, only_new, held] {
    if (t.pid.home == group_.self()) {
      return home_net_.hold({t.pid, t.from, t.to, t.term, sockets, only_new},
                            [held](Result<> done) { held->set_value(std::move(done)); });
    }
    handlers_.ask(t.pid.home, "internal.net_hold", hold_arguments(t, sockets, only_new),
                  [held](Result<json> said) {
                    held->set_value(said ? Result<>() : Result<>(std::move(said).error()));
                  });
  });
  auto future = held->get_future();
  if (future.wait_for(kAskTimeout) != std::future_status::ready) {
    return Error(ErrorCode::kTimeout, "home does not answer");
  }
  return future.get();
}

Result<> ProcessControl::quiet_tree(const MoveTicket& t, pid_t first) {
  std::vector<pid_t> pids{first};
  for (const pid_t pid : check::pids_of_tree(first)) {
    if (pid != first) pids.push_back(pid);
  }
  SSI_ASSIGN(const auto doors, check::doors_of(pids));
  if (doors.empty()) return {};
  auto quiet = hold_network(t, doors, true).context("network");
  if (quiet) quiet = check::await_quiet(pids);
  if (!quiet) release_network(t);
  return quiet;
}

void ProcessControl::release_network(const MoveTicket& t) {
  asio::post(io_, [this, t] {
    if (t.pid.home == group_.self()) {
      return home_net_.release(t.pid, !group_.find(t.pid).has_value());
    }
    handlers_.ask(t.pid.home, "internal.net_release", {{"pid", t.pid.pid}}, [t](Result<json> said) {
      if (!said) log_warning("{}: network: {}", t.to_string(), said.error().message());
    });
  });
}

void ProcessControl::network_moved(const group::Commit& commit) {
  if (commit.process.home != group_.self()) return;
  std::vector<pid_t> copies;
  if (commit.from == group_.self() && commit.epoch == Epoch{1}) {
    copies.push_back(commit.process.pid);
    for (const group::Member& m : commit.members) copies.push_back(m.pid);
  } else if (commit.from == group_.self()) {
    if (const GuestRecord* record = guests_.find(commit.process)) {
      copies = guests_.host_pids(*record);
    }
  }
  home_net_.moved(commit.process, commit.to, std::move(copies));
}

}  // namespace ssi
