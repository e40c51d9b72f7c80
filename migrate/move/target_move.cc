#include "migrate/move/target_move.h"

#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <thread>

#include "migrate/criu/criu_process.h"
#include "migrate/criu/tty_image.h"
#include "migrate/move/image_dir.h"
#include "migrate/move/step_fault.h"
#include "migrate/move/stream_key.h"
#include "migrate/pages/lazy_socket.h"
#include "migrate/pages/page_images.h"
#include "migrate/pages/staged_memory.h"
#include "migrate/realm/realm_client.h"

namespace ssi::migrate {
namespace {

using Clock = std::chrono::steady_clock;
constexpr auto kFreezeTimeout = std::chrono::seconds(5);
constexpr auto kKillTimeout = std::chrono::seconds(5);

Result<> send_message(MoveLink& link, const MoveMessage& message) {
  return link.send(MoveFrame::kMessage, encode(message));
}

// A process may grow while it is copied, and what it has freed keeps its place.
std::uint64_t staged_bytes_max(const MoveTicket& ticket) {
  return 4 * ticket.rss_bytes + (std::uint64_t{1} << 30);
}

class TargetMove {
 public:
  TargetMove(MoveEnvironment& env, MoveLink& link, const Offer& offer, FreezerCgroup cgroup,
             RealmClient realm)
      : env_(env),
        link_(link),
        ticket_(offer.ticket),
        streams_(offer.streams),
        cgroup_(std::move(cgroup)),
        realm_(std::move(realm)) {}

  Result<> run() {
    auto rebuilt = rebuild();
    Restored restored{rebuilt.ok(), rebuilt ? "" : rebuilt.error().message(), restore_us_,
                      memory_bytes_};
    auto told = send_message(link_, restored);
    if (!rebuilt) return undo(std::move(rebuilt).error());
    // A lost link decides nothing: the source may have committed all the same. The group's order
    // decides.
    (void)SSI_FAULT("migrate.target_restored");
    if (env_.host.await_commit(ticket_) == CommitFate::kAborted) {
      return undo(Error("the source gave the move up"));
    }
    (void)SSI_FAULT("migrate.target_committed");
    for (const StreamRef& s : streams_) {
      SSI_TRY(env_.streams.start(s).context(s.key));
    }
    SSI_TRY(cgroup_.thaw());
    // Should this not be heard, the pager begins by itself a little later.
    (void)realm_.call(RealmOp::kInstallAll, ticket_.pid.pid);
    return {};
  }

 private:
  Result<> rebuild() {
    SSI_ASSIGN(ImageDir images, ImageDir::create(env_.images_root, name().to_string() + "-dst"));
    SSI_ASSIGN(StagedMemory staged, StagedMemory::create(staged_bytes_max(ticket_)));
    SSI_TRY(take_early(images, staged));
    SSI_TRY(take_images(images, staged));
    SSI_TRY(step_fault(SSI_FAULT("migrate.target_received")));
    const auto since = Clock::now();
    auto restored = restore(images, staged);
    restore_us_ = static_cast<std::uint64_t>(
        std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - since).count());
    if (!restored) {
      const std::string why = plain_error(images.read_log("restore.log"));
      return std::move(restored).error().context(why.empty() ? "restore" : "restore: " + why);
    }
    return env_.host.remember_guest(ticket_, streams_);
  }

  CopyName name() const { return {ticket_.pid, ticket_.epoch}; }

  Error out_of_turn(const MoveMessage& message) {
    if (const auto* abandoned = std::get_if<Abandon>(&message)) {
      return Error("the source gave the move up: " + abandoned->reason);
    }
    return Error("the source sent something out of turn");
  }

  // The memory that is sent while the process runs.
  Result<> take_early(const ImageDir& images, StagedMemory& staged) {
    if (streams_.empty()) SSI_TRY(start_criu(images));
    PageStreamParser parser(staged);
    for (;;) {
      SSI_ASSIGN(const auto frame, link_.receive());
      if (frame.type == MoveFrame::kEarlyPages) {
        SSI_TRY(parser.feed(frame.payload));
        continue;
      }
      SSI_ASSIGN(auto message, decode_move(frame.payload));
      const auto* done = std::get_if<EarlyDone>(&message);
      if (done == nullptr) return out_of_turn(message);
      if (parser.data_left() > 0 || done->memory_bytes != staged.received_bytes()) {
        return Error("the memory did not arrive whole");
      }
      return send_message(link_, EarlyTaken{});
    }
  }

