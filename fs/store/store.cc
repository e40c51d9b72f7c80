#include "fs/store/store.h"

#include <fcntl.h>
#include <sys/random.h>

#include "fs/store/act_as.h"

namespace ssi::fs {
namespace {

std::uint64_t random_serial() {
  std::uint64_t serial = 0;
  while (serial == 0) SSI_CHECK(::getrandom(&serial, sizeof(serial), 0) == sizeof(serial));
  return serial;
}

ByteSpan bytes_of(const LinkWelcome& welcome) {
  return {reinterpret_cast<const std::uint8_t*>(&welcome), sizeof(welcome)};
}

}  // namespace

std::shared_ptr<Session> Store::session_of(const LinkHello& hello) {
  std::lock_guard lock(mutex_);
  const auto now = std::chrono::steady_clock::now();
  std::erase_if(sessions_, [&](const auto& item) {
    const Kept& kept = item.second;
    return kept.connections == 0 &&
           (kept.session->ended() || now - kept.idle_since > options_.session_kept);
  });
  if (stopped_) return nullptr;
  Kept& kept = sessions_[hello.token];
  if (!kept.session) {
    UniqueFd root(::open(options_.root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!root) {
      sessions_.erase(hello.token);
      return nullptr;
    }
    const auto client = hello.realm == 0 ? FileStat::Client::kNodes : FileStat::Client::kGuests;
    kept.session =
        std::make_shared<Session>(Session::Options{random_serial(), client, options_.fds_max},
                                  stat_, digests_, held_, std::move(root));
  }
  ++kept.connections;
  return kept.session;
}

void Store::leave(const SessionToken& token) {
  std::lock_guard lock(mutex_);
  const auto it = sessions_.find(token);
  if (it == sessions_.end()) return;
  it->second.idle_since = std::chrono::steady_clock::now();
  if (--it->second.connections == 0 && it->second.session->ended()) sessions_.erase(it);
}

void Store::serve(Channel& channel, const LinkHello& hello) {
  prepare_thread_for_acting();
  const auto session = session_of(hello);
  LinkWelcome welcome;
  if (!session) {
    welcome.error = EAGAIN;
    (void)channel.send({bytes_of(welcome)}).ok();
    return;
  }
  {
    std::lock_guard lock(mutex_);
    channels_.insert(&channel);
    if (stopped_) channel.abort();
  }
  welcome.serial = session->serial();
  if (channel.send({bytes_of(welcome)}).ok()) {
    FrameBuffer request, reply;
    while (channel.recv(request).ok()) {
      if (!session->execute(hello.lane, request.span(), reply)) {
        ++refused_;
        break;
      }
      ++requests_;
      if (!channel.send({reply.span()}).ok()) break;
    }
  }
  {
    std::lock_guard lock(mutex_);
    channels_.erase(&channel);
  }
  leave(hello.token);
}

void Store::stop() {
  std::lock_guard lock(mutex_);
  stopped_ = true;
  for (Channel* channel : channels_) channel->abort();
  for (const auto& [token, kept] : sessions_) kept.session->watches().stop_waiting();
}

Store::Stats Store::stats() const {
  std::lock_guard lock(mutex_);
  Stats stats;
  stats.sessions = sessions_.size();
  stats.connections = channels_.size();
  for (const auto& [token, kept] : sessions_) stats.nodes += kept.session->nodes().size();
  stats.requests = requests_;
  stats.refused = refused_;
  return stats;
}

}  // namespace ssi::fs
