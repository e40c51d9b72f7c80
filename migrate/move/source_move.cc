#include "migrate/move/source_move.h"

#include <sys/socket.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <thread>

#include "migrate/criu/criu_arguments.h"
#include "migrate/criu/criu_process.h"
#include "migrate/criu/files_image.h"
#include "migrate/criu/unix_image.h"
#include "migrate/fds/descriptor.h"
#include "migrate/fds/fifo.h"
#include "migrate/fds/files_in_use.h"
#include "migrate/fds/inotify.h"
#include "migrate/fds/pty_queues.h"
#include "migrate/fds/shm_file.h"
#include "migrate/move/carried.h"
#include "migrate/move/frozen_copy.h"
#include "migrate/move/held_senders.h"
#include "migrate/move/image_dir.h"
#include "migrate/move/move_codec.h"
#include "migrate/move/source_memory.h"
#include "migrate/move/step_fault.h"
#include "migrate/move/stream_key.h"
#include "migrate/realm/realm_client.h"
#include "ssid/base/proc_status.h"

namespace ssi::migrate {
namespace {

using Clock = std::chrono::steady_clock;
constexpr auto kHearTimeout = std::chrono::seconds(3);
constexpr auto kToRead = std::chrono::milliseconds(5);
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
        below_(source.below),
        memory_(pids(), env.open_userfaultfd,
                [this](auto bytes) { return send_pages(MoveFrame::kEarlyPages, bytes); }) {}

