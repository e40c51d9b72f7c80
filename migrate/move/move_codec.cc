#include "migrate/move/move_codec.h"

#include <fcntl.h>

#include "migrate/move/move_generated.h"

namespace ssi::migrate {
namespace {

constexpr std::uint16_t kVersion = 2;
constexpr std::size_t kStreamsMax = 4096;
constexpr std::size_t kAddressMax = 4096;
constexpr std::size_t kTablesMax = 10'000;
constexpr std::size_t kMembersMax = 1024;
constexpr std::size_t kTextMax = 4096;
constexpr std::size_t kHeldMax = fds::kHeldFilesMax;

using flatbuffers::FlatBufferBuilder;

template <typename T>
flatbuffers::Offset<void> pack(FlatBufferBuilder& b, const T& m);

using Streams = flatbuffers::Offset<flatbuffers::Vector<flatbuffers::Offset<wire::Stream>>>;
Streams pack_streams(FlatBufferBuilder& b, const std::vector<StreamRef>& all) {
  std::vector<flatbuffers::Offset<wire::Stream>> streams;
  for (const StreamRef& s : all) {
    const auto key = b.CreateString(s.key), also_key = b.CreateString(s.also_key);
    const auto address =
        b.CreateVector(reinterpret_cast<const std::uint8_t*>(s.address.data()), s.address.size());
    streams.push_back(wire::CreateStream(
        b, s.id, key, s.write_end, s.capacity, s.generation, s.on_demand, s.terminal, also_key,
        s.socket, s.peer_uid, s.peer_gid, s.fifo_mode, address, s.pid, s.number, s.socket_type));
  }
  return b.CreateVector(streams);
}

template <>
flatbuffers::Offset<void> pack(FlatBufferBuilder& b, const Offer& m) {
  const auto streams = pack_streams(b, m.streams);
  const MoveTicket& t = m.ticket;
  std::vector<flatbuffers::Offset<wire::Member>> members;
  for (const UnitMember& u : t.members) {
    const auto comm = b.CreateString(u.comm), exe = b.CreateString(u.exe);
    members.push_back(wire::CreateMember(b, u.pid, u.start_time, comm, exe, u.uid));
  }
  return wire::CreateOffer(b, t.pid.home.value, t.pid.pid, t.from.value, t.to.value, t.epoch.value,
                           t.start_time, b.CreateString(t.comm), b.CreateString(t.exe), t.uid,
                           t.rss_bytes, streams, b.CreateString(m.cpu_features),
                           b.CreateString(t.enablement), t.term, t.by_user, t.must_leave, t.demand,
                           t.source_slowdown, t.parent, b.CreateVector(members), t.processes,
                           m.holds_files)
      .Union();
}
template <>
flatbuffers::Offset<void> pack(FlatBufferBuilder& b, const Answer& m) {
  return wire::CreateAnswer(b, m.accepted, b.CreateString(m.reason)).Union();
}
template <>
flatbuffers::Offset<void> pack(FlatBufferBuilder& b, const ImageFile& m) {
  return wire::CreateFile(b, b.CreateString(m.name), m.offset,
                          b.CreateVector(m.data.data(), m.data.size()))
      .Union();
}
template <>
flatbuffers::Offset<void> pack(FlatBufferBuilder& b, const DumpDone& m) {
  return wire::CreateDumpDone(b, m.files, m.file_bytes, m.memory_bytes).Union();
}
template <>
flatbuffers::Offset<void> pack(FlatBufferBuilder& b, const Restored& m) {
  return wire::CreateRestored(b, m.ok, b.CreateString(m.reason), m.restore_us, m.memory_bytes)
      .Union();
}
template <>
flatbuffers::Offset<void> pack(FlatBufferBuilder& b, const Abandon& m) {
  return wire::CreateAbandon(b, b.CreateString(m.reason)).Union();
}
template <>
flatbuffers::Offset<void> pack(FlatBufferBuilder& b, const EarlyDone& m) {
  return wire::CreateEarlyDone(b, m.memory_bytes).Union();
}
template <>
flatbuffers::Offset<void> pack(FlatBufferBuilder& b, const EarlyTaken&) {
  return wire::CreateEarlyTaken(b).Union();
}
flatbuffers::Offset<flatbuffers::Vector<std::uint8_t>> pack_bytes(FlatBufferBuilder& b,
                                                                  const std::string& bytes) {
  return b.CreateVector(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
}
flatbuffers::Offset<wire::Pty> pack_pty(FlatBufferBuilder& b, const fds::MovedPty& pty) {
  std::vector<flatbuffers::Offset<wire::PtyInput>> input;
  for (const fds::PtyInput& i : pty.queues.input) {
    input.push_back(
        wire::CreatePtyInput(b, pack_bytes(b, i.bytes), static_cast<std::uint8_t>(i.end)));
  }
  return wire::CreatePty(b, pty.pid, pty.master, static_cast<std::uint8_t>(pty.slave),
                         b.CreateVector(input), pack_bytes(b, pty.queues.output));
}
template <>
flatbuffers::Offset<void> pack(FlatBufferBuilder& b, const Frozen& m) {
  std::vector<flatbuffers::Offset<wire::Held>> held;
  for (const fds::HeldFile& f : m.held) {
    const auto key = b.CreateString(f.key), name = b.CreateString(f.name);
    std::vector<wire::HeldLock> locks;
    for (const LockRange& lock : f.locks) locks.emplace_back(lock.start, lock.end, lock.type);
    held.push_back(wire::CreateHeld(b, f.id, key, f.pid, f.number, f.flags, f.position, f.flock,
                                    name, b.CreateVectorOfStructs(locks), f.of_process,
                                    f.lease.type, f.lease.breaking != 0, f.lease_signal,
                                    f.lease_owner));
  }
  std::vector<flatbuffers::Offset<wire::Pty>> ptys;
  for (const fds::MovedPty& pty : m.ptys) ptys.push_back(pack_pty(b, pty));
  std::vector<wire::Slack> slacks;
  for (const TimerSlack& slack : m.slacks) slacks.emplace_back(slack.ns, slack.pid);
  std::vector<flatbuffers::Offset<wire::FileInUse>> files;
  for (const fds::FileInUse& f : m.files) {
    files.push_back(wire::CreateFileInUse(b, b.CreateString(f.path), f.written));
  }
  return wire::CreateFrozen(b, b.CreateVector(held), b.CreateVector(ptys),
                            pack_streams(b, m.streams), b.CreateVectorOfStructs(slacks),
                            b.CreateVector(files))
      .Union();
}
template <>
flatbuffers::Offset<void> pack(FlatBufferBuilder& b, const Watching& m) {
  std::vector<flatbuffers::Offset<wire::Watcher>> watchers;
  for (const fds::Watcher& w : m.watchers) {
    std::vector<flatbuffers::Offset<wire::Watch>> watches;
    for (const fds::Watch& one : w.watches) {
      watches.push_back(
          wire::CreateWatch(b, one.number, one.inode, one.mask, b.CreateString(one.path)));
    }
    watchers.push_back(wire::CreateWatcher(b, w.pid, w.number, w.flags, b.CreateVector(watches)));
  }
  return wire::CreateWatching(b, b.CreateVector(watchers)).Union();
}
template <>
flatbuffers::Offset<void> pack(FlatBufferBuilder& b, const Listening& m) {
  return wire::CreateListening(b, b.CreateString(m.reason)).Union();
}

template <typename T>
constexpr wire::Body body_of();
template <>
constexpr wire::Body body_of<Offer>() {
  return wire::Body::Offer;
}
template <>
constexpr wire::Body body_of<Answer>() {
  return wire::Body::Answer;
}
template <>
constexpr wire::Body body_of<ImageFile>() {
  return wire::Body::File;
}
template <>
constexpr wire::Body body_of<DumpDone>() {
  return wire::Body::DumpDone;
}
template <>
constexpr wire::Body body_of<Restored>() {
  return wire::Body::Restored;
}
template <>
constexpr wire::Body body_of<Abandon>() {
  return wire::Body::Abandon;
}
template <>
constexpr wire::Body body_of<EarlyDone>() {
  return wire::Body::EarlyDone;
}
template <>
constexpr wire::Body body_of<EarlyTaken>() {
  return wire::Body::EarlyTaken;
}
template <>
constexpr wire::Body body_of<Frozen>() {
  return wire::Body::Frozen;
}
template <>
constexpr wire::Body body_of<Watching>() {
  return wire::Body::Watching;
}
template <>
constexpr wire::Body body_of<Listening>() {
  return wire::Body::Listening;
}

std::string text(const flatbuffers::String* s) { return s ? s->str().substr(0, kTextMax) : ""; }

bool plain_name(const std::string& name) {
  return !name.empty() && name.size() < 128 && name.find('/') == std::string::npos &&
         name.find('\0') == std::string::npos && name != "." && name != "..";
}

std::string bytes_of(const flatbuffers::Vector<std::uint8_t>* bytes) {
  return bytes ? std::string(reinterpret_cast<const char*>(bytes->data()), bytes->size()) : "";
}

Result<std::vector<StreamRef>> unpack_streams(
    const flatbuffers::Vector<flatbuffers::Offset<wire::Stream>>* all) {
  std::vector<StreamRef> streams;
  if (all == nullptr) return streams;
  if (all->size() > kStreamsMax) return Error("too many streams");
  for (const wire::Stream* s : *all) {
    streams.push_back({s->id(), text(s->key()), s->write_end(), s->capacity(), s->generation(),
                       s->on_demand(), s->terminal(), text(s->also_key()), "", s->socket(),
                       s->peer_uid(), s->peer_gid(), s->fifo_mode(), bytes_of(s->address()),
                       s->pid(), s->number(), s->socket_type()});
    const StreamRef& got = streams.back();
    if (got.address.size() > kAddressMax) return Error("a socket's address that is too long");
    if (got.socket_type != SOCK_STREAM && got.socket_type != SOCK_SEQPACKET &&
        got.socket_type != SOCK_DGRAM) {
      return Error("a socket of a type that is not relayed");
    }
    if (got.is_named() && got.address.front() != '/' && got.address.front() != '\0') {
      return Error("a socket's address without sense");
    }
  }
  return streams;
}

Result<MoveMessage> unpack(const wire::Offer& m) {
  Offer o;
  o.ticket = {.pid = {NodeId{m.home()}, m.pid()},
              .from = NodeId{m.from()},
              .to = NodeId{m.to()},
              .epoch = Epoch{m.epoch()},
              .start_time = m.start_time(),
              .comm = text(m.comm()),
              .exe = text(m.exe()),
              .uid = m.uid(),
              .parent = m.parent(),
              .rss_bytes = m.rss_bytes(),
              .term = m.term(),
              .members = {},
              .processes = m.processes(),
              .enablement = text(m.enablement()),
              .by_user = m.by_user(),
              .must_leave = m.must_leave(),
              .demand = m.demand(),
              .source_slowdown = m.source_slowdown()};
  const auto sane = [](double d) { return d >= 0 && d <= 1e9; };
  if (!sane(o.ticket.demand) || !sane(o.ticket.source_slowdown)) {
    return Error("offer of a move with numbers without sense");
  }
  if (!o.ticket.pid.home || o.ticket.pid.pid <= 1 || !o.ticket.from || !o.ticket.to ||
      o.ticket.epoch.value == 0) {
    return Error("offer of a move without sense");
  }
  SSI_ASSIGN(o.streams, unpack_streams(m.streams()));
  if (m.members()) {
    if (m.members()->size() > kMembersMax) return Error("offer of too many processes");
    for (const wire::Member* u : *m.members()) {
      if (u->pid() <= 1 || u->pid() == m.pid()) return Error("offer of a tree without sense");
      o.ticket.members.push_back(
          {u->pid(), u->start_time(), text(u->comm()), text(u->exe()), u->uid()});
    }
  }
  o.cpu_features = text(m.cpu_features());
  o.holds_files = m.holds_files();
  return MoveMessage(std::move(o));
}

Result<fds::MovedPty> unpack_pty(const wire::Pty& m) {
  using Slave = fds::StillPty::Slave;
  using End = fds::PtyInput::End;
  fds::MovedPty pty{m.pid(), m.master(), static_cast<Slave>(m.slave()), {{}, bytes_of(m.output())}};
  bool good =
      m.slave() <= static_cast<int>(Slave::kOpen) && pty.queues.output.size() <= fds::kPtyOutputMax;
  std::size_t bytes = 0;
  if (m.input() != nullptr) {
    for (const wire::PtyInput* i : *m.input()) {
      pty.queues.input.push_back({bytes_of(i->bytes()), static_cast<End>(i->end())});
      bytes += pty.queues.input.back().bytes.size() + 1;
      good = good && i->end() <= static_cast<int>(End::kEndOfFile);
    }
  }
  if (!good || bytes > fds::kPtyInputMax) return Error("a terminal's queues are damaged");
  return pty;
}

Result<std::vector<LockRange>> unpack_locks(const flatbuffers::Vector<const wire::HeldLock*>* m) {
  std::vector<LockRange> locks;
  if (m == nullptr) return locks;
  if (m->size() > kLockRangesMax) return Error("too many record locks");
  for (const wire::HeldLock* lock : *m) {
    locks.push_back({lock->start(), lock->end(), lock->type(), 0});
  }
  return locks;
}

Result<MoveMessage> unpack(const wire::Frozen& m) {
  Frozen frozen;
  if (m.ptys() != nullptr) {
    if (m.ptys()->size() > fds::kPtysMax) return Error("too many terminals");
    for (const wire::Pty* p : *m.ptys()) {
      SSI_ASSIGN(auto pty, unpack_pty(*p));
      frozen.ptys.push_back(std::move(pty));
    }
  }
  SSI_ASSIGN(frozen.streams, unpack_streams(m.streams()));
  if (m.slacks() != nullptr) {
    for (const wire::Slack* s : *m.slacks()) frozen.slacks.push_back({s->pid(), s->ns()});
  }
  if (m.files() != nullptr) {
    if (m.files()->size() > fds::kFilesInUseMax) return Error("too many files");
    for (const wire::FileInUse* f : *m.files()) {
      frozen.files.push_back({f->path()->str(), f->written()});
    }
  }
  if (m.held() == nullptr) return MoveMessage(std::move(frozen));
  if (m.held()->size() > kHeldMax) return Error("too many held files");
  for (const wire::Held* f : *m.held()) {
    SSI_ASSIGN(auto locks, unpack_locks(f->locks()));
    if (f->lease() > F_UNLCK) return Error("a lease of an unknown kind");
    frozen.held.push_back({f->id(),
                           text(f->key()),
                           f->pid(),
                           f->number(),
                           f->flags(),
                           f->position(),
                           f->flock(),
                           std::move(locks),
                           text(f->name()),
                           f->of_process(),
                           {f->lease(), f->breaking() ? 1u : 0u},
                           f->lease_signal(),
                           f->lease_owner()});
  }
  return MoveMessage(std::move(frozen));
}

Result<MoveMessage> unpack(const wire::Watching& m) {
  Watching watching;
  if (m.watchers() == nullptr) return MoveMessage(std::move(watching));
  if (m.watchers()->size() > fds::kWatchersMax) return Error("too many inotify instances");
  std::size_t watches = 0;
  for (const wire::Watcher* w : *m.watchers()) {
    fds::Watcher watcher{w->pid(), w->number(), w->flags(), {}};
    if (w->watches() != nullptr) {
      watches += w->watches()->size();
      if (watches > fds::kWatchesMax) return Error("too many watches");
      for (const wire::Watch* one : *w->watches()) {
        watcher.watches.push_back({one->number(), one->inode(), one->mask(), text(one->path())});
        const std::string& path = watcher.watches.back().path;
        if (!path.empty() && path.front() != '/') return Error("a watch on a name without sense");
      }
    }
    watching.watchers.push_back(std::move(watcher));
  }
  return MoveMessage(std::move(watching));
}

Result<MoveMessage> unpack(const wire::File& m) {
  ImageFile f{m.name()->str(), m.offset(), {m.data()->data(), m.data()->size()}};
  if (!plain_name(f.name)) return Error("image file with a wrong name");
  return MoveMessage(std::move(f));
}

}  // namespace

std::vector<std::uint8_t> encode(const MoveMessage& message) {
  FlatBufferBuilder builder(1024);
  std::visit(
      [&](const auto& m) {
        const auto body = pack(builder, m);
        wire::FinishMoveMessageBuffer(
            builder,
            wire::CreateMoveMessage(builder, kVersion, body_of<std::decay_t<decltype(m)>>(), body));
      },
      message);
  return {builder.GetBufferPointer(), builder.GetBufferPointer() + builder.GetSize()};
}

Result<MoveMessage> decode_move(std::span<const std::uint8_t> bytes) {
  flatbuffers::Verifier verifier(bytes.data(), bytes.size(), 8, kTablesMax);
  if (bytes.size() < 12 || !wire::MoveMessageBufferHasIdentifier(bytes.data()) ||
      !wire::VerifyMoveMessageBuffer(verifier)) {
    return Error("not a message of a move");
  }
  const wire::MoveMessage* m = wire::GetMoveMessage(bytes.data());
  if (m->body() == nullptr) return Error("a message of a move without a body");
  if (m->version() != kVersion) return Error("a move of another version");
  switch (m->body_type()) {
    case wire::Body::Offer:
      return unpack(*m->body_as_Offer());
    case wire::Body::Answer: {
      const auto* a = m->body_as_Answer();
      return MoveMessage(Answer{a->accepted(), text(a->reason())});
    }
    case wire::Body::File:
      return unpack(*m->body_as_File());
    case wire::Body::DumpDone: {
      const auto* d = m->body_as_DumpDone();
      return MoveMessage(DumpDone{d->files(), d->file_bytes(), d->memory_bytes()});
    }
    case wire::Body::Restored: {
      const auto* r = m->body_as_Restored();
      return MoveMessage(Restored{r->ok(), text(r->reason()), r->restore_us(), r->memory_bytes()});
    }
    case wire::Body::Abandon:
      return MoveMessage(Abandon{text(m->body_as_Abandon()->reason())});
    case wire::Body::EarlyDone:
      return MoveMessage(EarlyDone{m->body_as_EarlyDone()->memory_bytes()});
    case wire::Body::EarlyTaken:
      return MoveMessage(EarlyTaken{});
    case wire::Body::Frozen:
      return unpack(*m->body_as_Frozen());
    case wire::Body::Watching:
      return unpack(*m->body_as_Watching());
    case wire::Body::Listening:
      return MoveMessage(Listening{text(m->body_as_Listening()->reason())});
    case wire::Body::NONE:
      break;
  }
  return Error("a message of a move of unknown kind");
}

}  // namespace ssi::migrate
