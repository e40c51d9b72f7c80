#include "ssid/daemon/guests.h"

#include <fcntl.h>

#include "ssid/base/log.h"
#include "ssid/base/proc_status.h"

namespace ssi {
namespace asio = boost::asio;
using asio::posix::stream_descriptor;
using migrate::CopyName;
using migrate::FreezerCgroup;
using migrate::RealmClient;
using migrate::RealmMessage;
using migrate::RealmOp;

struct Guests::Realm {
  Realm(asio::io_context& io, std::string path, RealmClient e)
      : socket(std::move(path)),
        events(std::move(e)),
        readable(io, ::fcntl(events.fd(), F_DUPFD_CLOEXEC, 3)) {}
  std::string socket;
  RealmClient events;
  stream_descriptor readable;
};

Guests::Guests(asio::io_context& io, migrate::FreezerRoot& freezer, GuestRecords records,
               Handlers handlers)
    : io_(io), freezer_(freezer), records_(std::move(records)), handlers_(std::move(handlers)) {}

Guests::~Guests() = default;

void Guests::attach_realm(NodeId home, const std::string& socket) {
  if (realms_.contains(home)) return;
  auto client = RealmClient::connect(socket);
  if (!client || !client->subscribe()) {
    return log_warning("realm of node {} does not answer", home.value);
  }
  realms_.emplace(home, std::make_unique<Realm>(io_, socket, std::move(*client)));
  read_next(home);
}

void Guests::resubscribe(NodeId home) {
  if (const auto realm = realms_.find(home); realm != realms_.end())
    (void)realm->second->events.subscribe();
}

void Guests::read_next(NodeId home) {
  realms_.at(home)->readable.async_wait(stream_descriptor::wait_read,
                                        [this, home](boost::system::error_code ec) {
                                          const auto it = realms_.find(home);
                                          if (ec || it == realms_.end()) return;
                                          for (;;) {
                                            auto message = it->second->events.receive_now();
                                            if (!message) return realm_gone(home);
                                            if (!message->has_value()) break;
                                            on_message(home, **message);
                                          }
                                          read_next(home);
                                        });
}

void Guests::on_message(NodeId home, const RealmMessage& message) {
  const auto it = guests_.find({home, message.pid});
  if (it == guests_.end()) return;
  const GuestRecord record = it->second;
  switch (static_cast<RealmOp>(message.op)) {
    case RealmOp::kExited:
      return handlers_.on_ended(record, message.value);
    case RealmOp::kStopped:
      return handlers_.on_stopped(record, message.value);
    case RealmOp::kContinued:
      return handlers_.on_continued(record);
    default:
      return;
  }
}

void Guests::realm_gone(NodeId home) {
  log_error("realm of node {} is gone", home.value);
  realms_.erase(home);
  std::vector<GuestRecord> lost;
  for (const auto& [pid, record] : guests_) {
    if (pid.home == home) lost.push_back(record);
  }
  for (const GuestRecord& record : lost) handlers_.on_lost(record);
}

void Guests::add(GuestRecord record) { guests_[record.ticket.pid] = std::move(record); }

void Guests::remove(const CopyName& name) {
  const auto it = guests_.find(name.pid);
  if (it != guests_.end() && it->second.ticket.epoch == name.epoch) guests_.erase(it);
  (void)call_realm(name.pid, RealmOp::kAckExit, 0);
  records_.remove(name);
  if (auto cgroup = FreezerCgroup::open(freezer_.guest(name))) (void)cgroup->remove();
}

const GuestRecord* Guests::find(SsiPid pid) const {
  const auto it = guests_.find(pid);
  return it == guests_.end() ? nullptr : &it->second;
}

Result<> Guests::signal(SsiPid pid, int signo) { return call_realm(pid, RealmOp::kSignal, signo); }

Result<> Guests::signal_job(SsiPid pid, int signo) {
  return call_realm(pid, RealmOp::kSignalJob, signo);
}

Result<> Guests::call_realm(SsiPid pid, RealmOp op, int value) {
  const auto realm = realms_.find(pid.home);
  if (realm == realms_.end()) return Error(ErrorCode::kGone, "no realm of its home");
  SSI_ASSIGN(auto client, RealmClient::connect(realm->second->socket));
  SSI_TRY(client.call(op, pid.pid, value));
  return {};
}

std::optional<pid_t> Guests::host_pid(const GuestRecord& record) const {
  auto cgroup = FreezerCgroup::open(freezer_.guest(record.name()));
  if (!cgroup) return std::nullopt;
  auto pids = cgroup->pids();
  if (!pids) return std::nullopt;
  // The guest's own children are in its cgroup too: it is the one that has its PID in the realm.
  for (const pid_t pid : *pids) {
    if (innermost_pid(pid) == record.ticket.pid.pid) return pid;
  }
  return std::nullopt;
}

Result<> Guests::destroy(const CopyName& name) {
  (void)call_realm(name.pid, RealmOp::kForget, 0);
  SSI_ASSIGN(auto cgroup, FreezerCgroup::open(freezer_.guest(name)));
  SSI_TRY(cgroup.kill(std::chrono::seconds(5)));
  (void)call_realm(name.pid, RealmOp::kCleanUp, 0);
  SSI_TRY(cgroup.remove());
  return {};
}

}  // namespace ssi
