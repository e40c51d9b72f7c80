#include "ssid/daemon/guests.h"

#include <fcntl.h>

#include <boost/asio/post.hpp>
#include <chrono>
#include <thread>

#include "migrate/net/silence.h"
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

namespace {
constexpr auto kKillPatience = std::chrono::minutes(1);
}

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
  const SsiPid pid{home, message.pid};
  const GuestRecord* found = find_with(pid);
  if (found == nullptr) return;
  const GuestRecord record = *found;
  // Of the others the stops are their parents' business, which are there.
  const bool first = pid == record.ticket.pid;
  switch (static_cast<RealmOp>(message.op)) {
    case RealmOp::kExited:
      return handlers_.on_ended(record, pid, message.value);
    case RealmOp::kStopped:
      return first ? handlers_.on_stopped(record, message.value) : void();
    case RealmOp::kContinued:
      return first ? handlers_.on_continued(record) : void();
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

Result<> Guests::add_member(const CopyName& name, const migrate::UnitMember& member) {
  const auto it = guests_.find(name.pid);
  if (it == guests_.end() || it->second.ticket.epoch != name.epoch) return {};
  it->second.ticket.members.push_back(member);
  SSI_TRY(records_.save(it->second));
  return call_realm({name.pid.home, member.pid}, RealmOp::kRegisterMember, 0);
}

void Guests::note_end(const CopyName& name, SsiPid pid) {
  const auto it = guests_.find(name.pid);
  if (it == guests_.end() || it->second.ticket.epoch != name.epoch) return;
  if (pid == name.pid) it->second.over.insert(pid.pid);
  // One that starts others all the time would have ever more of them.
  std::erase_if(it->second.ticket.members,
                [&](const migrate::UnitMember& m) { return m.pid == pid.pid; });
  if (auto saved = records_.save(it->second); !saved) {
    log_error("guest {}: {}", name.to_string(), saved.error().message());
  }
  (void)call_realm(pid, RealmOp::kAckExit, 0);
}

void Guests::remove(const CopyName& name) {
  const auto it = guests_.find(name.pid);
  if (it != guests_.end() && it->second.ticket.epoch == name.epoch) guests_.erase(it);
  for (const SsiPid pid : pids_of(name)) (void)call_realm(pid, RealmOp::kAckExit, 0);
  records_.remove(name);
  if (auto cgroup = FreezerCgroup::open(freezer_.guest(name))) (void)cgroup->remove();
}

const GuestRecord* Guests::find(SsiPid pid) const {
  const auto it = guests_.find(pid);
  return it == guests_.end() ? nullptr : &it->second;
}

const GuestRecord* Guests::find_with(SsiPid pid) const {
  if (const GuestRecord* record = find(pid)) return record;
  for (const auto& [first, record] : guests_) {
    if (record.has(pid)) return &record;
  }
  return nullptr;
}

std::vector<SsiPid> Guests::pids_of(const CopyName& name) const {
  const auto record = records_.load(name);
  std::vector<SsiPid> pids{name.pid};
  if (!record) return pids;
  for (const migrate::UnitMember& m : record->ticket.members)
    pids.push_back({name.pid.home, m.pid});
  return pids;
}

Result<> Guests::signal(SsiPid pid, int signo) { return call_realm(pid, RealmOp::kSignal, signo); }

Result<> Guests::signal_job(SsiPid pid, int signo) {
  return call_realm(pid, RealmOp::kSignalJob, signo);
}

Result<> Guests::signal_group(SsiPid pid, int signo) {
  return call_realm(pid, RealmOp::kSignalGroup, signo);
}

Result<> Guests::call_realm(SsiPid pid, RealmOp op, int value) {
  const auto realm = realms_.find(pid.home);
  if (realm == realms_.end()) return Error(ErrorCode::kGone, "no realm of its home");
  SSI_ASSIGN(auto client, RealmClient::connect(realm->second->socket));
  SSI_TRY(client.call(op, pid.pid, value));
  return {};
}

std::vector<pid_t> Guests::host_pids(const GuestRecord& record) const {
  auto cgroup = FreezerCgroup::open(freezer_.guest(record.name()));
  if (!cgroup) return {};
  auto pids = cgroup->pids();
  return pids ? std::move(*pids) : std::vector<pid_t>();
}

std::optional<pid_t> Guests::host_pid(const GuestRecord& record, SsiPid pid) const {
  for (const pid_t here : host_pids(record)) {
    if (innermost_pid(here) == pid.pid) return here;
  }
  return std::nullopt;
}

Result<> Guests::destroy(const CopyName& name) {
  for (const SsiPid pid : pids_of(name)) (void)call_realm(pid, RealmOp::kForget, 0);
  SSI_ASSIGN(auto cgroup, FreezerCgroup::open(freezer_.guest(name)));
  // What it was connected to goes on with the process, wherever that is.
  if (auto pids = cgroup.pids()) {
    for (const pid_t pid : *pids) (void)net::silence_sockets(pid);
  }
  SSI_TRY(cgroup.kill(std::chrono::seconds(5)));
  (void)call_realm(name.pid, RealmOp::kCleanUp, 0);
  SSI_TRY(cgroup.remove());
  return {};
}

void Guests::destroy_in_background(const CopyName& name) {
  for (const SsiPid pid : pids_of(name)) (void)call_realm(pid, RealmOp::kForget, 0);
  const auto it = guests_.find(name.pid);
  if (it != guests_.end() && it->second.ticket.epoch == name.epoch) guests_.erase(it);
  auto cgroup = FreezerCgroup::open(freezer_.guest(name));
  if (!cgroup) return remove(name);
  if (auto pids = cgroup->pids()) {
    for (const pid_t pid : *pids) (void)net::silence_sockets(pid);
  }
  std::thread([this, name, cgroup = std::move(*cgroup)] {
    const auto killed = cgroup.kill(kKillPatience);
    asio::post(io_, [this, name, killed] {
      if (!killed) log_error("copy {}: {}", name.to_string(), killed.error().message());
      (void)call_realm(name.pid, RealmOp::kCleanUp, 0);
      remove(name);
    });
  }).detach();
}

}  // namespace ssi
