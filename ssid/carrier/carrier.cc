#include "ssid/carrier/carrier.h"

#include <fcntl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "ssid/base/log.h"
#include "ssid/wire/carrier/hello.h"
#include "ssid/wire/carrier/socket_channel.h"
#include "ssid/wire/carrier/tls_channel.h"

namespace ssi {
namespace {

template <typename T>
ByteSpan bytes_of(const T& value) {
  return {reinterpret_cast<const std::uint8_t*>(&value), sizeof(value)};
}

SessionToken random_token() {
  SessionToken token;
  SSI_CHECK(::getrandom(token.data(), token.size(), 0) == static_cast<ssize_t>(token.size()));
  return token;
}

// Links of a carrier last as long as its guests: silence is normal, a dead machine is noticed by
// TCP.
constexpr LinkTimeouts kTimeouts{};

}  // namespace

Carrier::Carrier(Options options, std::shared_ptr<const TlsContext> tls)
    : options_(std::move(options)),
      tls_(std::move(tls)),
      store_({.root = options_.root}),
      node_views_(
          tls_->self(), [this](const CarrierPeer& peer) { return dial(peer); }, digests_) {}

Carrier::~Carrier() {
  {
    std::lock_guard lock(views_mutex_);
    views_.clear();
  }
  node_views_.clear();
  listeners_.stop();
  targets_.stop();
  home_listeners_.stop();
  homes_.stop();
  store_.stop();
  {
    std::lock_guard lock(channels_mutex_);
    stopped_ = true;
    for (Channel* channel : channels_) channel->abort();
  }
  server_.reset();
  for (auto& [id, thread] : local_) thread.join();
}

Result<> Carrier::listen() {
  LinkServerOptions server_options;
  server_options.timeouts = kTimeouts;
  server_options.handshakes_max = 64;
  SSI_ASSIGN(server_, LinkServer::start(tls_, options_.address, options_.port, server_options,
                                        [this](std::unique_ptr<TlsLink> link) {
                                          const NodeId peer = link->peer();
                                          serve(std::make_shared<TlsChannel>(std::move(link)),
                                                peer);
                                        }));
  return {};
}

// A connection from another node (or from ourselves): says what it wants, and gets it until it
// ends.
void Carrier::serve(std::shared_ptr<Channel> channel, NodeId peer) {
  {
    std::lock_guard lock(channels_mutex_);
    if (stopped_) return;
    channels_.insert(channel.get());
  }
  FrameBuffer frame;
  if (channel->recv(frame).ok()) {
    ByteReader reader(frame.span());
    const auto hello = reader.get<LinkHello>();
    if (!reader.done() || hello.magic != LinkHello::kMagic ||
        hello.version != LinkHello::kVersion || hello.node != peer.value) {
      log_warning("node {} sent no valid hello", peer.value);
    } else if (hello.kind == LinkKind::kFiles) {
      store_.serve(*channel, hello);
    } else if (hello.kind == LinkKind::kStreams) {
      const LinkWelcome welcome;
      if (channel->send({bytes_of(welcome)}).ok()) homes_.serve(channel);
    } else if (hello.kind == LinkKind::kListeners) {
      const LinkWelcome welcome;
      if (channel->send({bytes_of(welcome)}).ok()) home_listeners_.serve(channel);
    }
  }
  channel->abort();
  std::lock_guard lock(channels_mutex_);
  channels_.erase(channel.get());
}

Result<std::unique_ptr<Channel>> Carrier::dial(const CarrierPeer& peer) {
  if (NodeId{peer.node} == tls_->self()) {  // a guest that is back at home: no network in between
    int pair[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
      return Error::from_errno("socketpair");
    }
    auto accepted = std::make_shared<SocketChannel>(UniqueFd(pair[1]));
    std::lock_guard lock(local_mutex_);
    for (const auto id : local_done_) {
      const auto it = local_.find(id);
      it->second.join();
      local_.erase(it);
    }
    local_done_.clear();
    std::thread thread([this, accepted, self = tls_->self()] {
      serve(accepted, self);
      std::lock_guard done_lock(local_mutex_);
      local_done_.push_back(std::this_thread::get_id());
    });
    const auto id = thread.get_id();
    local_.emplace(id, std::move(thread));
    return std::unique_ptr<Channel>(new SocketChannel(UniqueFd(pair[0])));
  }
  Error last("no address given");
  for (const std::string& address : peer.addresses) {
    auto link = TlsLink::connect(tls_, address, peer.port, kTimeouts);
    if (!link) {
      last = std::move(link).error();
      continue;
    }
    if ((*link)->peer() != NodeId{peer.node}) {
      last = Error(address + " is another node");
      continue;
    }
    return std::unique_ptr<Channel>(new TlsChannel(std::move(link).value()));
  }
  return last;
}

Result<> Carrier::mount_view(const MountView& wanted) {
  std::shared_ptr<fs::View> dead;
  {
    std::lock_guard lock(views_mutex_);
    const auto [at, fresh] = views_.try_emplace(wanted.mountpoint);
    Mounted& mounted = at->second;
    if (!fresh && !mounted.view) return Error(wanted.mountpoint + " is being mounted already");
    if (!fresh && mounted.view->is_alive()) {
      if (mounted.home.node == wanted.home.node) return {};
      return Error(wanted.mountpoint + " shows another node");
    }
    dead = std::move(mounted.view);  // the kernel let it go; the entry is kept for the new one
    mounted.home = wanted.home;
  }
  if (dead) store_.files().unhide(dead->device());
  dead.reset();

  fs::View::Options options;
  options.mountpoint = wanted.mountpoint;
  options.source = "ssid:" + std::to_string(wanted.home.node);
  options.remote.hello.kind = LinkKind::kFiles;
  options.remote.hello.node = tls_->self().value;
  options.remote.hello.realm = wanted.home.node;
  options.remote.hello.token = random_token();
  options.remote.dial = [this, home = wanted.home] { return dial(home); };
  // Without the lock: home may be slow to answer.
  auto view = fs::View::mount(std::move(options), digests_)
                  .context("view of node " + std::to_string(wanted.home.node));
  std::lock_guard lock(views_mutex_);
  if (!view) {
    views_.erase(wanted.mountpoint);
    return std::move(view).error();
  }
  // Nobody should look at this node's files and find another node's, and in them ours again.
  store_.files().hide((*view)->device());
  views_[wanted.mountpoint].view = std::move(view).value();
  log_info("node {}'s files are at {}", wanted.home.node, wanted.mountpoint);
  return {};
}

Result<> Carrier::show_nodes(const ShowNodes& wanted) {
  if (!options_.shows_nodes) return Error(ErrorCode::kUsage, "another process does that");
  return node_views_.show(wanted);
}

Result<> Carrier::unmount_view(const UnmountView& wanted) {
  std::shared_ptr<fs::View> view;
  {
    std::lock_guard lock(views_mutex_);
    const auto known = views_.find(wanted.mountpoint);
    if (known == views_.end() || !known->second.view) {
      return Error(ErrorCode::kGone, "no view at " + wanted.mountpoint);
    }
    if (!known->second.view->unmount(wanted.force)) {
      return Error(ErrorCode::kRefused, wanted.mountpoint + " is in use");
    }
    view = std::move(known->second.view);
    views_.erase(known);
  }
  store_.files().unhide(view->device());
  log_info("no view at {} any more", wanted.mountpoint);
  return {};
}

Result<std::shared_ptr<fs::View>> Carrier::view_at(const std::string& mountpoint) {
  std::lock_guard lock(views_mutex_);
  const auto known = views_.find(mountpoint);
  if (known == views_.end() || !known->second.view) {
    return Error(ErrorCode::kGone, "no view at " + mountpoint);
  }
  return known->second.view;
}

Result<> Carrier::refresh_view(const std::string& mountpoint) {
  SSI_ASSIGN(const auto view, view_at(mountpoint));
  view->refresh();  // without the lock: it waits for guests that change a directory just now
  return {};
}

Result<> Carrier::tell_watchers(const TellWatchers& wanted) {
  SSI_ASSIGN(const auto view, view_at(wanted.mountpoint));
  if (view->tell_watchers(wanted.pid)) return {};
  return Error(ErrorCode::kBusy, "it can't be said now what happens to home's files");
}

Result<> Carrier::rebuild_sockets(const RebuildSockets& wanted) {
  SSI_ASSIGN(const auto view, view_at(wanted.mountpoint));
  view->rebuild_sockets(wanted.cgroup, wanted.on);
  return {};
}

ViewList Carrier::list_views() {
  std::lock_guard lock(views_mutex_);
  ViewList list;
  for (const auto& [mountpoint, mounted] : views_) {
    if (!mounted.view || !mounted.view->is_alive()) continue;
    list.views.push_back({mounted.home.node, mountpoint, mounted.view->device(),
                          mounted.view->stats().remote.connected});
  }
  return list;
}

std::size_t Carrier::views() const {
  std::lock_guard lock(views_mutex_);
  std::size_t alive = 0;
  for (const auto& [mountpoint, mounted] : views_) {
    alive += !mounted.view || mounted.view->is_alive() ? 1 : 0;
  }
  return alive;
}

Result<std::uint64_t> Carrier::hold_file(UniqueFd fd) {
  struct stat st {};
  if (::fstat(*fd, &st) != 0) return Error::from_errno("look at a descriptor");
  // Who has a named pipe really open counts for those at its other end.
  if (S_ISFIFO(st.st_mode)) {
    const std::string path = "/proc/self/fd/" + std::to_string(*fd);
    fd.reset(::open(path.c_str(), O_PATH | O_CLOEXEC));
    if (!fd) return Error::from_errno("hold a named pipe");
  }
  return store_.held().hold(std::make_shared<const UniqueFd>(std::move(fd)));
}

Result<std::uint64_t> Carrier::hold_locks(UniqueFd fd, const HoldLocksOf& wanted) {
  struct stat st {};
  if (::fstat(*fd, &st) != 0) return Error::from_errno("look at a descriptor");
  if (wanted.number < 0 || wanted.ranges.size() % 3 != 0) {
    return Error(ErrorCode::kUsage, "invalid record locks");
  }
  fs::DeputyLocks::Owner owner;
  SSI_ASSIGN(owner.process, ProcessHandle::open(wanted.pid));
  owner.number = wanted.number;
  owner.device = st.st_dev;
  owner.inode = st.st_ino;
  std::vector<LockRange> has;
  for (std::size_t i = 0; i < wanted.ranges.size(); i += 3) {
    has.push_back(
        {wanted.ranges[i], wanted.ranges[i + 1], static_cast<std::uint32_t>(wanted.ranges[i + 2])});
  }
  return store_.held().hold(std::make_shared<const UniqueFd>(std::move(fd)),
                            std::make_shared<fs::DeputyLocks>(std::move(owner), std::move(has)));
}

Result<UniqueFd> Carrier::open_held_file(std::uint64_t id) {
  const auto held = store_.held().find(id);
  if (!held) return Error(ErrorCode::kGone, "no such file is held");
  UniqueFd fd(::fcntl(**held, F_DUPFD_CLOEXEC, 0));
  if (!fd) return Error::from_errno("duplicate a descriptor");
  return fd;
}

CarrierStats Carrier::stats() {
  CarrierStats stats;
  const auto add = [&](const std::string& name, std::uint64_t value) {
    stats.counters.emplace_back(name, value);
  };
  const auto store = store_.stats();
  add("store.sessions", store.sessions);
  add("store.connections", store.connections);
  add("store.nodes", store.nodes);
  add("store.requests", store.requests);
  add("store.refused", store.refused);
  add("files.held", store_.held().size());
  add("streams.exported", homes_.size());
  add("streams.attached", targets_.size());
  add("listeners.exported", home_listeners_.size());
  add("listeners.attached", listeners_.size());
  const auto add_view = [&](const std::string& prefix, const fs::View::Stats& view) {
    add(prefix + "calls", view.remote.calls);
    add(prefix + "reconnects", view.remote.reconnects);
    add(prefix + "new_sessions", view.remote.new_sessions);
    add(prefix + "nodes", view.nodes);
    add(prefix + "threads", view.threads);
    add(prefix + "reads", view.reads);
    add(prefix + "read_bytes", view.read_bytes);
    add(prefix + "writes", view.writes);
    add(prefix + "write_bytes", view.write_bytes);
    add(prefix + "twin_reads", view.twin_reads);
    add(prefix + "twin_read_bytes", view.twin_read_bytes);
    add(prefix + "twins_found", view.twins_found);
    add(prefix + "twins_rejected", view.twins_rejected);
  };
  for (const auto& [node, view] : node_views_.stats()) {
    add_view("node." + std::to_string(node) + ".", view);
  }
  std::lock_guard lock(views_mutex_);
  for (const auto& [mountpoint, mounted] : views_) {
    if (!mounted.view) continue;
    add_view("view." + std::to_string(mounted.home.node) + ".", mounted.view->stats());
  }
  return stats;
}

}  // namespace ssi
