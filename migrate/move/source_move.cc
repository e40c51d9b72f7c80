#include "migrate/move/source_move.h"

#include <sys/socket.h>

#include <chrono>
#include <thread>

#include "migrate/criu/criu_process.h"
#include "migrate/deputy/conversion.h"
#include "migrate/move/frozen_copy.h"
#include "migrate/move/image_dir.h"
#include "migrate/move/move_codec.h"
#include "migrate/move/step_fault.h"
#include "migrate/pages/page_pump.h"
#include "migrate/realm/realm_client.h"

namespace ssi::migrate {
namespace {

using Clock = std::chrono::steady_clock;

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
      : env_(env), link_(link), ticket_(ticket), source_(source) {}

  Result<MoveReport> run() {
    SSI_TRY(step_fault(SSI_FAULT("migrate.before_freeze")));
    frozen_since_ = Clock::now();
    SSI_ASSIGN(FrozenCopy copy, freeze());
    report_.freeze_us = micros_since(frozen_since_);
    auto ready = carry_over(copy);
    if (!ready) return give_up(copy, Error(ErrorCode::kRefused, ready.error().message()));
    const auto commit_since = Clock::now();
    if (env_.host.commit(ticket_) == CommitFate::kAborted) {
      return give_up(copy, Error("the cluster did not take the move (a node left, or no quorum)"));
    }
    report_.commit_us = micros_since(commit_since);
    report_.frozen_us = micros_since(frozen_since_);
    copy.keep();
    for (const StreamRef& s : drained_) env_.streams.detach(s);
    (void)SSI_FAULT("migrate.after_commit");
    env_.host.stand_down(ticket_, carried_signals_);
    return report_;
  }

 private:
  CopyName new_name() const { return {ticket_.pid, ticket_.epoch}; }

  Result<FrozenCopy> freeze() {
    if (source_.guest) return FrozenCopy::freeze_guest(env_.freezer, *source_.guest);
    return FrozenCopy::freeze_original(env_.freezer, new_name(), source_.host_pid);
  }

  // dump, send, and the target's restore.
  Result<> carry_over(const FrozenCopy& copy) {
    SSI_TRY(step_fault(SSI_FAULT("migrate.after_freeze")));
    if (!source_.guest) {
      SSI_ASSIGN(carried_signals_, deputy::queued_signals(source_.host_pid));
    }
    for (const StreamRef& s : source_.guest ? source_.streams : std::vector<StreamRef>()) {
      drained_.push_back(s);  // also one that does not get empty in time stands still
      SSI_TRY(env_.streams.drain(s).context("pipe " + s.key));
    }
    SSI_ASSIGN(ImageDir images,
               ImageDir::create(env_.images_root, new_name().to_string() + "-src"));
    SSI_TRY(dump(copy, images));
    SSI_TRY(step_fault(SSI_FAULT("migrate.after_dump")));
    SSI_TRY(send(images));
    SSI_TRY(step_fault(SSI_FAULT("migrate.after_send")));
    const auto since = Clock::now();
    SSI_ASSIGN(const Restored restored, receive<Restored>(link_));
    report_.restore_us = micros_since(since);
    if (!restored.ok) {
      return Error("node " + std::to_string(ticket_.to.value) + ": " + restored.reason);
    }
    return step_fault(SSI_FAULT("migrate.after_restore"));
  }

  Result<> dump(const FrozenCopy& copy, const ImageDir& images) {
    const auto since = Clock::now();
    SSI_ASSIGN(SocketPair pages, make_socket_pair(SOCK_STREAM));
    const int buffer_bytes = 4 << 20;
    ::setsockopt(*pages.there, SOL_SOCKET, SO_SNDBUFFORCE, &buffer_bytes, sizeof buffer_bytes);
    const int pages_fd = *pages.here;
    PagePump pump(std::move(pages.here),
                  [this](auto bytes) { return link_.send(MoveFrame::kPages, bytes); });
    Result<> pumped;
    std::jthread pumping([&] {
      pumped = pump.run();
      if (!pumped) ::shutdown(pages_fd, SHUT_RDWR);  // so that criu does not wait for a reader
    });
    auto dumped = source_.guest ? dump_in_realm(copy, images, std::move(pages.there))
                                : dump_here(copy, images, std::move(pages.there));
    if (!dumped) ::shutdown(pages_fd, SHUT_RDWR);
    pumping.join();
    report_.dump_us = micros_since(since);
    report_.memory_bytes = pump.memory_bytes();
    if (!dumped) {
      const std::string why = plain_error(images.read_log("dump.log"));
      return std::move(dumped).error().context(why.empty() ? "dump" : "dump: " + why);
    }
    return std::move(pumped).context("send memory");
  }