  Result<> take_images(ImageDir& images, StagedMemory& staged) {
    PageImages pages(images.fd(), staged, static_cast<std::uint64_t>(ticket_.pid.pid));
    PageStreamParser parser(pages);
    for (;;) {
      SSI_ASSIGN(const auto frame, link_.receive());
      if (frame.type == MoveFrame::kPages) {
        SSI_TRY(parser.feed(frame.payload));
        continue;
      }
      SSI_ASSIGN(auto message, decode_move(frame.payload));
      if (auto* file = std::get_if<ImageFile>(&message)) {
        SSI_TRY(images.write_part(*file));
      } else if (std::holds_alternative<Frozen>(message)) {
        SSI_TRY(on_frozen(images));
      } else if (auto* done = std::get_if<DumpDone>(&message)) {
        memory_bytes_ = pages.bytes();
        if (!parser.closed() || done->memory_bytes != pages.bytes()) {
          return Error("the memory did not arrive whole");
        }
        return {};
      } else {
        return out_of_turn(message);
      }
    }
  }

  // While criu dumps at the source.
  Result<> on_frozen(const ImageDir& images) {
    SSI_TRY(env_.host.refresh_files(ticket_.pid.home));
    return criu_ ? Result<>() : start_criu(images);
  }

  // criu starts inside the guest's cgroup: whatever it makes is there from birth, and is found (and
  // killed) there whoever dies. It gets the guest's ends of the pipes, which are attached only when
  // nobody else uses them.
  Result<> start_criu(const ImageDir& images) {
    std::vector<UniqueFd> stream_ends;
    for (StreamRef& s : streams_) {
      SSI_ASSIGN(UniqueFd end, env_.streams.attach(ticket_.pid.home, s));
      struct stat st;
      if (::fstat(*end, &st) != 0) return Error::from_errno("look at a stream's end");
      s.local_key = stream_key(st);
      ++attached_;
      // A terminal has two streams, and is one file.
      if (std::ranges::find(inherit_, s.key, &InheritFd::key) != inherit_.end()) continue;
      const int number = kCriuFirstExtraFd + static_cast<int>(stream_ends.size());
      inherit_.push_back({s.key, number});
      if (!s.also_key.empty()) inherit_.push_back({s.also_key, number});
      stream_ends.push_back(std::move(end));
    }
    SSI_ASSIGN(SocketPair rpc, make_socket_pair(SOCK_SEQPACKET));
    SSI_ASSIGN(UniqueFd procs, cgroup_.open_procs());
    std::vector<int> fds{*procs, *rpc.there, images.fd()};
    for (const UniqueFd& end : stream_ends) fds.push_back(*end);
    fds.push_back(*rpc.here);
    SSI_ASSIGN(const RealmMessage started,
               realm_.call(RealmOp::kSpawnRestore, ticket_.parent, ticket_.pid.pid, fds));
    criu_pid_ = started.pid;
    criu_.emplace(std::move(rpc.here));
    return {};
  }

  Result<> restore(const ImageDir& images, const StagedMemory& staged) {
    if (!criu_) return Error("the source did not say that it is frozen");
    SSI_TRY(images.change(kTtyImage, without_sessions));
    RestoreOptions options;
    options.images_fd = kCriuImagesFd;
    options.inherit = inherit_;
    options.lazy_pages = staged.keeps_any();
    std::optional<LazySocket> memory;
    Result<> installing;
    std::jthread handing;
    if (options.lazy_pages) {
      SSI_ASSIGN(auto socket, LazySocket::listen(images.path()));
      memory.emplace(std::move(socket));
      handing = std::jthread([&] {
        installing = hand_to_pager(*memory, staged);
        if (!installing) (void)cgroup_.kill(kKillTimeout);  // criu would wait for ever
      });
    }
    auto restored = criu_->restore(options, [&](const std::string& stage, pid_t) -> Result<> {
      if (stage == "pre-resume" && handing.joinable()) {
        memory->abort();
        handing.join();
        SSI_TRY(std::move(installing));
      }
      return on_stage(stage, options.lazy_pages);
    });
    if (handing.joinable()) {
      memory->abort();
      handing.join();
    }
    if (!restored) return std::move(restored).error();
    SSI_TRY(std::move(installing).context("memory"));
    if (*restored != ticket_.pid.pid) return Error("criu rebuilt another process");
    return cgroup_.freeze(kFreezeTimeout);
  }

