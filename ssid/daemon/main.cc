// ssid: the control daemon of a node. Composition root: reads the configuration, makes the parts,
// wires them, runs the loop. Holds no logic.
#include <signal.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <cstdio>
#include <filesystem>

#include "fs/cluster/cluster_fs.h"
#include "migrate/criu/criu_bundle.h"
#include "ssid/api/control_server.h"
#include "ssid/base/command_line.h"
#include "ssid/base/fault.h"
#include "ssid/base/log.h"
#include "ssid/base/notify.h"
#include "ssid/base/priority.h"
#include "ssid/base/spawn.h"
#include "ssid/cluster/corosync/corosync_cluster.h"
#include "ssid/config/config.h"
#include "ssid/daemon/capabilities.h"
#include "ssid/daemon/daemon_cluster_source.h"
#include "ssid/daemon/group_driver.h"
#include "ssid/daemon/home_calls.h"
#include "ssid/daemon/node_views.h"
#include "ssid/daemon/ops.h"
#include "ssid/daemon/pid_range.h"
#include "ssid/wire/link_server.h"

namespace ssi {
namespace {

constexpr const char* kVersion = SSID_VERSION;

Result<std::string> find_criu(const Config& config, const DaemonPaths& paths) {
  for (const std::string& path :
       {config.move.criu, paths.program_dir + "/criu", std::string("/usr/sbin/criu"),
        std::string("/usr/local/sbin/criu")}) {
    if (!path.empty() && ::access(path.c_str(), X_OK) == 0) return path;
  }
  return Error("no criu: install it, or name it in ssid.toml ([move] criu)");
}

// Directories, criu's bundle and its feature cache: once a boot.
Result<> prepare_machine(const DaemonPaths& paths) {
  std::error_code ec;
  for (const char* dir : {"", "/realms", "/guests", "/images"}) {
    std::filesystem::create_directories(paths.run_dir + dir, ec);
    if (ec) return Error("make " + paths.run_dir + dir + ": " + ec.message());
    if (*dir)
      std::filesystem::permissions(paths.run_dir + dir, std::filesystem::perms::owner_all, ec);
  }
  const migrate::CriuFiles criu{paths.criu, paths.program_dir + "/" + migrate::kCriuLibrary};
  SSI_TRY(migrate::make_criu_bundle(criu, paths.run_dir + "/criu").context("criu"));
  if (::access("/run/criu.kdat", R_OK) != 0) {
    if (auto checked = run_to_end({paths.criu, "--no-default-config", "check"}); !checked) {
      log_warning("criu does not work on this kernel: {}", checked.error().message());
    }
  }
  return {};
}

void answer_owner(OpContext& ops, const std::string& text,
                  std::function<void(Result<ProcessOwner>)> done) {
  const auto pid = pid_named(ops.group, text);
  if (!pid) return done(pid.error());
  if (pid->home == ops.group.self()) return done(local_process_owner(pid->pid));
  if (const auto entry = ops.group.find(*pid)) return done(ProcessOwner{entry->uid, entry->uid});
  ops.requests.ask(
      pid->home, "internal.owner", {{"pid", pid->pid}}, 0, std::chrono::seconds(3),
      [done](Result<nlohmann::json> answer) {
        if (!answer) return done(answer.error());
        done(ProcessOwner{answer->value("real_uid", 0u), answer->value("saved_uid", 0u)});
      });
}

Result<> run(const Config& config) {
  DaemonPaths paths;
  paths.run_dir = config.run_dir;
  SSI_ASSIGN(paths.criu, find_criu(config, paths));
  SSI_TRY(prepare_machine(paths));
  SSI_ASSIGN(const auto key, read_cluster_key(config.cluster.key_file));
  const std::string stub = paths.program_dir + "/ssid-deputy";
  if (auto done = let_deputies_choose_pids(stub); !done) {
    log_warning("what ordinary users' guests start away is not seen here: {}",
                done.error().message());
  }
  SSI_TRY(keep_needed_capabilities());

  boost::asio::io_context io(1);
  SystemClock clock;
  auto cluster =
      make_corosync_cluster(io, {.group = config.cluster.group,
                                 .log = [](const std::string& line) { log_info("{}", line); }});

  // Wired in the order of use; the handlers run from the loop only, when all is there.
  const auto grace = std::chrono::milliseconds(static_cast<int>(config.cluster.grace_s * 1000));
  GroupDriver group(io, clock, *cluster,
                    {paths.run_dir, static_cast<std::uint64_t>(grace.count())});
  DrainControl drains(io, group);
  std::unique_ptr<ProcessControl> control;
  std::unique_ptr<Balancer> balancer;
  std::unique_ptr<EtcControl> etc;
  std::unique_ptr<Requests> requests;
  std::unique_ptr<OpContext> ops;
  std::unique_ptr<NodeViews> node_views;
  EventLog events;
  HomeCalls home_calls(
      io, {.is_away = [&](SsiPid pid) { return control->where(pid) != group.self(); },
           .move_home =
               [&](SsiPid pid, bool again, std::function<void(Result<>)> done) {
                 ops::migrate(
                     *ops, OpCaller{},
                     {{"pid", pid.to_string()}, {"node", "home"}, {"tree", true}, {"again", again}},
                     [done](const Result<nlohmann::json>& moved) {
                       done(moved ? Result<>() : Result<>(moved.error()));
                     });
               },
           .tell =
               [&](SsiPid pid, const std::string& what) {
                 const std::string line = pid.to_string() + " " + what;
                 log_info("{}", line);
                 events.add(line, {{"pid", pid.to_string()}});
               }});

  GroupDriver::Handlers g;
  g.on_event = [&](const TableReplica::Event& event) {
    if (const auto* d = std::get_if<TableReplica::Drained>(&event)) {
      balancer->on_drained(d->node, d->drained);
      events.add("node " + std::to_string(d->node.value) +
                     (d->drained ? " is drained" : " takes guests again"),
                 {{d->drained ? "drained" : "brought", d->node.value}});
    }
    drains.on_event(event);
    control->on_event(event);
  };
  g.on_tick = [&] {
    control->on_tick();
    etc->on_tick();
    node_views->update();
  };
  g.on_nodes = [&] { node_views->update(); };
  g.on_view = [&](const std::vector<NodeId>& joined, const std::vector<NodeId>& left) {
    for (const NodeId n : left) {
      events.add("node " + std::to_string(n.value) + " left", {{"left", n.value}});
      requests->on_left(n);
      balancer->on_left(n);
    }
    for (const NodeId n : joined) {
      events.add("node " + std::to_string(n.value) + " joined", {{"joined", n.value}});
    }
    control->on_view();
    etc->on_view();
  };
  g.on_message = [&](NodeId from, const group::GroupMessage& m) {
    if (auto* info = std::get_if<group::NodeInfo>(&m)) return balancer->on_node_info(*info);
    if (auto* s = std::get_if<group::Signal>(&m)) return control->on_signal(*s);
    if (auto* s = std::get_if<group::GuestStopped>(&m)) return control->on_guest_stopped(*s);
    if (auto* c = std::get_if<group::GuestContinued>(&m)) return control->on_guest_continued(*c);
    if (auto* r = std::get_if<group::Request>(&m)) return requests->on_request(*r);
    if (auto* r = std::get_if<group::Reply>(&m)) return requests->on_reply(from, *r);
    if (auto* f = std::get_if<group::EtcFrame>(&m)) return etc->on_frame(from, *f);
  };
  SSI_TRY(group.start(std::move(g)));

  SSI_ASSIGN(const auto tls, TlsContext::from_key(key, cluster->self()));
  SSI_ASSIGN(auto freezer, migrate::FreezerRoot::open());
  ProcessControl::Handlers c;
  c.moved = [&](const group::Commit& m) {
    balancer->on_moved(m);
    home_calls.on_moved();
    events.add(m.process.to_string() + " (" + m.comm + "): " + std::to_string(m.from.value) +
                   " -> " + std::to_string(m.to.value),
               {{"pid", m.process.to_string()}, {"from", m.from.value}, {"to", m.to.value}});
  };
  c.ended = [&](SsiPid pid, const std::string& why) {
    balancer->on_ended(pid);
    if (!why.empty()) events.add(pid.to_string() + " ended: " + why, {{"pid", pid.to_string()}});
  };
  c.held = [&](std::size_t guests, const std::string& why) {
    events.add(std::to_string(guests) + " guests here stand still: " + why, {{"held", guests}});
  };
  c.enablement_of = [&](pid_t local) { return balancer->enablement_of(local); };
  c.ask = [&](NodeId to, const std::string& op, const nlohmann::json& args,
              std::function<void(Result<nlohmann::json>)> done) {
    requests->ask(to, op, args, 0, std::chrono::seconds(3), std::move(done));
  };
  c.called_home = [&](SsiPid pid, const std::string& why) { home_calls.call(pid, why); };
  c.arrival_failed = [&](SsiPid pid) { balancer->on_arrival_failed(pid); };
  c.refuse_arrival = [&](const migrate::MoveTicket& t) { return balancer->refuse_arrival(t); };
  LinkTimeouts timeouts;
  timeouts.connect_ms = static_cast<std::int64_t>(config.link.connect_timeout_s * 1000);
  // Whoever is silent for so long while a process stands still is given up.
  timeouts.idle_ms = static_cast<std::int64_t>(config.move.timeout_s * 1000);
  const ProcessControl::Options options{.paths = paths,
                                        .grace = grace,
                                        .link_port = config.link.port,
                                        .carrier_port = config.link.carrier_port,
                                        .link_timeouts = timeouts,
                                        .moves_out_max = config.move.out_max,
                                        .moves_in_max = config.move.in_max};
  control =
      std::make_unique<ProcessControl>(io, group, std::move(freezer), tls, options, std::move(c));
  SSI_ASSIGN(balancer, Balancer::create(io, clock, group, *control,
                                        {.policy = config.loadlevel.policy,
                                         .state_path = paths.run_dir + "/enabled",
                                         .version = kVersion,
                                         .boot_id = group.boot_id(),
                                         .balancing = config.loadlevel.on,
                                         .accepting = config.loadlevel.accepting}));
  requests =
      std::make_unique<Requests>(io, group, [&](const group::Request& r, Requests::Done done) {
        serve_request(*ops, r, std::move(done));
      });
  RemoteRuns remote_runs(io, *control);
  EtcControl::Handlers e;
  e.on_changed = [&](const SharedFiles& files) {
    const etc::File* list = files.find("loadlevellist");
    balancer->enabled().set_list(list != nullptr ? list->contents : "");
  };
  e.wait_for_all = [&](std::function<void()> done) {
    requests->ask_all("internal.ping", "{}", 0, std::chrono::seconds(5),
                      [done](const Requests::Answers&) { done(); });
  };
  SSI_ASSIGN(etc, EtcControl::open(io, clock, *cluster, config.state_dir, std::move(e)));
  ops = std::make_unique<OpContext>(OpContext{io, group, *cluster, *control, *balancer, *requests,
                                              drains, events, remote_runs, *etc});
  SSI_TRY(control->start());
  SSI_ASSIGN(const auto links,
             LinkServer::start(
                 tls, config.link.address, config.link.port, {.timeouts = timeouts},
                 [&](std::unique_ptr<TlsLink> link) { control->serve_link(std::move(link)); }));
  const OpGate gate{
      .owner_of = [&](std::string pid, auto done) { answer_owner(*ops, pid, std::move(done)); },
      .has_quorum = [&] { return group.view().quorate; }};
  SSI_ASSIGN(const auto server,
             ControlServer::start(io, {.path = config.socket}, control_ops(*ops), gate));
  node_views =
      std::make_unique<NodeViews>(clock, *cluster, config.link.carrier_port, "/cluster/node");
  DaemonClusterSource source(io, *cluster, group, *etc, *node_views, control_ops(*ops), gate);
  auto cluster_fs = fs::ClusterFs::mount("/cluster", source);
  // Everything else works without it.
  if (!cluster_fs) log_error("/cluster is not there: {}", cluster_fs.error().message());
  node_views->update();
  PidRange pids(io, cluster->self());
  SSI_TRY(pids.start());
  balancer->start();

  boost::asio::signal_set stop(io, SIGTERM, SIGINT);
  stop.async_wait([&](boost::system::error_code, int) { io.stop(); });
  notify_manager("READY=1");
  log_info("node {} ({}), ssid {}", cluster->self().value, group.name_of(cluster->self()),
           kVersion);
  io.run();
  notify_manager("STOPPING=1");
  if (cluster_fs) cluster_fs->reset();
  // Moves under way are left as a crash would leave them: the next ssid finds and settles them.
  std::_Exit(0);
}

}  // namespace
}  // namespace ssi

int main(int argc, char** argv) {
  std::string config_path = ssi::kConfigPath;
  bool faults = false;
  CLI::App app("The control daemon of a node of the cluster.", "ssid");
  app.add_option("--config", config_path, "settings of this node");
  app.add_flag("--faults", faults, "obey the fault points armed in /run/ssid/faults (tests)");
  app.set_version_flag("--version", ssi::kVersion);
  if (const auto ended = ssi::parse_arguments(app, argc, argv)) return *ended;
  ssi::log_start("ssid", ssi::LogLevel::kInfo);
  ::signal(SIGPIPE, SIG_IGN);
  ssi::go_first();
  auto config = ssi::read_config(config_path);
  if (!config) {
    std::fprintf(stderr, "ssid: %s\n", config.error().message().c_str());
    return 2;
  }
  ssi::set_log_level(*ssi::parse_log_level(config->log_level));
  if (faults || std::getenv("SSID_FAULTS") != nullptr) ssi::faults_arm(config->run_dir + "/faults");
  if (auto done = ssi::run(*config); !done) {
    std::fprintf(stderr, "ssid: %s\n", done.error().message().c_str());
    return 1;
  }
  return 0;
}