  DumpOptions dump_options(const FrozenCopy& copy) const {
    DumpOptions o;
    o.images_fd = kCriuImagesFd;
    o.page_server_fd = kCriuFirstExtraFd;
    o.freeze_cgroup = copy.cgroup().dir();
    return o;
  }

  Result<> dump_here(const FrozenCopy& copy, const ImageDir& images, UniqueFd pages) {
    const int extra[] = {*pages};
    SSI_ASSIGN(LocalCriu criu, LocalCriu::start(env_.criu_path, images.fd(), extra));
    pages.reset();
    SSI_TRY(step_fault(SSI_FAULT("migrate.dump"), criu.pid()));
    DumpOptions o = dump_options(copy);
    o.pid = source_.host_pid;
    return criu.rpc().dump(o);
  }

  Result<> dump_in_realm(const FrozenCopy& copy, const ImageDir& images, UniqueFd pages) {
    SSI_ASSIGN(RealmClient realm, RealmClient::connect(source_.realm_socket));
    SSI_ASSIGN(SocketPair rpc, make_socket_pair(SOCK_SEQPACKET));
    SSI_ASSIGN(FreezerCgroup workers, FreezerCgroup::create(env_.freezer.workers()));
    SSI_ASSIGN(UniqueFd procs, workers.open_procs());
    const int fds[] = {*procs, *rpc.there, images.fd(), *pages};
    SSI_ASSIGN(const RealmMessage criu, realm.call(RealmOp::kSpawnCriu, 0, 0, fds));
    rpc.there.reset();
    pages.reset();
    SSI_TRY(step_fault_in(SSI_FAULT("migrate.dump"), workers, criu.pid));
    DumpOptions o = dump_options(copy);
    o.pid = ticket_.pid.pid;
    if (ticket_.pid.home != env_.self) o.freeze_cgroup = inside_realm(o.freeze_cgroup);
    return CriuRpc(std::move(rpc.here)).dump(o);
  }

  // The cgroup tree is mounted at /run/ssid/cgroup inside a realm.
  std::string inside_realm(const std::string& dir) const {
    return std::string(kRealmPrivateDir) + "/cgroup" + dir.substr(env_.freezer.mount().size());
  }

  Result<> send(const ImageDir& images) {
    const auto since = Clock::now();
    SSI_ASSIGN(DumpDone done,
               images.for_each_part([this](const ImageFile& p) { return send_message(link_, p); }));
    done.memory_bytes = report_.memory_bytes;
    report_.file_bytes = done.file_bytes;
    SSI_TRY(send_message(link_, done));
    report_.send_us = micros_since(since);
    return {};
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
  MoveReport report_;
  Clock::time_point frozen_since_;
  std::vector<StreamRef> drained_;
  std::vector<int> carried_signals_;
};

}  // namespace

Result<> offer_move(MoveLink& link, const MoveTicket& ticket, const MoveSource& source) {
  Offer offer{ticket, source.streams, ""};
  SSI_TRY(send_message(link, offer));
  SSI_ASSIGN(const Answer answer, receive<Answer>(link));
  if (!answer.accepted) {
    return Error("node " + std::to_string(ticket.to.value) +
                 " does not take it now: " + answer.reason);
  }
  return {};
}

Result<MoveReport> run_source_move(MoveEnvironment& env, MoveLink& link, const MoveTicket& ticket,
                                   const MoveSource& source) {
  return SourceMove(env, link, ticket, source).run();
}

}  // namespace ssi::migrate
