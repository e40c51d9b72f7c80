#include "migrate/move/move_codec.h"

#include "migrate/move/move_generated.h"

namespace ssi::migrate {
namespace {

constexpr std::uint16_t kVersion = 1;
constexpr std::size_t kStreamsMax = 32;
constexpr std::size_t kTextMax = 4096;

using flatbuffers::FlatBufferBuilder;

template <typename T>
flatbuffers::Offset<void> pack(FlatBufferBuilder& b, const T& m);

template <>
flatbuffers::Offset<void> pack(FlatBufferBuilder& b, const Offer& m) {
  std::vector<flatbuffers::Offset<wire::Stream>> streams;
  for (const StreamRef& s : m.streams) {
    const auto key = b.CreateString(s.key), also_key = b.CreateString(s.also_key);
    streams.push_back(wire::CreateStream(b, s.id, key, s.write_end, s.capacity, s.generation,
                                         s.on_demand, s.terminal, also_key));
  }
  const MoveTicket& t = m.ticket;
  return wire::CreateOffer(b, t.pid.home.value, t.pid.pid, t.from.value, t.to.value, t.epoch.value,
                           t.start_time, b.CreateString(t.comm), b.CreateString(t.exe), t.uid,
                           t.rss_bytes, b.CreateVector(streams), b.CreateString(m.cpu_features),
                           b.CreateString(t.enablement), t.term, t.by_user, t.must_leave, t.demand,
                           t.source_slowdown, t.parent)
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
template <>
flatbuffers::Offset<void> pack(FlatBufferBuilder& b, const Frozen&) {
  return wire::CreateFrozen(b).Union();
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

std::string text(const flatbuffers::String* s) { return s ? s->str().substr(0, kTextMax) : ""; }

bool plain_name(const std::string& name) {
  return !name.empty() && name.size() < 128 && name.find('/') == std::string::npos &&
         name.find('\0') == std::string::npos && name != "." && name != "..";
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
  if (m.streams()) {
    if (m.streams()->size() > kStreamsMax) return Error("offer with too many streams");
    for (const wire::Stream* s : *m.streams()) {
      o.streams.push_back({s->id(), text(s->key()), s->write_end(), s->capacity(), s->generation(),
                           s->on_demand(), s->terminal(), text(s->also_key()), ""});
    }
  }
  o.cpu_features = text(m.cpu_features());
  return MoveMessage(std::move(o));
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
  flatbuffers::Verifier verifier(bytes.data(), bytes.size(), 8, 1000);
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
      return MoveMessage(Frozen{});
    case wire::Body::NONE:
      break;
  }
  return Error("a message of a move of unknown kind");
}

}  // namespace ssi::migrate
