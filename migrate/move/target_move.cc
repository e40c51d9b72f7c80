#include "migrate/move/target_move.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <optional>
#include <set>
#include <thread>

#include "migrate/criu/criu_arguments.h"
#include "migrate/criu/criu_process.h"
#include "migrate/criu/empty_image.h"
#include "migrate/criu/file_locks_image.h"
#include "migrate/criu/files_image.h"
#include "migrate/criu/tty_image.h"
#include "migrate/criu/unix_image.h"
#include "migrate/fds/descriptor.h"
#include "migrate/fds/lease.h"
#include "migrate/fds/netlink_socket.h"
#include "migrate/fds/process_locks.h"
#include "migrate/fds/pty_queues.h"
#include "migrate/move/connection_images.h"
#include "migrate/move/given_memory.h"
#include "migrate/move/image_dir.h"
#include "migrate/move/opened_ahead.h"
#include "migrate/move/step_fault.h"
#include "migrate/move/stream_key.h"
#include "migrate/move/target_fifos.h"
#include "migrate/move/target_memory.h"
#include "migrate/move/target_shm.h"
#include "migrate/move/target_watchers.h"
#include "migrate/net/silence.h"
#include "migrate/pages/lazy_socket.h"
#include "migrate/realm/realm_client.h"
#include "ssid/base/proc_status.h"

namespace ssi::migrate {
namespace {

using Clock = std::chrono::steady_clock;
constexpr auto kFreezeTimeout = std::chrono::seconds(5);
constexpr auto kKillTimeout = std::chrono::seconds(5);
// What criu takes until it sets the clocks of connections.
constexpr auto kUntilRestored = std::chrono::milliseconds(30);
constexpr std::uint64_t kNobody = 0;

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
        holds_files_(offer.holds_files),
        watchers_(env.host, offer.ticket.pid.home, offer.ticket.pid.home == env.self),
        fifos_(deputies_here()),
        cgroup_(std::move(cgroup)),
        realm_(std::move(realm)) {}

  Result<> run() {
    auto rebuilt = rebuild();
    // It has them by now, or never will.
    for (const fds::HeldFile& file : held_) env_.files.release(ticket_.pid.home.value, file);
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
    const auto filled = fifos_.fill();
    for (const StreamRef& s : streams_) {
      SSI_TRY(env_.streams.start(s).context(s.key));
    }
    SSI_TRY(cgroup_.thaw());
    SSI_TRY(filled);
    // Should this not be heard, the pager begins by itself a little later.
    (void)realm_.call(RealmOp::kInstallAll, ticket_.pid.pid);
    return {};
  }

 private:
  Result<> rebuild() {
    SSI_ASSIGN(ImageDir images, ImageDir::create(env_.images_root, name().to_string() + "-dst"));
    // Memory that is installed after the restore is that of one process.
    const bool alone = ticket_.processes == 1;
    TargetMemory memory(images.fd(), alone ? static_cast<std::uint64_t>(ticket_.pid.pid) : kNobody,
                        staged_bytes_max(ticket_));
    SSI_TRY(take_early(images, memory));
    SSI_TRY(take_images(images, memory));
    SSI_TRY(step_fault(SSI_FAULT("migrate.target_received")));
    const auto since = Clock::now();
    SSI_TRY(given_memory_.hand_over(memory.staged(), images));
    SSI_ASSIGN(const StagedMemory* const first, memory.staged().of(first_process()));
    auto restored = restore(images, *first);
    restore_us_ = static_cast<std::uint64_t>(
        std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - since).count());
    if (!restored) {
      const std::string why = plain_error(images.read_log("restore.log"));
      return std::move(restored).error().context(why.empty() ? "restore" : "restore: " + why);
    }
    return env_.host.remember_guest(ticket_, streams_);
  }

  CopyName name() const { return {ticket_.pid, ticket_.epoch}; }
  PageOwner first_process() const {
    return {PageOwner::Kind::kProcess, static_cast<std::uint64_t>(ticket_.pid.pid)};
  }

