#include "ssid/daemon/deputies.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <cstring>

#include "ssid/base/log.h"

namespace ssi {
namespace asio = boost::asio;
using asio::posix::stream_descriptor;

namespace {
constexpr auto kBornWithin = std::chrono::seconds(2);
}

struct Deputies::Connection {
  Connection(asio::io_context& io, int fd) : descriptor(io, fd) {}
  stream_descriptor descriptor;
  deputy::Peer peer;
  bool said_hello = false;
};

struct Deputies::Deputy {
  Deputy(asio::io_context& io, ProcessHandle h)
      : process(std::move(h)), death(io, ::fcntl(process.pidfd(), F_DUPFD_CLOEXEC, 3)) {}
  ProcessHandle process;
  stream_descriptor death;  // readable when it has ended
  std::shared_ptr<Connection> connection;
  deputy::JobControl job;
  std::optional<int> outcome;     // wait status to end with
  std::optional<int> stop_signo;  // to be told when it is connected
};

struct Deputies::Birth {
  std::function<void(Result<>)> done;
  asio::steady_timer timer;
};

Deputies::Deputies(asio::io_context& io, Handlers handlers)
    : io_(io),
      handlers_(std::move(handlers)),
      stops_(io, ::fcntl(watcher_.event_fd(), F_DUPFD_CLOEXEC, 3)),
      listener_(io) {
  wait_for_stops();
}

Deputies::~Deputies() = default;

Result<> Deputies::listen(const std::string& socket_path) {
  SSI_ASSIGN(UniqueFd fd, deputy::listen_for_deputies(socket_path));
  listener_.assign(fd.release());
  accept_next();
  return {};
}

void Deputies::accept_next() {
  listener_.async_wait(stream_descriptor::wait_read, [this](boost::system::error_code ec) {
    if (ec) return;
    const int fd =
        ::accept4(listener_.native_handle(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0) {
      auto connection = std::make_shared<Connection>(io_, fd);
      if (auto peer = deputy::peer_of(fd)) {
        connection->peer = std::move(*peer);
        read_next(connection);
      }
    }
    accept_next();
  });
}

void Deputies::read_next(const std::shared_ptr<Connection>& connection) {
  connection->descriptor.async_wait(
      stream_descriptor::wait_read, [this, connection](boost::system::error_code ec) {
        if (ec) return;
        auto message = deputy::receive(connection->descriptor.native_handle());
        if (message) {
          on_message(connection, *message);
        } else if (message.error().code() != ErrorCode::kTimeout) {
          const auto d = deputies_.find(connection->peer.pid);
          if (d != deputies_.end() && d->second->connection == connection) {
            d->second->connection.reset();
          }
          return;
        }
        read_next(connection);
      });
}

void Deputies::on_message(const std::shared_ptr<Connection>& connection,
                          const deputy::FromDeputy& message) {
  const pid_t pid = connection->peer.pid;
  if (const auto* hello = std::get_if<deputy::Hello>(&message)) {
    return on_hello(connection, hello->born_with);
  }
  if (const auto* not_born = std::get_if<deputy::NotBorn>(&message)) {
    if (deputies_.contains(pid)) {
      birth_over(not_born->pid, Error(std::string("no deputy: ") + std::strerror(not_born->error)));
    }
    return;
  }
  const auto d = deputies_.find(pid);
  if (!connection->said_hello || d == deputies_.end() || d->second->connection != connection)
    return;
  if (const auto* ended = std::get_if<deputy::StopEnded>(&message)) {
    act(*d->second, d->second->job.on_stop_ended(*ended));
  } else if (const auto* s = std::get_if<deputy::Signal>(&message)) {
    d->second->job.on_signal(*s);
    handlers_.on_signal(pid, *s);
    (void)deputy::send(connection->descriptor.native_handle(),
                       deputy::SignalAck{.sequence = s->sequence});
  }
}

void Deputies::on_hello(const std::shared_ptr<Connection>& connection, pid_t born_with) {
  const pid_t pid = connection->peer.pid;
  connection->said_hello = true;
  if (births_.contains(pid)) {
    watch(pid, std::nullopt);
  } else if (!deputies_.contains(pid)) {
    // An ordinary process of some user may say anything here; it gets nothing, as it has no fate.
    const auto fate = handlers_.fate_of(pid, born_with);
    if (!fate.known) {
      log_warning("deputy {} belongs to no guest that is known; left alone", pid);
      return;
    }
    adopt(pid);
  }
  const auto d = deputies_.find(pid);
  if (d == deputies_.end()) return;
  d->second->connection = connection;
  deliver_outcome(*d->second);
  birth_over(pid, {});
}

void Deputies::give_birth(pid_t forker, const deputy::Birth& birth,
                          std::function<void(Result<>)> done) {
  const pid_t pid = birth.pid;
  const auto d = deputies_.find(forker);
  const bool can = d != deputies_.end() && d->second->connection && !births_.contains(pid);
  auto sent = can ? deputy::send(d->second->connection->descriptor.native_handle(), birth)
                  : Result<>(Error(ErrorCode::kBusy, "its parent's deputy can't be reached now"));
  if (!sent) return asio::post(io_, [done, sent] { done(sent); });
  auto [it, added] =
      births_.emplace(pid, std::make_unique<Birth>(std::move(done), asio::steady_timer(io_)));
  it->second->timer.expires_after(kBornWithin);
  it->second->timer.async_wait([this, pid](boost::system::error_code ec) {
    if (!ec) birth_over(pid, Error(ErrorCode::kTimeout, "its parent's deputy does not answer"));
  });
}

void Deputies::birth_over(pid_t pid, Result<> how) {
  if (auto birth = births_.extract(pid)) birth.mapped()->done(std::move(how));
}

void Deputies::deliver_outcome(Deputy& d) {
  if (!d.connection) return;
  const int fd = d.connection->descriptor.native_handle();
  if (d.outcome) {
    const int status = *d.outcome;
    auto sent = WIFSIGNALED(status) ? deputy::send(fd, deputy::Die{.signo = WTERMSIG(status)})
                                    : deputy::send(fd, deputy::Exit{.status = WEXITSTATUS(status)});
    if (!sent) log_warning("deputy {}: {}", d.process.pid(), sent.error().message());
    // One that is stopped reads nothing.
    (void)deputy::continue_deputy(d.process.pidfd());
    return;
  }
  if (const auto signo = std::exchange(d.stop_signo, std::nullopt)) {
    (void)deputy::send(fd, deputy::Stop{.signo = *signo});
  }
}

void Deputies::act(Deputy& d, std::optional<deputy::JobControl::Action> action) {
  using Act = deputy::JobControl::Act;
  if (!action) return;
  const pid_t pid = d.process.pid();
  switch (action->act) {
    case Act::kStopDeputy:
      d.stop_signo = action->signo;
      return deliver_outcome(d);
    case Act::kContinueDeputy:
      d.stop_signo.reset();
      (void)deputy::continue_deputy(d.process.pidfd());
      return;
    case Act::kStopGuest:
      return handlers_.on_signal(pid, {.signo = SIGSTOP});
    case Act::kContinueGuest:
      return handlers_.on_signal(pid, {.signo = SIGCONT});
  }
}

void Deputies::adopt(pid_t pid) {
  // Its guest may have ended before this was known.
  if (!deputies_.contains(pid)) watch(pid, handlers_.fate_of(pid, 0).wait_status);
}

void Deputies::watch(pid_t pid, std::optional<int> outcome) {
  auto handle = ProcessHandle::open(pid);
  if (!handle) return handlers_.on_killed(pid);
  deputies_.emplace(pid, std::make_unique<Deputy>(io_, std::move(*handle)));
  if (auto watched = watcher_.watch(pid); !watched) {
    log_warning("deputy {}: its stops can't be seen: {}", pid, watched.error().message());
  }
  deputies_.at(pid)->outcome = outcome;
  wait_for_death(pid);
}

void Deputies::wait_for_death(pid_t pid) {
  Deputy& d = *deputies_.at(pid);
  d.death.async_wait(stream_descriptor::wait_read, [this, pid](boost::system::error_code ec) {
    const auto it = deputies_.find(pid);
    if (ec || it == deputies_.end()) return;
    const bool expected = it->second->outcome.has_value();
    forget(pid);
    handlers_.on_gone(pid);
    if (!expected) handlers_.on_killed(pid);
  });
}

void Deputies::forget(pid_t pid) {
  watcher_.unwatch(pid);
  deputies_.erase(pid);
}

void Deputies::finish(pid_t pid, int wait_status) {
  const auto d = deputies_.find(pid);
  if (d == deputies_.end()) return;
  d->second->outcome = wait_status;
  deliver_outcome(*d->second);
}

void Deputies::stop(pid_t pid, int signo) {
  const auto d = deputies_.find(pid);
  if (d != deputies_.end()) act(*d->second, d->second->job.on_guest_stopped(signo));
}

void Deputies::go_on(pid_t pid) {
  const auto d = deputies_.find(pid);
  if (d != deputies_.end()) act(*d->second, d->second->job.on_guest_continued());
}

void Deputies::wait_for_stops() {
  stops_.async_wait(stream_descriptor::wait_read, [this](boost::system::error_code ec) {
    if (ec) return;
    for (const deputy::StopReport& report : watcher_.take()) {
      const auto d = deputies_.find(report.pid);
      if (d == deputies_.end()) continue;
      deputy::JobControl& job = d->second->job;
      if (report.kind == deputy::StopReport::Kind::kStopped) {
        act(*d->second, job.on_deputy_stopped(deputy::is_stopped(report.pid)));
      } else if (report.kind == deputy::StopReport::Kind::kContinued) {
        job.on_deputy_continued();
      }
    }
    wait_for_stops();
  });
}

}  // namespace ssi
