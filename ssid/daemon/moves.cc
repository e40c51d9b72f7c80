#include "ssid/daemon/moves.h"

#include <boost/asio/post.hpp>
#include <chrono>

#include "migrate/move/target_move.h"
#include "ssid/base/log.h"

namespace ssi {
namespace asio = boost::asio;
using migrate::CommitFate;
using migrate::MoveTicket;

Moves::Moves(asio::io_context& io, migrate::FreezerRoot& freezer, migrate::StreamPort& streams,
             fds::FilePort& files, std::shared_ptr<const TlsContext> tls, LinkTimeouts timeouts,
             migrate::CriuFiles criu, std::string images_root,
             migrate::OpenUserfaultfd open_userfaultfd, Handlers handlers)
    : io_(io),
      tls_(std::move(tls)),
      timeouts_(timeouts),
      handlers_(std::move(handlers)),
      env_{tls_->self(),
           freezer,
           streams,
           files,
           *this,
           std::move(criu),
           std::move(images_root),
           std::move(open_userfaultfd)} {}

Moves::~Moves() {
  for (Worker& w : workers_)
    w.thread.detach();  // the process ends; copies stay frozen, as after a crash
}

template <typename F>
auto Moves::on_loop(F f) -> decltype(f()) {
  std::packaged_task<decltype(f())()> task(std::move(f));
  auto result = task.get_future();
  asio::post(io_, [&task] { task(); });
  return result.get();
}

void Moves::spawn(std::function<void()> work) {
  auto& worker = workers_.emplace_back();
  const auto it = std::prev(workers_.end());
  worker.thread = std::thread([this, it, work = std::move(work)] {
    work();
    asio::post(io_, [this, it] {
      it->thread.join();
      workers_.erase(it);
    });
  });
}

namespace {

// The originals, or the deputies that they have become.
std::vector<pid_t> owners_at_home(const PreparedMove& prepared) {
  std::vector<pid_t> owners;
  if (prepared.source.guest) {
    owners.push_back(prepared.ticket.pid.pid);
    for (const auto& m : prepared.ticket.members) owners.push_back(m.pid);
    return owners;
  }
  owners.push_back(prepared.source.host_pid);
  owners.insert(owners.end(), prepared.source.below.begin(), prepared.source.below.end());
  return owners;
}

}  // namespace

void Moves::start_out(SsiPid pid, std::function<Result<OutgoingMove>()> prepare, Done done) {
  moving_.insert(pid);
  spawn([this, pid, prepare = std::move(prepare), done = std::move(done)] {
    auto report = [&]() -> Result<migrate::MoveReport> {
      const auto since = std::chrono::steady_clock::now();
      SSI_ASSIGN(OutgoingMove move, prepare());
      return run_out(move, since);
    }();
    asio::post(io_, [this, pid, done, report = std::move(report)]() mutable {
      moving_.erase(pid);
      done(std::move(report));
    });
  });
}

Result<migrate::MoveReport> Moves::run_out(OutgoingMove& move,
                                           std::chrono::steady_clock::time_point since) {
  const MoveTicket& ticket = move.prepared.ticket;
  migrate::MoveSource& source = move.prepared.source;
  SSI_ASSIGN(auto tls_link, TlsLink::connect(tls_, move.address, move.port, timeouts_));
  if (tls_link->peer() != ticket.to) {
    return Error("node at " + move.address + " is not node " + std::to_string(ticket.to.value));
  }
  TlsMoveLink link(std::move(tls_link));
  auto moved = [&]() -> Result<migrate::MoveReport> {
    source.owners = owners_at_home(move.prepared);
    for (const auto& [stream, fd] : source.to_export) {
      SSI_TRY(env_.streams.export_at_home(stream, fd, source.owners).context(stream.key));
    }
    SSI_TRY(offer_move(link, ticket, source));
    const auto checked = std::chrono::steady_clock::now() - since;
    SSI_ASSIGN(auto report, run_source_move(env_, link, ticket, source));
    report.check_us = static_cast<std::uint64_t>(
        std::chrono::duration_cast<std::chrono::microseconds>(checked).count());
    return report;
  }();
  if (!moved) {
    for (const auto& [stream, fd] : source.to_export) env_.streams.close_at_home(stream);
  }
  return moved;
}

void Moves::serve(std::unique_ptr<TlsLink> tls_link) {
  TlsMoveLink link(std::move(tls_link));
  auto offer = receive_offer(link);
  if (!offer)
    return log_warning("move from node {}: {}", link.peer().value, offer.error().message());
  const MoveTicket& ticket = offer->ticket;
  if (ticket.from != link.peer() || ticket.to != env_.self) {
    return log_warning("move from node {}: its offer names other nodes", link.peer().value);
  }
  const auto refused = on_loop([&]() -> std::optional<std::string> {
    if (restoring_.contains(key(ticket))) return "an earlier attempt is still being undone there";
    if (auto why = handlers_.refuse(ticket)) return why;
    restoring_.emplace(key(ticket), ticket.from);
    return std::nullopt;
  });
  if (refused) {
    (void)refuse_offer(link, *refused);
    return;
  }
  auto taken = run_target_move(env_, link, *offer);
  asio::post(io_, [this, ticket, taken = std::move(taken)] {
    restoring_.erase(key(ticket));
    called_off_.erase(key(ticket));
    if (taken) return handlers_.arrived(ticket);
    handlers_.failed_to_arrive(ticket);
    log_info("{}: not taken: {}", ticket.to_string(), taken.error().message());
  });
}

CommitFate Moves::commit(const MoveTicket& ticket) {
  std::future<CommitFate> fate = on_loop([&]() -> std::future<CommitFate> {
    Open open{ticket, {}};
    auto future = open.fate.get_future();
    if (auto sent = handlers_.send_commit(ticket); !sent) {
      log_info("{}: {}", ticket.to_string(), sent.error().message());
      open.fate.set_value(CommitFate::kAborted);
    } else {
      committing_.emplace(key(ticket), std::move(open));
    }
    return future;
  });
  return fate.get();
}

void Moves::abandon(const MoveTicket& ticket, const std::string& reason) {
  on_loop([&] { handlers_.send_abandon(ticket, reason); });
}

Result<> Moves::remember_guest(const MoveTicket& ticket,
                               const std::vector<migrate::StreamRef>& streams) {
  SSI_TRY(handlers_.remember(ticket, streams));
  // From here on the group may decide: before the source is told that the copy stands.
  return on_loop([&]() -> Result<> {
    if (called_off_.contains(key(ticket))) return Error("the source gave the move up");
    if (!handlers_.may_still_come(ticket)) return Error("the cluster has changed while it moved");
    awaited_.emplace(key(ticket), Open{ticket, {}});
    return {};
  });
}

CommitFate Moves::await_commit(const MoveTicket& ticket) {
  auto fate = on_loop([&] { return awaited_.at(key(ticket)).fate.get_future(); });
  const CommitFate result = fate.get();
  on_loop([&] { awaited_.erase(key(ticket)); });
  return result;
}

void Moves::decide(OpenMoves& open, const Key& which, CommitFate fate) {
  const auto it = open.find(which);
  if (it == open.end()) return;
  try {
    it->second.fate.set_value(fate);
  } catch (const std::future_error&) {
    return;  // decided before: the first word counts
  }
  // A source is done with it; a target takes it out when it has seen the value.
  if (&open == &committing_) open.erase(it);
}

void Moves::on_commit_decided(SsiPid pid, Epoch epoch, bool accepted) {
  decide(committing_, {pid, epoch}, accepted ? CommitFate::kCommitted : CommitFate::kAborted);
}

void Moves::on_came(SsiPid pid, Epoch epoch) {
  decide(awaited_, {pid, epoch}, CommitFate::kCommitted);
}

void Moves::on_abandoned(NodeId from, SsiPid pid, Epoch epoch) {
  const auto it = awaited_.find({pid, epoch});
  if (it != awaited_.end() && it->second.ticket.from == from) {
    decide(awaited_, it->first, CommitFate::kAborted);
  }
  // The word may come before the copy stands.
  const auto restoring = restoring_.find({pid, epoch});
  if (restoring != restoring_.end() && restoring->second == from) called_off_.insert({pid, epoch});
}

void Moves::on_over(SsiPid pid, std::uint64_t start_time) {
  for (const auto& [key, open] : awaited_) {
    if (key.pid == pid && open.ticket.start_time == start_time) {
      decide(awaited_, key, CommitFate::kAborted);
    }
  }
}

}  // namespace ssi
