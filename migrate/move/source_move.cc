#include "migrate/move/source_move.h"

#include <sys/socket.h>

#include <chrono>
#include <optional>
#include <thread>

#include "migrate/criu/criu_process.h"
#include "migrate/deputy/conversion.h"
#include "migrate/move/frozen_copy.h"
#include "migrate/move/image_dir.h"
#include "migrate/move/move_codec.h"
#include "migrate/move/step_fault.h"
#include "migrate/move/stream_key.h"
#include "migrate/pages/early_copy.h"
#include "migrate/pages/page_pump.h"
#include "migrate/realm/realm_client.h"

namespace ssi::migrate {
namespace {

using Clock = std::chrono::steady_clock;
// A guest that has just arrived has all its memory within seconds.
constexpr auto kArrivalTimeout = std::chrono::minutes(5);

std::uint64_t micros_since(Clock::time_point start) {
  return static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - start).count());
}

Result<> send_message(MoveLink& link, const MoveMessage& message) {
  return link.send(MoveFrame::kMessage, encode(message));
}

template <typename T>
Result<T> receive(MoveLink& link) {
  SSI_ASSIGN(const auto frame, link.receive());
  if (frame.type != MoveFrame::kMessage) return Error("pages came where an answer was due");
  SSI_ASSIGN(auto message, decode_move(frame.payload));
  if (auto* abandoned = std::get_if<Abandon>(&message)) return Error(abandoned->reason);
  if (auto* wanted = std::get_if<T>(&message)) return std::move(*wanted);
  return Error("the other side answered out of turn");
}

class SourceMove {
 public:
  SourceMove(MoveEnvironment& env, MoveLink& link, const MoveTicket& ticket,
             const MoveSource& source)
      : env_(env),
        link_(link),
        ticket_(ticket),
        source_(source),
        owner_{PageOwner::Kind::kProcess, static_cast<std::uint64_t>(ticket.pid.pid)},
        early_(source.host_pid, owner_, env.open_userfaultfd,
               [this](auto bytes) { return link_.send(MoveFrame::kEarlyPages, bytes); }) {}

  Result<MoveReport> run() {
    if (auto ready = prepare(); !ready) return call_off(std::move(ready).error());
    auto held = hold();
    if (!held) return call_off(std::move(held).error());
    FrozenCopy copy = std::move(*held);
    frozen_since_ = Clock::now();
    auto carried = carry_over(copy);
    if (!carried) {
      return give_up(copy, Error(ErrorCode::kRefused, carried.error().message()));
    }
    const auto commit_since = Clock::now();
    if (env_.host.commit(ticket_) == CommitFate::kAborted) {
      return give_up(copy, Error("the cluster did not take the move (a node left, or no quorum)"));
    }
    report_.commit_us = micros_since(commit_since);
    report_.frozen_us = micros_since(frozen_since_);
    copy.keep();
    (void)SSI_FAULT("migrate.after_commit");
    for (const StreamRef& s : drained_) env_.streams.detach(s);
    env_.host.stand_down(ticket_, carried_signals_);
    return report_;
  }

 private:
  CopyName new_name() const { return {ticket_.pid, ticket_.epoch}; }

  // All that needs no standing still: criu started, the memory sent ahead.
  Result<> prepare() {
    SSI_TRY(step_fault(SSI_FAULT("migrate.before_freeze")));
    if (source_.guest) SSI_TRY(await_arrival());
    SSI_ASSIGN(auto images, ImageDir::create(env_.images_root, new_name().to_string() + "-src"));
    images_.emplace(std::move(images));
    SSI_TRY(start_criu());
    const auto since = Clock::now();
    SSI_TRY(early_.run());
    report_.why_not_copied = early_.why_not();
    report_.copied_bytes = early_.sent_bytes();
    SSI_TRY(send_message(link_, EarlyDone{early_.sent_bytes()}));
    SSI_TRY(receive<EarlyTaken>(link_));
    report_.copy_us = micros_since(since);
    return {};
  }