  // From here on the realm's init answers for the memory, whatever becomes of us.
  Result<> hand_to_pager(LazySocket& socket, const StagedMemory& staged) {
    SSI_ASSIGN(UniqueFd index, staged.make_index());
    SSI_ASSIGN(UniqueFd kill, cgroup_.open_kill());
    SSI_ASSIGN(const std::string path, env_.host.prepare_realm(ticket_.pid.home));
    SSI_ASSIGN(RealmClient realm, RealmClient::connect(path));
    SSI_ASSIGN(UniqueFd uffd, socket.take_uffd());
    const int fds[] = {*uffd, staged.data_fd(), *index, *kill};
    SSI_TRY(realm.call(RealmOp::kInstall, ticket_.pid.pid, 0, fds));
    // All that criu makes is made. It takes the kernel some 10 ms, so it is done while criu works.
    return put_criu_out(realm);
  }

  Result<> put_criu_out(RealmClient& realm) {
    SSI_ASSIGN(FreezerCgroup workers, FreezerCgroup::create(env_.freezer.workers()));
    SSI_ASSIGN(UniqueFd out, workers.open_procs());
    const int fds[] = {*out};
    SSI_TRY(realm.call(RealmOp::kPutInCgroup, criu_pid_, 0, fds));
    return {};
  }

  Result<> on_stage(const std::string& stage, bool criu_is_out) {
    if (stage == "post-restore") {
      const FaultAction action = SSI_FAULT("migrate.restore");
      if (!criu_is_out) return step_fault_in(action, cgroup_, criu_pid_);
      SSI_ASSIGN(FreezerCgroup workers, FreezerCgroup::create(env_.freezer.workers()));
      return step_fault_in(action, workers, criu_pid_);
    }
    if (stage != "pre-resume") return {};
    (void)SSI_FAULT("migrate.pre_resume");
    auto stopped = stop_before_resume(criu_is_out);
    if (!stopped) (void)cgroup_.kill(kKillTimeout);  // criu goes on whatever we answer
    return stopped;
  }

  // All threads stand in criu's hands at their first instruction. From here on the freezer has
  // them.
  Result<> stop_before_resume(bool criu_is_out) {
    if (!criu_is_out) SSI_TRY(put_criu_out(realm_));
    SSI_TRY(cgroup_.freeze_nowait());
    SSI_TRY(realm_.call(RealmOp::kRegister, ticket_.pid.pid, criu_pid_));
    return {};
  }

  Error undo(Error reason) {
    (void)realm_.call(RealmOp::kForget, ticket_.pid.pid);
    if (auto killed = cgroup_.kill(kKillTimeout); !killed) {
      reason = Error(reason.message() + "; " + killed.error().message());
    }
    (void)cgroup_.remove();
    (void)realm_.call(RealmOp::kCleanUp, ticket_.pid.pid);
    for (std::size_t i = 0; i < attached_; ++i) env_.streams.detach(streams_[i]);
    env_.host.forget_guest(ticket_);
    return reason;
  }

  MoveEnvironment& env_;
  MoveLink& link_;
  const MoveTicket& ticket_;
  std::vector<StreamRef> streams_;
  FreezerCgroup cgroup_;
  RealmClient realm_;
  std::optional<CriuRpc> criu_;
  pid_t criu_pid_ = 0;
  std::vector<InheritFd> inherit_;
  std::size_t attached_ = 0;
  std::uint64_t restore_us_ = 0;
  std::uint64_t memory_bytes_ = 0;
};

Result<RealmClient> ready_realm(MoveEnvironment& env, NodeId home) {
  SSI_ASSIGN(const std::string socket, env.host.prepare_realm(home));
  return RealmClient::connect(socket);
}

}  // namespace

Result<Offer> receive_offer(MoveLink& link) {
  SSI_ASSIGN(const auto frame, link.receive());
  if (frame.type != MoveFrame::kMessage) return Error("a move began without an offer");
  SSI_ASSIGN(auto message, decode_move(frame.payload));
  auto* offer = std::get_if<Offer>(&message);
  if (offer == nullptr) return Error("a move began without an offer");
  return std::move(*offer);
}

Result<> refuse_offer(MoveLink& link, const std::string& reason) {
  return send_message(link, Answer{false, reason});
}

Result<> run_target_move(MoveEnvironment& env, MoveLink& link, const Offer& offer) {
  auto realm = ready_realm(env, offer.ticket.pid.home);
  if (!realm) {
    (void)refuse_offer(link, realm.error().message());
    return std::move(realm).error();
  }
  auto cgroup = FreezerCgroup::create(env.freezer.guest({offer.ticket.pid, offer.ticket.epoch}));
  if (!cgroup) {
    (void)refuse_offer(link, cgroup.error().message());
    return std::move(cgroup).error();
  }
  if (auto told = send_message(link, Answer{true, ""}); !told) {
    (void)cgroup->remove();
    return told;
  }
  return TargetMove(env, link, offer, std::move(*cgroup), std::move(*realm)).run();
}

}  // namespace ssi::migrate