  // None, unless this is their home.
  std::vector<pid_t> deputies_here() const {
    std::vector<pid_t> pids;
    if (ticket_.pid.home != env_.self) return pids;
    pids.push_back(ticket_.pid.pid);
    for (const UnitMember& member : ticket_.members) pids.push_back(member.pid);
    return pids;
  }

  Error out_of_turn(const MoveMessage& message) {
    if (const auto* abandoned = std::get_if<Abandon>(&message)) {
      return Error("the source gave the move up: " + abandoned->reason);
    }
    return Error("the source sent something out of turn");
  }

  // The memory that is sent while the process runs.
  Result<> take_early(const ImageDir& images, TargetMemory& memory) {
    // Of several, memory is given to it that comes only now.
    if (streams_.empty() && !holds_files_ && ticket_.processes == 1) {
      SSI_TRY(start_criu(images, memory.staged()));
    }
    for (;;) {
      SSI_ASSIGN(const auto frame, link_.receive());
      if (frame.type == MoveFrame::kEarlyPages) {
        SSI_TRY(memory.take_early(frame.payload));
        continue;
      }
      SSI_ASSIGN(auto message, decode_move(frame.payload));
      const auto* done = std::get_if<EarlyDone>(&message);
      if (done == nullptr) return out_of_turn(message);
      SSI_TRY(memory.end_early(*done));
      return send_message(link_, EarlyTaken{});
    }
  }

  Result<> take_images(ImageDir& images, TargetMemory& memory) {
    for (;;) {
      SSI_ASSIGN(const auto frame, link_.receive());
      if (frame.type != MoveFrame::kMessage) {
        SSI_TRY(frame.type == MoveFrame::kPages ? memory.take_dump(frame.payload)
                                                : memory.take_early(frame.payload));
        continue;
      }
      SSI_ASSIGN(auto message, decode_move(frame.payload));
      if (auto* file = std::get_if<ImageFile>(&message)) {
        SSI_TRY(images.write_part(*file));
      } else if (auto* watching = std::get_if<Watching>(&message)) {
        const auto listens = watchers_.listen(std::move(watching->watchers), !criu_);
        SSI_TRY(send_message(link_, Listening{listens ? "" : listens.error().message()}));
      } else if (auto* frozen = std::get_if<Frozen>(&message)) {
        held_ = std::move(frozen->held);
        ptys_ = std::move(frozen->ptys);
        slacks_ = std::move(frozen->slacks);
        if (criu_ && !frozen->streams.empty()) return Error("streams came too late");
        for (StreamRef& s : frozen->streams) streams_.push_back(std::move(s));
        frozen_since_ = Clock::now();
        SSI_TRY(on_frozen(images, memory.staged()));
        if (ticket_.pid.home == env_.self) continue;
        SSI_ASSIGN(UniqueFd root, env_.host.open_root(ticket_.pid.home));
        opened_ahead_.start(std::move(root), std::move(frozen->files));
      } else if (auto* done = std::get_if<DumpDone>(&message)) {
        SSI_TRY(memory.end_dump(*done));
        memory_bytes_ = memory.frozen_bytes();
        return {};
      } else {
        return out_of_turn(message);
      }
    }
  }

  // While criu dumps at the source.
  Result<> on_frozen(const ImageDir& images, const StagedUnit& staged) {
    SSI_TRY(env_.host.refresh_files(ticket_.pid.home));
    if (!criu_) return start_criu(images, staged);
    return held_.empty() ? Result<>() : Error("the source holds files without having said so");
  }