  Result<MoveReport> run() {
    if (auto ready = prepare(); !ready) return call_off(std::move(ready).error());
    auto held = hold();
    if (!held) return call_off(std::move(held).error());
    FrozenCopy copy = std::move(*held);
    frozen_since_ = source_.held ? source_.held->since() : Clock::now();
    auto carried = carry_over(copy);
    if (!carried) {
      const bool busy = carried.error().code() == ErrorCode::kBusy;
      return give_up(
          copy, Error(busy ? ErrorCode::kBusy : ErrorCode::kRefused, carried.error().message()));
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
    for (const fds::ShmFile& file : shm_files_) fds::remove_shm_file(file);
    env_.host.stand_down(ticket_, carried_);
    return report_;
  }

 private:
  CopyName new_name() const { return {ticket_.pid, ticket_.epoch}; }

  // By two threads while criu dumps.
  Result<> send_pages(MoveFrame type, std::span<const std::uint8_t> bytes) {
    const std::scoped_lock lock(sending_);
    return link_.send(type, bytes);
  }

  // All that needs no standing still: criu started, the memory sent ahead.
  Result<> prepare() {
    SSI_TRY(step_fault(SSI_FAULT("migrate.before_freeze")));
    if (source_.guest) SSI_TRY(await_arrival());
    SSI_ASSIGN(auto images, ImageDir::create(env_.images_root, new_name().to_string() + "-src"));
    images_.emplace(std::move(images));
    SSI_TRY(start_criu());
    const auto since = Clock::now();
    if (source_.held) {
      report_.why_not_copied = "it stood still already";
    } else {
      SSI_TRY(memory_.send_ahead());
      report_.why_not_copied = memory_.why_not();
    }
    report_.copied_bytes = memory_.sent_bytes();
    SSI_TRY(send_message(link_, EarlyDone{report_.copied_bytes}));
    SSI_TRY(receive<EarlyTaken>(link_));
    report_.copy_us = micros_since(since);
    SSI_TRY(begin_to_listen());
    SSI_TRY(look_for_files());
    return quiet_network();
  }

  // While criu dumps, a view of home's files is not to ask home for what it could know.
  Result<> look_for_files() {
    files_in_use_ = fds::files_in_use(pids());
    if (!source_.guest || ticket_.pid.home == env_.self) return {};
    SSI_ASSIGN(const UniqueFd root, env_.host.open_root(ticket_.pid.home));
    fds::look_for_files(*root, files_in_use_);
    return {};
  }

  // What is on its way into the process, and not in it, would be lost.
  Result<> quiet_network() {
    if (!source_.has_sockets) return {};
    network_held_ = true;
    SSI_TRY(env_.host.quiet_network(ticket_, source_.doors).context("network"));
    return source_.await_quiet();
  }

  std::vector<pid_t> pids() const {
    std::vector<pid_t> all{source_.host_pid};
    all.insert(all.end(), below_.begin(), below_.end());
    return all;
  }

  Error does_not_read() const {
    return Error(ErrorCode::kBusy,
                 "more happens to the files that it watches (inotify) than it reads of");
  }

  // Before the freeze: what can't be watched there, or is not read, stops the move here.
  Result<> begin_to_listen() {
    if (!fds::any_watcher(pids())) return {};
    SSI_TRY(have_target_listen());
    const auto deadline = Clock::now() + kHearTimeout;
    for (;;) {
      SSI_ASSIGN(const bool read, fds::all_was_read(pids()));
      if (read) return {};
      if (Clock::now() > deadline) return does_not_read();
      std::this_thread::sleep_for(kToRead);
    }
  }

  Result<> have_target_listen() {
    auto watchers = fds::watchers_of(pids());
    if (!watchers) return std::move(watchers).error().context("an inotify instance");
    SSI_TRY(send_message(link_, Watching{std::move(*watchers)}));
    SSI_ASSIGN(const Listening answer, receive<Listening>(link_));
    if (answer.reason.empty()) return {};
    return Error(ErrorCode::kRefused,
                 "node " + std::to_string(ticket_.to.value) + ": " + answer.reason);
  }

  // What it did is done at home: else the target would hear of it. Then the target listens anew,
  // then it is seen whether anything has happened until after that: if nothing has, nothing is
  // heard by neither or by both.
  Result<bool> has_heard_all() {
    if (!fds::any_watcher(pids())) return true;
    SSI_ASSIGN(const bool before, fds::all_was_read(pids()));
    if (!before) return false;
    SSI_TRY(tell_watchers());
    SSI_TRY(have_target_listen());
    SSI_TRY(tell_watchers());
    return fds::all_was_read(pids());
  }

  Result<> tell_watchers() {
    if (!source_.guest || env_.self == ticket_.pid.home) return {};
    return env_.host.tell_watchers(ticket_.pid.home, source_.host_pid);
  }

  Result<> freeze(FrozenCopy& copy) {
    const auto deadline = Clock::now() + kHearTimeout;
    for (;;) {
      frozen_since_ = Clock::now();
      SSI_TRY(copy.freeze());
      SSI_ASSIGN(const bool heard, has_heard_all());
      if (heard) return {};
      if (Clock::now() > deadline) return does_not_read();
      SSI_TRY(copy.let_run());
      std::this_thread::sleep_for(kToRead);
    }
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
    if (source_.held) return source_.held->take();
    if (source_.guest) return FrozenCopy::hold_guest(env_.freezer, *source_.guest);
    return FrozenCopy::hold_originals(env_.freezer, new_name(), pids());
  }

  // freeze, dump, send, and the target's restore.
  Result<> carry_over(FrozenCopy& copy) {
    SSI_TRY(freeze(copy));
    // It was checked before its memory was sent ahead, and has run since.
    SSI_ASSIGN(const auto accepted, stop_listening());
    if (source_.check_again) {
      SSI_ASSIGN(const FrozenFacts facts, source_.check_again(accepted));
      below_ = facts.below;
      accepted_ = facts.accepted;
      datagrams_ = facts.datagrams;
      deleted_sockets_ = facts.deleted_sockets;
      renamed_sockets_ = facts.renamed_sockets;
      SSI_TRY(export_more(facts));
      if (!facts.sockets.empty()) {
        network_held_ = true;
        SSI_TRY(env_.host.hold_network(ticket_, facts.sockets).context("network"));
        SSI_TRY(senders_.hold(facts.connections));
      }
      SSI_TRY(hold_files(facts.files));
      SSI_TRY(take_ptys(facts.ptys));
    }
    SSI_TRY(step_fault(SSI_FAULT("migrate.after_freeze")));
    if (source_.guest) SSI_TRY(drain_streams());
    Frozen frozen{held_, moved_ptys_, accepted_, timer_slacks_of(pids()), files_in_use_};
    for (StreamRef& s : frozen.streams) ++s.generation;
    SSI_TRY(send_message(link_, frozen));
    report_.freeze_us = micros_since(frozen_since_);
    SSI_TRY(dump(copy));
    SSI_TRY(senders_.set_windows(*images_));
    SSI_TRY(leave_datagrams_at_home());
    SSI_TRY(set_names_in_images());
    SSI_ASSIGN(carried_, read_carried(*images_, source_.guest ? std::vector<pid_t>() : pids()));
    carried_.frozen_since = frozen_since_;
    SSI_TRY(dump_shm_files());
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

  Result<> export_more(const FrozenFacts& facts) {
    for (const auto& [stream, fd] : facts.to_export) {
      SSI_TRY(env_.streams.export_at_home(stream, fd, source_.owners).context(stream.key));
      exported_.push_back(stream);
      accepted_.push_back(stream);
    }
    return {};
  }

  Result<> drain(const StreamRef& s) {
    drained_.push_back(s);  // also one that does not get empty in time stands still
    const auto waiting = datagrams_.find(s.id);
    const bool counted = waiting != datagrams_.end();
    return env_.streams.drain(s, counted ? std::optional(waiting->second) : std::nullopt)
        .context(s.key);
  }
  // A guest gets no more clients; those that it has.
  Result<std::vector<StreamRef>> stop_listening() {
    std::vector<StreamRef> all, listeners = source_.closed_listeners;
    listeners.insert(listeners.end(), source_.streams.begin(), source_.streams.end());
    for (const StreamRef& s : listeners) {
      if (!s.listens() || s.generation == 0) continue;  // or it was never away
      SSI_TRY(drain(s));
      SSI_ASSIGN(const auto accepted, env_.streams.accepted_by(s));
      all.insert(all.end(), accepted.begin(), accepted.end());
    }
    return all;
  }
  Result<> drain_streams() {
    for (const StreamRef& s : source_.streams) {
      const bool has_it_itself = s.takes_datagrams() && env_.self == ticket_.pid.home;
      if (!s.listens() && !has_it_itself) SSI_TRY(drain(s));
    }
    for (const StreamRef& s : accepted_) {
      if (s.generation > 0) SSI_TRY(drain(s));  // else it was never away
    }
    return {};
  }

  // Where home's own socket is, what waits in its queue waits there still, or again.
  Result<> leave_datagrams_at_home() {
    if (source_.guest && env_.self != ticket_.pid.home && ticket_.to != ticket_.pid.home) return {};
    std::set<std::string> keys;
    for (const StreamRef& s : source_.streams) {
      if (s.takes_datagrams()) keys.insert(s.key);
    }
    if (keys.empty()) return {};
    SSI_ASSIGN(const std::string files, images_->read(kFilesImage));
    SSI_ASSIGN(const auto numbers, socket_numbers(files, keys));
    return images_->change(
        kQueuesImage, [&](std::string_view image) { return without_messages(image, numbers); });
  }
  // criu knows of what was deleted where the process is, and not of what was deleted at home. Of
  // what was renamed it knows nothing.
  Result<> set_names_in_images() {
    if (deleted_sockets_.empty() && renamed_sockets_.empty()) return {};
    return images_->change(kFilesImage, [&](std::string_view image) -> Result<std::string> {
      SSI_ASSIGN(const std::string renamed, with_new_names(image, renamed_sockets_));
      return with_deleted_names(renamed, deleted_sockets_);
    });
  }

  // By home, so that the target finds what has no name there, or only with a lock of its own.
  Result<> hold_files(const std::vector<fds::FileToHold>& files) {
    if (!files.empty() && !source_.holds_files) {
      return Error("it has just deleted or locked a file; it may be tried again");
    }
    for (const fds::FileToHold& wanted : files) {
      SSI_ASSIGN(auto taken, fds::take_file(wanted));
      const auto same = std::ranges::find(held_, taken.file.key, &fds::HeldFile::key);
      if (same != held_.end() && !taken.file.key.empty() && !taken.file.has_lock()) continue;
      if (held_.size() == fds::kHeldFilesMax) {
        return Error("it has more than " + std::to_string(fds::kHeldFilesMax) +
                     " deleted or locked files");
      }
      SSI_ASSIGN(taken.file.id, hold_at_home(wanted, taken).context(wanted.where));
      held_.push_back(std::move(taken.file));
    }
    return {};
  }
  Result<std::uint64_t> hold_at_home(const fds::FileToHold& wanted, const fds::TakenFile& taken) {
    const std::uint32_t home = ticket_.pid.home.value;
    if (fds::stays_with_deputy(wanted)) {
      return env_.files.leave_locks(*taken.fd, wanted.pid, taken.file);
    }
    if (!wanted.of_process || !wanted.at_home) return env_.files.hold(home, *taken.fd);
    return env_.files.hold_locks(home, *taken.fd, wanted.pid);
  }
  // criu is to find their queues empty.
  Result<> take_ptys(const std::vector<fds::PtyToMove>& ptys) {
    if (ptys.size() > fds::kPtysMax) {
      return Error("it has more than " + std::to_string(fds::kPtysMax) + " terminals of its own");
    }
    for (const fds::PtyToMove& pty : ptys) {
      SSI_ASSIGN(UniqueFd master, fds::descriptor_of(pty.pid, pty.master));
      SSI_ASSIGN(auto still, fds::StillPty::hold(std::move(master), pty.slave_open));
      still_ptys_.push_back(std::move(still));
      moved_ptys_.push_back({innermost_pid(pty.pid), pty.master, still_ptys_.back().slave(), {}});
      SSI_TRY(still_ptys_.back().take(moved_ptys_.back().queues));
    }
    return {};
  }
  void put_ptys_back() {
    for (std::size_t i = 0; i < still_ptys_.size(); ++i) {
      (void)still_ptys_[i].put(moved_ptys_[i].queues);
    }
    still_ptys_.clear();
  }

  void release_files() {
    for (const fds::HeldFile& file : held_) env_.files.release(ticket_.pid.home.value, file);
  }

  // On this node for an original, in its realm for a guest. It waits for its order; should we end
  // without giving one, it ends.
  Result<> start_criu() {
    SSI_ASSIGN(SocketPair pages, make_socket_pair(SOCK_STREAM));
    const int buffer_bytes = 4 << 20;
    ::setsockopt(*pages.there, SOL_SOCKET, SO_SNDBUFFORCE, &buffer_bytes, sizeof buffer_bytes);
    pages_ = std::move(pages.here);
    if (!source_.guest) {
      const int extra[] = {*pages.there};
      SSI_ASSIGN(auto local, LocalCriu::start(env_.criu, images_->fd(), extra,
                                              source_.has_system_v_memory ? IpcNamespace::kOwn
                                                                          : IpcNamespace::kShared));
      local_criu_.emplace(std::move(local));
      return {};
    }
    SSI_ASSIGN(RealmClient realm, RealmClient::connect(source_.realm_socket));
    SSI_ASSIGN(SocketPair rpc, make_socket_pair(SOCK_SEQPACKET));
    SSI_ASSIGN(FreezerCgroup workers, FreezerCgroup::create(env_.freezer.workers()));
    SSI_ASSIGN(UniqueFd procs, workers.open_procs());
    const int fds[] = {*procs, *rpc.there, images_->fd(), *pages.there};
    SSI_ASSIGN(const RealmMessage started,
               realm.call(RealmOp::kSpawnDump, 0, source_.has_system_v_memory, fds));
    realm_criu_pid_ = started.pid;
    realm_criu_.emplace(std::move(rpc.here));
    return {};
  }

  Result<> dump(const FrozenCopy& copy) {
    const auto since = Clock::now();
    const int pages_fd = *pages_;
    PagePump pump = memory_.pump(
        std::move(pages_), [this](auto bytes) { return send_pages(MoveFrame::kPages, bytes); });
    SSI_TRY(images_->write_sent_memory(memory_.sent_memory()));
    Result<> pumped, finished;
    std::jthread finishing([&] { finished = memory_.finish(); });
    std::jthread pumping([&] {
      pumped = pump.run();
      if (!pumped) ::shutdown(pages_fd, SHUT_RDWR);  // so that criu does not wait for a reader
    });
    auto dumped = order_dump(copy);
    if (!dumped) ::shutdown(pages_fd, SHUT_RDWR);
    pumping.join();
    finishing.join();
    report_.dump_us = micros_since(since);
    SSI_TRY(std::move(finished).context("send memory"));
    report_.memory_bytes = pump.memory_bytes() + memory_.finished_bytes();
    report_.frozen_bytes = pump.sent_bytes() + memory_.sent_bytes() - report_.copied_bytes;
    if (!dumped) {
      const std::string why = plain_error(images_->read_log("dump.log"));
      return std::move(dumped).error().context(why.empty() ? "dump" : "dump: " + why);
    }
    return std::move(pumped).context("send memory");
  }

  Result<> dump_shm_files() {
    SSI_ASSIGN(shm_files_, fds::shm_files_of(pids()));
    for (std::size_t i = 0; i < shm_files_.size(); ++i) {
      SSI_TRY(fds::dump_shm_file(shm_files_[i], images_->fd(), i));
    }
    return {};
  }

  Result<> order_dump(const FrozenCopy& copy) {
    DumpOptions o;
    o.images_fd = kCriuImagesFd;
    o.page_server_fd = kCriuFirstExtraFd;
    o.freeze_cgroup = copy.cgroup().dir();
    for (const StreamRef& s : accepted_) {
      if (s.write_end) o.external.push_back(external_socket(s.key));
    }
    for (const StreamRef& s : source_.streams) {
      if (is_socket_key(s.key) && s.write_end) o.external.push_back(external_socket(s.key));
      if (!is_terminal_key(s.key) || !s.write_end) continue;
      o.external.push_back(s.key);
      if (!s.also_key.empty()) o.external.push_back(s.also_key);
    }
    for (const StreamRef& s : source_.streams) {
      if (s.fifo_mode == 0) continue;
      const std::string key = fds::criu_key_of_fifo(s.key);  // of both ends
      if (std::ranges::find(o.external, key) == o.external.end()) o.external.push_back(key);
    }
    for (const fds::HeldFile& file : held_) {
      if (!file.key.empty()) o.external.push_back(file.key);
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
    done.memory_bytes = report_.copied_bytes + report_.frozen_bytes;
    report_.file_bytes = done.file_bytes;
    SSI_TRY(send_message(link_, done));
    report_.send_us = micros_since(since);
    return {};
  }

  // Before the freeze: the process has not noticed anything.
  Error call_off(Error reason) {
    if (network_held_) env_.host.release_network(ticket_);
    (void)send_message(link_, Abandon{reason.message()});
    link_.abort();
    return reason;
  }

  Error give_up(FrozenCopy& copy, Error reason) {
    // First the word to everybody that this epoch will not come, then the process may go on.
    env_.host.abandon(ticket_, reason.message());
    senders_.let_go();
    if (network_held_) env_.host.release_network(ticket_);
    (void)send_message(link_, Abandon{reason.message()});
    link_.abort();
    for (const StreamRef& s : drained_) (void)env_.streams.resume(s);
    for (const StreamRef& s : exported_) env_.streams.close_at_home(s);
    release_files();
    put_ptys_back();
    if (auto thawed = copy.thaw(); !thawed) {
      return Error(reason.message() + "; and it could not be thawed: " + thawed.error().message());
    }
    return reason;
  }

  MoveEnvironment& env_;
  MoveLink& link_;
  const MoveTicket& ticket_;
  const MoveSource& source_;
  std::vector<pid_t> below_;  // as they are known by now
  SourceMemory memory_;
  std::optional<ImageDir> images_;
  UniqueFd pages_;                       // our end of criu's page stream
  std::mutex sending_;                   // pages
  std::optional<LocalCriu> local_criu_;  // one of the two
  std::optional<CriuRpc> realm_criu_;
  pid_t realm_criu_pid_ = 0;  // as its realm has it
  MoveReport report_;
  Clock::time_point frozen_since_;
  std::vector<StreamRef> drained_;
  std::vector<StreamRef> accepted_;  // beside the source's own
  std::vector<StreamRef> exported_;  // of these, by us
  std::set<std::string> deleted_sockets_;
  std::map<std::string, std::string> renamed_sockets_;
  std::vector<fds::ShmFile> shm_files_;
  std::vector<fds::HeldFile> held_;
  std::vector<fds::StillPty> still_ptys_;
  std::map<std::uint64_t, std::uint32_t> datagrams_;  // FrozenFacts
  HeldSenders senders_;
  std::vector<fds::FileInUse> files_in_use_;
  std::vector<fds::MovedPty> moved_ptys_;  // of these
  bool network_held_ = false;
  Carried carried_;
};

}  // namespace

Result<> offer_move(MoveLink& link, const MoveTicket& ticket, const MoveSource& source) {
  std::vector<pid_t> pids{source.host_pid};
  pids.insert(pids.end(), source.below.begin(), source.below.end());
  Offer offer{ticket, source.streams, "", source.holds_files || fds::any_watcher(pids)};
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