  // A guest's memory may still be on its way to its place: criu would miss what is not there.
  Result<> await_arrival() {
    SSI_ASSIGN(RealmClient realm, RealmClient::connect(source_.realm_socket));
    const auto deadline = Clock::now() + kArrivalTimeout;
    for (;;) {
      SSI_ASSIGN(const RealmMessage left, realm.call(RealmOp::kPagersLeft, ticket_.pid.pid));
      if (left.value == 0) return {};
      if (Clock::now() > deadline) {
        return Error(ErrorCode::kTimeout,
                     "its memory is still being installed after its last move");
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
  }

  Result<FrozenCopy> hold() {
    if (source_.guest) return FrozenCopy::hold_guest(env_.freezer, *source_.guest);
    return FrozenCopy::hold_original(env_.freezer, new_name(), source_.host_pid);
  }

  // freeze, dump, send, and the target's restore.
  Result<> carry_over(FrozenCopy& copy) {
    SSI_TRY(copy.freeze());
    // It was checked before its memory was sent ahead, and has run since.
    if (source_.check_again) SSI_TRY(source_.check_again());
    SSI_TRY(step_fault(SSI_FAULT("migrate.after_freeze")));
    if (!source_.guest) {
      SSI_ASSIGN(carried_signals_, deputy::queued_signals(source_.host_pid));
    }
    for (const StreamRef& s : source_.guest ? source_.streams : std::vector<StreamRef>()) {
      drained_.push_back(s);  // also one that does not get empty in time stands still
      SSI_TRY(env_.streams.drain(s).context(s.key));
    }
    SSI_TRY(send_message(link_, Frozen{}));
    report_.freeze_us = micros_since(frozen_since_);
    SSI_TRY(dump(copy));
    SSI_TRY(step_fault(SSI_FAULT("migrate.after_dump")));
    SSI_TRY(send());
    SSI_TRY(step_fault(SSI_FAULT("migrate.after_send")));
    const auto since = Clock::now();
    SSI_ASSIGN(const Restored restored, receive<Restored>(link_));
    report_.restore_us = micros_since(since);
    if (!restored.ok) {
      return Error("node " + std::to_string(ticket_.to.value) + ": " + restored.reason);
    }
    return step_fault(SSI_FAULT("migrate.after_restore"));
  }

  // On this node for an original, in its realm for a guest. It waits for its order; should we end
  // without giving one, it ends.
  Result<> start_criu() {
    SSI_ASSIGN(SocketPair pages, make_socket_pair(SOCK_STREAM));
    const int buffer_bytes = 4 << 20;
    ::setsockopt(*pages.there, SOL_SOCKET, SO_SNDBUFFORCE, &buffer_bytes, sizeof buffer_bytes);
    pages_ = std::move(pages.here);
    const CriuUser user = criu_user_for(source_.host_pid);
    if (!source_.guest) {
      const int extra[] = {*pages.there};
      SSI_ASSIGN(auto local, LocalCriu::start(env_.criu_path, user, images_->fd(), extra));
      local_criu_.emplace(std::move(local));
      return {};
    }
    SSI_ASSIGN(RealmClient realm, RealmClient::connect(source_.realm_socket));
    SSI_ASSIGN(SocketPair rpc, make_socket_pair(SOCK_SEQPACKET));
    SSI_ASSIGN(FreezerCgroup workers, FreezerCgroup::create(env_.freezer.workers()));
    SSI_ASSIGN(UniqueFd procs, workers.open_procs());
    const int fds[] = {*procs, *rpc.there, images_->fd(), *pages.there};
    SSI_ASSIGN(const RealmMessage started,
               realm.call(RealmOp::kSpawnDump, static_cast<pid_t>(user.uid),
                          static_cast<int>(user.gid), fds));
    realm_criu_pid_ = started.pid;
    realm_criu_.emplace(std::move(rpc.here));
    return {};
  }

  Result<> dump(const FrozenCopy& copy) {
    const auto since = Clock::now();
    const int pages_fd = *pages_;
    PagePump pump(std::move(pages_), owner_, early_.unchanged(),
                  [this](auto bytes) { return link_.send(MoveFrame::kPages, bytes); });
    Result<> pumped;
    std::jthread pumping([&] {
      pumped = pump.run();
      if (!pumped) ::shutdown(pages_fd, SHUT_RDWR);  // so that criu does not wait for a reader
    });
    auto dumped = order_dump(copy);
    if (!dumped) ::shutdown(pages_fd, SHUT_RDWR);
    pumping.join();
    report_.dump_us = micros_since(since);
    report_.memory_bytes = pump.memory_bytes();
    report_.frozen_bytes = pump.sent_bytes();
    if (!dumped) {
      const std::string why = plain_error(images_->read_log("dump.log"));
      return std::move(dumped).error().context(why.empty() ? "dump" : "dump: " + why);
    }
    return std::move(pumped).context("send memory");
  }

  Result<> order_dump(const FrozenCopy& copy) {
    DumpOptions o;
    o.images_fd = kCriuImagesFd;
    o.page_server_fd = kCriuFirstExtraFd;
    o.freeze_cgroup = copy.cgroup().dir();
    for (const StreamRef& s : source_.streams) {
      if (!is_terminal_key(s.key) || !s.write_end) continue;
      o.external.push_back(s.key);
      if (!s.also_key.empty()) o.external.push_back(s.also_key);
    }
    if (local_criu_) {
      SSI_TRY(step_fault(SSI_FAULT("migrate.dump"), local_criu_->pid()));
      o.pid = source_.host_pid;
      return local_criu_->rpc().dump(o);
    }
    SSI_ASSIGN(FreezerCgroup workers, FreezerCgroup::create(env_.freezer.workers()));
    SSI_TRY(step_fault_in(SSI_FAULT("migrate.dump"), workers, realm_criu_pid_));
    o.pid = ticket_.pid.pid;
    if (ticket_.pid.home != env_.self) o.freeze_cgroup = inside_realm(o.freeze_cgroup);
    return realm_criu_->dump(o);
  }

  // The cgroup tree is mounted at /run/ssid/cgroup inside a realm.
  std::string inside_realm(const std::string& dir) const {
    return std::string(kRealmPrivateDir) + "/cgroup" + dir.substr(env_.freezer.mount().size());
  }

  Result<> send() {
    const auto since = Clock::now();
    SSI_ASSIGN(DumpDone done, images_->for_each_part(
                                  [this](const ImageFile& p) { return send_message(link_, p); }));
    done.memory_bytes = report_.frozen_bytes;
    report_.file_bytes = done.file_bytes;
    SSI_TRY(send_message(link_, done));
    report_.send_us = micros_since(since);
    return {};
  }

  // Before the freeze: the process has not noticed anything.
  Error call_off(Error reason) {
    (void)send_message(link_, Abandon{reason.message()});
    link_.abort();
    return reason;
  }

  Error give_up(FrozenCopy& copy, Error reason) {
    // First the word to everybody that this epoch will not come, then the process may go on.
    env_.host.abandon(ticket_, reason.message());
    (void)send_message(link_, Abandon{reason.message()});
    link_.abort();
    for (const StreamRef& s : drained_) (void)env_.streams.resume(s);
    if (auto thawed = copy.thaw(); !thawed) {
      return Error(reason.message() + "; and it could not be thawed: " + thawed.error().message());
    }
    return reason;
  }

  MoveEnvironment& env_;
  MoveLink& link_;
  const MoveTicket& ticket_;
  const MoveSource& source_;
  PageOwner owner_;
  EarlyCopy early_;
  std::optional<ImageDir> images_;
  UniqueFd pages_;                       // our end of criu's page stream
  std::optional<LocalCriu> local_criu_;  // one of the two
  std::optional<CriuRpc> realm_criu_;
  pid_t realm_criu_pid_ = 0;  // as its realm has it
  MoveReport report_;
  Clock::time_point frozen_since_;
  std::vector<StreamRef> drained_;
  std::vector<int> carried_signals_;
};

}  // namespace

Result<> offer_move(MoveLink& link, const MoveTicket& ticket, const MoveSource& source) {
  Offer offer{ticket, source.streams, ""};
  for (StreamRef& s : offer.streams) ++s.generation;
  SSI_TRY(send_message(link, offer));
  SSI_ASSIGN(const Answer answer, receive<Answer>(link));
  if (!answer.accepted) {
    return Error(ErrorCode::kBusy, "node " + std::to_string(ticket.to.value) +
                                       " does not take it now: " + answer.reason);
  }
  return {};
}

Result<MoveReport> run_source_move(MoveEnvironment& env, MoveLink& link, const MoveTicket& ticket,
                                   const MoveSource& source) {
  return SourceMove(env, link, ticket, source).run();
}

}  // namespace ssi::migrate