  // criu starts inside the guest's cgroup: whatever it makes is there from birth, and is found (and
  // killed) there whoever dies. It gets the guest's ends of the pipes, which are attached only when
  // nobody else uses them.
  Result<> start_criu(const ImageDir& images, const StagedUnit& staged) {
    std::vector<UniqueFd> stream_ends;  // and files
    for (StreamRef& s : streams_) {
      if (s.is_named() && ticket_.pid.home != env_.self) {
        SSI_TRY(attach_named(s));
        ++attached_;
        continue;
      }
      SSI_ASSIGN(UniqueFd end, s.is_named()    ? attach_named(s)
                               : s.socket != 0 ? attach_socket(s)
                                               : env_.streams.attach(ticket_.pid.home, s));
      struct stat st;
      if (::fstat(*end, &st) != 0) return Error::from_errno("look at a stream's end");
      s.local_key = stream_key(st);
      if (s.fifo_mode != 0) {
        // criu compares it. From here on it is a pipe without a name.
        if (::fchmod(*end, s.fifo_mode & 07777) != 0) return Error::from_errno("set a pipe's mode");
        s.fifo_mode = 0;
        fifos_.add_stream(s.key);
      }
      ++attached_;
      // A terminal has two streams, and is one file.
      if (std::ranges::find(inherit_, s.key, &InheritFd::key) != inherit_.end()) continue;
      const int number = kCriuFirstExtraFd + static_cast<int>(stream_ends.size());
      inherit_.push_back({s.key, number});
      if (!s.also_key.empty()) inherit_.push_back({s.also_key, number});
      stream_ends.push_back(std::move(end));
    }
    SSI_TRY(open_held_files(stream_ends));
    SSI_TRY(given_memory_.add_to(stream_ends, kCriuFirstExtraFd, staged));
    SSI_TRY(watchers_.watch_deleted(stream_ends));
    watchers_.give(inherit_, stream_ends);
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

  Result<> open_network() {
    if (network_) return {};
    SSI_ASSIGN(network_, realm_.network());
    return {};
  }

  // Its own again at home, beside which nobody may make the name anew; elsewhere criu does.
  Result<UniqueFd> attach_named(const StreamRef& s) {
    SSI_TRY(open_network());
    SSI_ASSIGN(UniqueFd end, env_.streams.attach_named(ticket_.pid.home, s, *network_, streams_));
    if (ticket_.pid.home != env_.self) {
      makes_names_ = makes_names_ || s.address.front() != '\0';
      return end;
    }
    given_.insert(s.key);
    sockets_[s.key] = UniqueFd(::fcntl(*end, F_DUPFD_CLOEXEC, 0));
    return end;
  }

  Result<UniqueFd> attach_socket(const StreamRef& s) {
    SSI_TRY(open_network());
    SSI_ASSIGN(UniqueFd end, env_.streams.attach_socket(ticket_.pid.home, s, *network_));
    if (s.socket_type == SOCK_DGRAM) given_.insert(s.key);
    sockets_[s.key] = UniqueFd(::fcntl(*end, F_DUPFD_CLOEXEC, 0));
    return end;
  }

  // criu takes a socket that it is given as it is: what it knows of the one that was dumped is set
  // here.
  Result<> set_sockets(std::string_view image) {
    SSI_ASSIGN(const auto states, socket_states(image));
    for (const auto& [key, end] : sockets_) {
      const auto state = states.find(key);
      if (state != states.end()) SSI_TRY(apply(state->second, *end));
    }
    sockets_.clear();
    return {};
  }

  // At home a lock's open file is the process's own again; elsewhere the view's becomes it later.
  bool comes_home_with_lock(const fds::HeldFile& file) const {
    return file.has_lock() && ticket_.pid.home == env_.self;
  }

  Result<> open_held_files(std::vector<UniqueFd>& given) {
    for (const fds::HeldFile& file : held_) {
      if (file.of_process && ticket_.pid.home != env_.self) {
        SSI_TRY(env_.files.expect_locks(ticket_.pid.home.value, file).context("held lock"));
      }
      if (fds::excludes_openings(file.lease) && ticket_.pid.home != env_.self) {
        SSI_TRY(env_.files.expect_opening(ticket_.pid.home.value, file).context("lease"));
      }
      if (file.key.empty()) continue;
      SSI_ASSIGN(
          UniqueFd fd,
          env_.files.open(ticket_.pid.home.value, watchers_.as_to_open(file)).context("held file"));
      const int number = kCriuFirstExtraFd + static_cast<int>(given.size());
      const bool itself = comes_home_with_lock(file);
      if (itself) SSI_TRY(fds::set_as_it_was(*fd, file));
      if (itself && file.lease.any()) SSI_TRY(fds::prepare_lease(*fd, file));
      inherit_.push_back({itself ? fds::key_of_itself(file) : file.key, number});
      given.push_back(std::move(fd));
    }
    return {};
  }

  Result<> adopt_files() {
    for (const fds::HeldFile& file : held_) {
      if (file.of_process) {
        SSI_ASSIGN(const pid_t owner, cgroup_.pid_of(file.pid));
        SSI_TRY(fds::check_process_locks(owner, file, ticket_.pid.home == env_.self));
      }
      if (!file.has_lock()) continue;
      SSI_ASSIGN(const pid_t owner, cgroup_.pid_of(file.pid));
      if (comes_home_with_lock(file)) {
        if (!file.lease.any()) continue;
        SSI_ASSIGN(const pid_t told, cgroup_.pid_of(file.lease_owner));
        SSI_TRY(fds::finish_lease(owner, told, file));
        continue;
      }
      SSI_TRY(fds::adopt_file(owner, file));
    }
    return {};
  }

  // A view plays the binds to deleted names. At home criu would do them for all to see, and move
  // aside what is there now.
  Result<std::string> with_binds(const std::string& files) {
    SSI_ASSIGN(const auto deleted, deleted_names(files));
    if (deleted.empty()) return files;
    if (ticket_.pid.home != env_.self) {
      makes_names_ = true;
      return with_announced_binds(files);
    }
    for (const std::string& name : deleted) {
      struct stat st {};
      if (::lstat(name.c_str(), &st) == 0) {
        return Error("it has a deleted unix socket, whose name was given to something else: " +
                     name);
      }
    }
    return files;
  }

  Result<std::string> changed(std::string_view files) {
    SSI_TRY(set_sockets(files));
    SSI_ASSIGN(const std::string unnamed, without_names(files, given_));
    SSI_ASSIGN(const std::string ends_told_apart, fifos_.with_ends(unnamed));
    SSI_ASSIGN(const std::string announced, with_binds(ends_told_apart));
    return mended_files(announced);
  }

  Result<> change_files(ImageDir& images) {
    SSI_TRY(images.change(kFilesImage, [this](std::string_view image) { return changed(image); }));
    SSI_TRY(watchers_.set_images(images));
    SSI_TRY(set_locks(images));
    return fifos_.leave_out(images);
  }

  // A process's record locks it takes itself, in criu's hands: at home beside home's carrier, which
  // lets go after that; elsewhere they become those that home holds. Leases, too: of this kernel,
  // or, at home, the one that its open file has. All others are there already.
  Result<> set_locks(ImageDir& images) {
    SSI_TRY(images.change(kFileLocksImage, only_the_head));
    std::vector<ProcessLock> locks;
    std::vector<LeaseToTake> leases;
    for (const fds::HeldFile& file : held_) {
      if (file.lease.any()) leases.push_back({file.pid, file.number, file.lease});
      if (!file.of_process) continue;
      for (const LockRange& range : file.locks) locks.push_back({file.pid, file.number, range});
    }
    if (locks.empty() && leases.empty()) return {};
    const std::string image = locks_image(locks, leases);
    const auto* bytes = reinterpret_cast<const std::uint8_t*>(image.data());
    return images.write_part({kFileLocksImage, 0, {bytes, image.size()}});
  }

  Result<> restore(ImageDir& images, const StagedMemory& staged) {
    if (!criu_) return Error("the source did not say that it is frozen");
    opened_ahead_.wait();
    SSI_TRY(shm_files_.make(images, realm_));
    SSI_TRY(images.change(kTtyImage, without_outer_sessions));
    SSI_ASSIGN(const std::string files, images.read(kFilesImage));
    SSI_ASSIGN(const auto netlink_ports, netlink_ports_in(files));
    SSI_TRY(change_files(images));
    SSI_TRY(set_connections(images, Clock::now() - frozen_since_ + kUntilRestored));
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
    if (makes_names_) {
      SSI_TRY(env_.host.rebuild_sockets(ticket_.pid.home, cgroup_.dir(), true));
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
    if (makes_names_) {
      SSI_TRY(env_.host.rebuild_sockets(ticket_.pid.home, cgroup_.dir(), false));
    }
    if (!restored) return std::move(restored).error();
    SSI_TRY(std::move(installing).context("memory"));
    if (*restored != ticket_.pid.pid) return Error("criu rebuilt another process");
    SSI_TRY(cgroup_.freeze(kFreezeTimeout));
    SSI_ASSIGN(const auto restored_pids, cgroup_.pids());
    SSI_TRY(fds::check_netlink_ports(restored_pids, netlink_ports));
    set_timer_slacks(restored_pids, slacks_);
    SSI_TRY(fill_ptys());
    SSI_TRY(find_named());
    SSI_TRY(watchers_.hand_over(cgroup_));
    return adopt_files();
  }

  // What they are called here.
  Result<> find_named() {
    for (StreamRef& s : streams_) {
      if (!s.is_named()) continue;
      SSI_ASSIGN(const pid_t owner, cgroup_.pid_of(s.pid));
      struct stat st {};
      const std::string path = "/proc/" + std::to_string(owner) + "/fd/" + std::to_string(s.number);
      if (::stat(path.c_str(), &st) != 0) return Error::from_errno("find a socket with a name");
      s.local_key = stream_key(st);
    }
    return {};
  }

  Result<> fill_ptys() {
    for (const fds::MovedPty& pty : ptys_) {
      SSI_ASSIGN(const pid_t owner, cgroup_.pid_of(pty.pid));
      SSI_ASSIGN(UniqueFd master, fds::descriptor_of(owner, pty.master));
      SSI_ASSIGN(const auto still, fds::StillPty::hold_new(std::move(master), pty.slave));
      SSI_TRY(still.put(pty.queues).context("terminal of its own"));
    }
    return {};
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
    for (const UnitMember& m : ticket_.members) {
      SSI_TRY(realm_.call(RealmOp::kRegisterMember, m.pid));
    }
    return {};
  }

  Error undo(Error reason) {
    (void)realm_.call(RealmOp::kForget, ticket_.pid.pid);
    for (const UnitMember& m : ticket_.members) (void)realm_.call(RealmOp::kForget, m.pid);
    // Its connections go on at the source; here nothing of them may be left, or they could not come
    // again.
    if (const auto pids = cgroup_.pids()) {
      for (const pid_t pid : *pids) (void)net::silence_sockets(pid);
    }
    if (auto killed = cgroup_.kill(kKillTimeout); !killed) {
      reason = Error(reason.message() + "; " + killed.error().message());
    }
    (void)cgroup_.remove();
    shm_files_.remove();
    (void)realm_.call(RealmOp::kCleanUp, ticket_.pid.pid);
    for (std::size_t i = 0; i < attached_; ++i) env_.streams.detach(streams_[i]);
    env_.host.forget_guest(ticket_);
    return reason;
  }

  MoveEnvironment& env_;
  MoveLink& link_;
  const MoveTicket& ticket_;
  std::vector<StreamRef> streams_;
  const bool holds_files_;
  TargetWatchers watchers_;
  TargetFifos fifos_;
  std::vector<fds::HeldFile> held_;
  std::vector<fds::MovedPty> ptys_;
  std::vector<TimerSlack> slacks_;
  GivenMemory given_memory_;
  TargetShm shm_files_;
  FreezerCgroup cgroup_;
  RealmClient realm_;
  OpenedAhead opened_ahead_;
  std::optional<CriuRpc> criu_;
  pid_t criu_pid_ = 0;
  std::vector<InheritFd> inherit_;
  std::map<std::string, UniqueFd> sockets_;  // by their keys, until criu has them
  UniqueFd network_;                         // of the realm; if there are sockets
  std::set<std::string> given_;              // their keys: those that listen and come home
  bool makes_names_ = false;                 // for sockets, by which others find them, or did
  std::size_t attached_ = 0;
  Clock::time_point frozen_since_{};  // at the latest
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
