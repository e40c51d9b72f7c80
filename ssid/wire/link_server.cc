#include "ssid/wire/link_server.h"

#include <poll.h>

#include "ssid/base/log.h"

namespace ssi {
namespace {
constexpr std::int64_t kAcceptTickMs = 1000;  // how often finished workers are collected
constexpr int kOutOfDescriptorsPauseMs = 100;
}  // namespace

bool RateLimit::allow(std::int64_t now_ms, std::int64_t& suppressed) {
  if (said_ == 0 || now_ms - period_start_ms_ >= period_ms_) {
    period_start_ms_ = now_ms;
    said_ = 0;
  }
  if (said_ >= burst_) {
    ++suppressed_;
    return false;
  }
  ++said_;
  suppressed = std::exchange(suppressed_, 0);
  return true;
}

Result<std::unique_ptr<LinkServer>> LinkServer::start(std::shared_ptr<const TlsContext> context,
                                                      const std::string& address,
                                                      std::uint16_t port, LinkServerOptions options,
                                                      OnLink on_link) {
  SSI_ASSIGN(TcpListener listener, TcpListener::listen(address, port));
  std::unique_ptr<LinkServer> made(
      new LinkServer(std::move(context), std::move(listener), options, std::move(on_link)));
  made->accept_thread_ = std::thread([server = made.get()] { server->accept_loop(); });
  return made;
}

LinkServer::LinkServer(std::shared_ptr<const TlsContext> context, TcpListener listener,
                       LinkServerOptions options, OnLink on_link)
    : context_(std::move(context)),
      listener_(std::move(listener)),
      options_(options),
      on_link_(std::move(on_link)) {}

LinkServer::~LinkServer() {
  stopping_ = true;
  listener_.stop();
  if (accept_thread_.joinable()) accept_thread_.join();
  for (Worker& worker : workers_) worker.thread.join();
}

void LinkServer::accept_loop() {
  while (!stopping_) {
    auto connection = listener_.accept(kAcceptTickMs);
    join_finished();
    if (!connection) {
      if (connection.error().code() == ErrorCode::kTimeout) continue;
      if (connection.error().code() == ErrorCode::kGone) return;
      log_refused(connection.error().message());
      ::poll(nullptr, 0, kOutOfDescriptorsPauseMs);
      continue;
    }
    if (handshakes_.load() >= options_.handshakes_max) {
      log_refused(tcp_peer_name(**connection) + ": too many connections without the key");
      continue;
    }
    ++handshakes_;
    Worker& worker = workers_.emplace_back();
    worker.thread = std::thread([this, &worker, fd = std::move(*connection)]() mutable {
      serve(std::move(fd));
      worker.done = true;
    });
  }
}

void LinkServer::serve(UniqueFd connection) {
  auto link = TlsLink::accept(context_, std::move(connection), options_.timeouts);
  --handshakes_;
  if (!link) return log_refused(link.error().message());
  if (!stopping_) on_link_(std::move(*link));
}

void LinkServer::log_refused(const std::string& why) {
  std::lock_guard lock(log_mutex_);
  std::int64_t suppressed = 0;
  if (!log_limit_.allow(clock_.now_ms(), suppressed)) return;
  if (suppressed > 0)
    log_warning("link refused: {} ({} more were not shown)", why, suppressed);
  else
    log_warning("link refused: {}", why);
}

void LinkServer::join_finished() {
  for (auto at = workers_.begin(); at != workers_.end();) {
    if (!at->done) {
      ++at;
      continue;
    }
    at->thread.join();
    at = workers_.erase(at);
  }
}

}  // namespace ssi
