// Two tables of functions: write() makes the FlatBuffer table of a struct, read() checks and copies
// it back.
#include "ssid/wire/group/group_codec.h"

#include <flatbuffers/flatbuffers.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <type_traits>

#include "ssid/base/check.h"
#include "ssid/wire/group/group_generated.h"

namespace ssi::group {
namespace {

namespace fb = ssi::groupfb;
using Builder = flatbuffers::FlatBufferBuilder;

template <typename T>
using Offset = flatbuffers::Offset<T>;

// ---- writing

Offset<flatbuffers::String> text(Builder& b, const std::string& s, std::size_t limit) {
  return b.CreateString(s.data(), std::min(s.size(), limit));
}

Offset<fb::Member> write(Builder& b, const Member& m) {
  const auto comm = text(b, m.comm, kNameBytesMax);
  const auto exe = text(b, m.exe, kTextBytesMax);
  return fb::CreateMember(b, m.pid, m.start_time, comm, m.uid, exe);
}

Offset<fb::Retire> write(Builder& b, const Retire& m) {
  const auto reason = text(b, m.reason, kTextBytesMax);
  return fb::CreateRetire(b, m.process.home.value, m.process.pid, m.epoch.value, m.start_time,
                          m.wait_status, reason, m.node.value, m.proposal);
}

Offset<fb::TableEntry> write(Builder& b, const TableEntry& m) {
  const auto comm = text(b, m.comm, kNameBytesMax);
  const auto exe = text(b, m.exe, kTextBytesMax);
  return fb::CreateTableEntry(b, m.process.home.value, m.process.pid, m.where.value, m.epoch.value,
                              m.start_time, comm, m.uid, exe, m.nmigs, m.since_ms, m.gone, m.unit);
}

Offset<fb::Claim> write(Builder& b, const Claim& m) {
  const auto entry = write(b, m.entry);
  return fb::CreateClaim(b, entry, m.proposal);
}

Offset<fb::Tombstone> write(Builder& b, const Tombstone& m) {
  const auto reason = text(b, m.reason, kTextBytesMax);
  return fb::CreateTombstone(b, m.process.home.value, m.process.pid, m.epoch.value, m.start_time,
                             m.wait_status, reason, m.node.value);
}

Offset<fb::Boot> write(Builder& b, const Boot& m) {
  const auto boot_id = text(b, m.boot_id, kNameBytesMax);
  return fb::CreateBoot(b, m.node.value, boot_id);
}

Offset<fb::PendingOperation> write(Builder& b, const PendingOperation& m);

template <typename T>
auto write_all(Builder& b, const std::vector<T>& items, std::size_t limit) {
  SSI_CHECK(items.size() <= limit);
  std::vector<decltype(write(b, items[0]))> offsets;
  offsets.reserve(items.size());
  for (const T& item : items) offsets.push_back(write(b, item));
  return b.CreateVector(offsets);
}

Offset<fb::Commit> write(Builder& b, const Commit& m) {
  const auto comm = text(b, m.comm, kNameBytesMax);
  const auto exe = text(b, m.exe, kTextBytesMax);
  const auto members = write_all(b, m.members, kMembersMax);
  return fb::CreateCommit(b, m.process.home.value, m.process.pid, m.from.value, m.to.value,
                          m.epoch.value, m.start_time, comm, m.uid, exe, m.at_ms, m.proposal,
                          m.term, members);
}

Offset<fb::Boots> write(Builder& b, const Boots& m) {
  const auto boots = write_all(b, m.boots, kNodesMax);
  return fb::CreateBoots(b, boots);
}

Offset<fb::SetDrained> write(Builder& b, const SetDrained& m) {
  return fb::CreateSetDrained(b, m.node.value, m.drained, m.proposal, m.term);
}

Offset<fb::EtcFrame> write(Builder& b, const EtcFrame& m) {
  return fb::CreateEtcFrame(b, b.CreateVector(m.frame));
}

fb::Operation type_of(const Operation& operation) {
  return static_cast<fb::Operation>(operation.index() + 1);
}

Offset<fb::PendingOperation> write(Builder& b, const PendingOperation& m) {
  const auto operation =
      std::visit([&b](const auto& op) { return write(b, op).Union(); }, m.operation);
  return fb::CreatePendingOperation(b, m.sender.value, type_of(m.operation), operation);
}

Offset<fb::Snapshot> write(Builder& b, const Snapshot& m) {
  const auto entries = write_all(b, m.entries, kSnapshotPartItemsMax);
  const auto tombstones = write_all(b, m.tombstones, kSnapshotPartItemsMax);
  const auto boots = write_all(b, m.boots, kNodesMax);
  const auto pending = write_all(b, m.pending, kSnapshotPartItemsMax);
  SSI_CHECK(m.drained.size() <= kNodesMax);
  std::vector<std::uint32_t> nodes;
  for (const NodeId node : m.drained) nodes.push_back(node.value);
  const auto drained = b.CreateVector(nodes);
  return fb::CreateSnapshot(b, m.nonce, m.ballot, m.part, m.parts, m.committed, entries, tombstones,
                            boots, pending, drained);
}

Offset<fb::SyncRequest> write(Builder& b, const SyncRequest& m) {
  return fb::CreateSyncRequest(b, m.nonce, m.ballot);
}

Offset<fb::SyncReply> write(Builder& b, const SyncReply& m) {
  const auto boot_id = text(b, m.boot_id, kNameBytesMax);
  return fb::CreateSyncReply(b, m.nonce, m.ballot, m.promised, m.term, m.held, boot_id, m.nodes);
}

Offset<fb::Ack> write(Builder& b, const Ack& m) { return fb::CreateAck(b, m.term, m.held); }

Offset<fb::NodeInfo> write(Builder& b, const NodeInfo& m) {
  const auto boot_id = text(b, m.boot_id, kNameBytesMax);
  const auto address = text(b, m.address, kNameBytesMax);
  const auto version = text(b, m.version, kNameBytesMax);
  const auto cpu_features = text(b, m.cpu_features, kTextBytesMax);
  return fb::CreateNodeInfo(b, m.node.value, boot_id, m.cpus, m.cpu_speed_mhz, m.runnable, m.load1,
                            m.mem_total, m.mem_free, m.guests_in, m.guests_out, m.accepting,
                            m.drained, address, version, cpu_features, m.cpu_pressure,
                            m.mem_pressure, m.movable);
}

Offset<fb::Signal> write(Builder& b, const Signal& m) {
  return fb::CreateSignal(b, m.process.home.value, m.process.pid, m.epoch.value, m.signo, m.value,
                          m.sender_uid, m.sender_pid, m.by_terminal, m.to_group);
}

Offset<fb::GuestStopped> write(Builder& b, const GuestStopped& m) {
  return fb::CreateGuestStopped(b, m.process.home.value, m.process.pid, m.epoch.value, m.signo);
}

Offset<fb::GuestContinued> write(Builder& b, const GuestContinued& m) {
  return fb::CreateGuestContinued(b, m.process.home.value, m.process.pid, m.epoch.value);
}

Offset<fb::Request> write(Builder& b, const Request& m) {
  const auto op = text(b, m.op, kNameBytesMax);
  SSI_CHECK(m.json.size() <= kJsonBytesMax);
  const auto json = b.CreateString(m.json);
  return fb::CreateRequest(b, m.id, m.from.value, m.to.value, op, json, m.uid, m.gid);
}

Offset<fb::Reply> write(Builder& b, const Reply& m) {
  const auto error = text(b, m.error, kTextBytesMax);
  SSI_CHECK(m.json.size() <= kJsonBytesMax);
  const auto json = b.CreateString(m.json);
  return fb::CreateReply(b, m.id, m.to.value, m.code, error, json);
}

Offset<fb::Event> write(Builder& b, const Event& m) {
  const auto line = text(b, m.text, kTextBytesMax);
  SSI_CHECK(m.json.size() <= kJsonBytesMax);
  const auto json = b.CreateString(m.json);
  return fb::CreateEvent(b, line, json);
}

// The variants' order is the unions' numbering.
static_assert(std::variant_size_v<GroupMessage> == static_cast<std::size_t>(fb::Body::MAX));
static_assert(std::variant_size_v<Operation> == static_cast<std::size_t>(fb::Operation::MAX));
static_assert(std::is_same_v<std::variant_alternative_t<8, GroupMessage>, Signal> &&
              fb::Body::Signal == static_cast<fb::Body>(9));
static_assert(std::is_same_v<std::variant_alternative_t<13, GroupMessage>, Event> &&
              fb::Body::Event == static_cast<fb::Body>(14));

// ---- reading

// Collects the first thing that is wrong, so that the readers below read like the tables.
class Reader {
 public:
  void need(bool condition, const char* what) {
    if (!condition && !wrong_) wrong_ = what;
  }
  const char* wrong() const { return wrong_; }

  std::string text(const flatbuffers::String* s, std::size_t limit) {
    if (s == nullptr) return {};
    need(s->size() <= limit, "text too long");
    return wrong_ ? std::string() : s->str();
  }
  SsiPid process(std::uint32_t home, std::int32_t pid) {
    need(home != 0, "no home");
    need(pid > 0, "no PID");
    return {NodeId{home}, pid};
  }
  NodeId node(std::uint32_t value) {
    need(value != 0, "no node");
    return NodeId{value};
  }
  Epoch epoch(std::uint64_t value) {
    need(value != 0, "no epoch");
    return Epoch{value};
  }
  double measure(double value) {
    need(std::isfinite(value) && value >= 0, "a measure is no number");
    return wrong_ ? 0 : value;
  }

 private:
  const char* wrong_ = nullptr;
};

Retire read(Reader& r, const fb::Retire& t) {
  return {.process = r.process(t.home(), t.pid()),
          .epoch = r.epoch(t.epoch()),
          .start_time = t.start_time(),
          .wait_status = t.wait_status(),
          .reason = r.text(t.reason(), kTextBytesMax),
          .node = r.node(t.node()),
          .proposal = t.proposal()};
}

Member read(Reader& r, const fb::Member& t) {
  r.need(t.pid() > 0, "no PID");
  return {.pid = t.pid(),
          .start_time = t.start_time(),
          .comm = r.text(t.comm(), kNameBytesMax),
          .uid = t.uid(),
          .exe = r.text(t.exe(), kTextBytesMax)};
}

TableEntry read(Reader& r, const fb::TableEntry& t) {
  return {.process = r.process(t.home(), t.pid()),
          .where = r.node(t.where()),
          .epoch = r.epoch(t.epoch()),
          .start_time = t.start_time(),
          .comm = r.text(t.comm(), kNameBytesMax),
          .uid = t.uid(),
          .exe = r.text(t.exe(), kTextBytesMax),
          .nmigs = t.nmigs(),
          .since_ms = t.since_ms(),
          .gone = t.gone(),
          .unit = t.unit()};
}

Claim read(Reader& r, const fb::Claim& t) {
  r.need(t.entry() != nullptr, "a claim of nothing");
  if (r.wrong()) return {};
  return {.entry = read(r, *t.entry()), .proposal = t.proposal()};
}

Tombstone read(Reader& r, const fb::Tombstone& t) {
  return {.process = r.process(t.home(), t.pid()),
          .epoch = r.epoch(t.epoch()),
          .start_time = t.start_time(),
          .wait_status = t.wait_status(),
          .reason = r.text(t.reason(), kTextBytesMax),
          .node = r.node(t.node())};
}

Boot read(Reader& r, const fb::Boot& t) {
  return {.node = r.node(t.node()), .boot_id = r.text(t.boot_id(), kNameBytesMax)};
}

PendingOperation read(Reader& r, const fb::PendingOperation& t);

template <typename T, typename Table>
std::vector<T> read_all(Reader& r, const flatbuffers::Vector<Offset<Table>>* items,
                        std::size_t limit) {
  std::vector<T> all;
  if (items == nullptr) return all;
  r.need(items->size() <= limit, "too many items");
  if (r.wrong()) return all;
  all.reserve(items->size());
  for (const Table* item : *items) {
    all.push_back(read(r, *item));
    if (r.wrong()) break;
  }
  return all;
}

Commit read(Reader& r, const fb::Commit& t) {
  return {.process = r.process(t.home(), t.pid()),
          .from = r.node(t.from()),
          .to = r.node(t.to()),
          .epoch = r.epoch(t.epoch()),
          .start_time = t.start_time(),
          .comm = r.text(t.comm(), kNameBytesMax),
          .uid = t.uid(),
          .exe = r.text(t.exe(), kTextBytesMax),
          .at_ms = t.at_ms(),
          .proposal = t.proposal(),
          .term = t.term(),
          .members = read_all<Member>(r, t.members(), kMembersMax)};
}

Boots read(Reader& r, const fb::Boots& t) {
  return {.boots = read_all<Boot>(r, t.boots(), kNodesMax)};
}

SetDrained read(Reader& r, const fb::SetDrained& t) {
  return {
      .node = r.node(t.node()), .drained = t.drained(), .proposal = t.proposal(), .term = t.term()};
}

EtcFrame read(Reader& r, const fb::EtcFrame& t) {
  r.need(t.frame() != nullptr, "a frame without content");
  if (r.wrong()) return {};
  return {{t.frame()->begin(), t.frame()->end()}};
}

PendingOperation read(Reader& r, const fb::PendingOperation& t) {
  PendingOperation pending{.sender = r.node(t.sender()), .operation = Boots{}};
  r.need(t.operation() != nullptr, "an operation without content");
  if (r.wrong()) return pending;
  switch (t.operation_type()) {
    case fb::Operation::Commit:
      pending.operation = read(r, *t.operation_as_Commit());
      break;
    case fb::Operation::Retire:
      pending.operation = read(r, *t.operation_as_Retire());
      break;
    case fb::Operation::Claim:
      pending.operation = read(r, *t.operation_as_Claim());
      break;
    case fb::Operation::Boots:
      pending.operation = read(r, *t.operation_as_Boots());
      break;
    case fb::Operation::SetDrained:
      pending.operation = read(r, *t.operation_as_SetDrained());
      break;
    case fb::Operation::NONE:
    default:
      r.need(false, "an unknown operation");
  }
  return pending;
}

std::vector<NodeId> read_nodes(Reader& r, const flatbuffers::Vector<std::uint32_t>* numbers) {
  std::vector<NodeId> nodes;
  if (numbers == nullptr) return nodes;
  r.need(numbers->size() <= kNodesMax, "too many items");
  if (r.wrong()) return nodes;
  for (const std::uint32_t number : *numbers) nodes.push_back(r.node(number));
  return nodes;
}

Snapshot read(Reader& r, const fb::Snapshot& t) {
  r.need(t.parts() > 0 && t.part() < t.parts(), "part beyond the last");
  return {.nonce = t.nonce(),
          .ballot = t.ballot(),
          .part = t.part(),
          .parts = t.parts(),
          .committed = t.committed(),
          .entries = read_all<TableEntry>(r, t.entries(), kSnapshotPartItemsMax),
          .tombstones = read_all<Tombstone>(r, t.tombstones(), kSnapshotPartItemsMax),
          .boots = read_all<Boot>(r, t.boots(), kNodesMax),
          .pending = read_all<PendingOperation>(r, t.pending(), kSnapshotPartItemsMax),
          .drained = read_nodes(r, t.drained())};
}

SyncRequest read(Reader&, const fb::SyncRequest& t) {
  return {.nonce = t.nonce(), .ballot = t.ballot()};
}

SyncReply read(Reader& r, const fb::SyncReply& t) {
  return {.nonce = t.nonce(),
          .ballot = t.ballot(),
          .promised = t.promised(),
          .term = t.term(),
          .held = t.held(),
          .boot_id = r.text(t.boot_id(), kNameBytesMax),
          .nodes = t.nodes()};
}

Ack read(Reader&, const fb::Ack& t) { return {.term = t.term(), .held = t.held()}; }

NodeInfo read(Reader& r, const fb::NodeInfo& t) {
  return {.node = r.node(t.node()),
          .boot_id = r.text(t.boot_id(), kNameBytesMax),
          .cpus = t.cpus(),
          .cpu_speed_mhz = t.cpu_speed_mhz(),
          .runnable = r.measure(t.runnable()),
          .load1 = r.measure(t.load1()),
          .mem_total = t.mem_total(),
          .mem_free = t.mem_free(),
          .guests_in = t.guests_in(),
          .guests_out = t.guests_out(),
          .accepting = t.accepting(),
          .drained = t.drained(),
          .address = r.text(t.address(), kNameBytesMax),
          .version = r.text(t.version(), kNameBytesMax),
          .cpu_features = r.text(t.cpu_features(), kTextBytesMax),
          .cpu_pressure = r.measure(t.cpu_pressure()),
          .mem_pressure = r.measure(t.mem_pressure()),
          .movable = r.measure(t.movable())};
}

std::int32_t signal_number(Reader& r, std::int32_t signo) {
  r.need(signo >= 1 && signo <= 64, "no such signal");
  return signo;
}

Signal read(Reader& r, const fb::Signal& t) {
  return {.process = r.process(t.home(), t.pid()),
          .epoch = r.epoch(t.epoch()),
          .signo = signal_number(r, t.signo()),
          .value = t.value(),
          .sender_uid = t.sender_uid(),
          .sender_pid = t.sender_pid(),
          .by_terminal = t.by_terminal(),
          .to_group = t.to_group()};
}

GuestStopped read(Reader& r, const fb::GuestStopped& t) {
  return {.process = r.process(t.home(), t.pid()),
          .epoch = r.epoch(t.epoch()),
          .signo = signal_number(r, t.signo())};
}

GuestContinued read(Reader& r, const fb::GuestContinued& t) {
  return {.process = r.process(t.home(), t.pid()), .epoch = r.epoch(t.epoch())};
}

Request read(Reader& r, const fb::Request& t) {
  return {.id = t.id(),
          .from = r.node(t.from()),
          .to = NodeId{t.to()},
          .op = r.text(t.op(), kNameBytesMax),
          .json = r.text(t.json(), kJsonBytesMax),
          .uid = t.uid(),
          .gid = t.gid()};
}

Reply read(Reader& r, const fb::Reply& t) {
  return {.id = t.id(),
          .to = r.node(t.to()),
          .code = t.code(),
          .error = r.text(t.error(), kTextBytesMax),
          .json = r.text(t.json(), kJsonBytesMax)};
}

Event read(Reader& r, const fb::Event& t) {
  return {.text = r.text(t.text(), kTextBytesMax), .json = r.text(t.json(), kJsonBytesMax)};
}

GroupMessage read_body(Reader& r, const fb::Frame& frame) {
  switch (frame.body_type()) {
    case fb::Body::Commit:
      return read(r, *frame.body_as_Commit());
    case fb::Body::Retire:
      return read(r, *frame.body_as_Retire());
    case fb::Body::Claim:
      return read(r, *frame.body_as_Claim());
    case fb::Body::Snapshot:
      return read(r, *frame.body_as_Snapshot());
    case fb::Body::SyncRequest:
      return read(r, *frame.body_as_SyncRequest());
    case fb::Body::SyncReply:
      return read(r, *frame.body_as_SyncReply());
    case fb::Body::Ack:
      return read(r, *frame.body_as_Ack());
    case fb::Body::NodeInfo:
      return read(r, *frame.body_as_NodeInfo());
    case fb::Body::Signal:
      return read(r, *frame.body_as_Signal());
    case fb::Body::GuestStopped:
      return read(r, *frame.body_as_GuestStopped());
    case fb::Body::GuestContinued:
      return read(r, *frame.body_as_GuestContinued());
    case fb::Body::Request:
      return read(r, *frame.body_as_Request());
    case fb::Body::Reply:
      return read(r, *frame.body_as_Reply());
    case fb::Body::Event:
      return read(r, *frame.body_as_Event());
    case fb::Body::SetDrained:
      return read(r, *frame.body_as_SetDrained());
    case fb::Body::EtcFrame:
      return read(r, *frame.body_as_EtcFrame());
    case fb::Body::NONE:
    default:
      r.need(false, "an unknown message");
      return Ack{};
  }
}

Error refused(const char* why) {
  return Error(ErrorCode::kRefused, std::string("group message: ") + why);
}

}  // namespace

std::vector<std::uint8_t> encode(const GroupMessage& message) {
  Builder b(512);
  const auto type = static_cast<fb::Body>(message.index() + 1);
  const auto body = std::visit([&b](const auto& m) { return write(b, m).Union(); }, message);
  b.Finish(fb::CreateFrame(b, kVersion, type, body), fb::FrameIdentifier());
  SSI_CHECK(b.GetSize() <= kFrameBytesMax);
  return {b.GetBufferPointer(), b.GetBufferPointer() + b.GetSize()};
}

Result<GroupMessage> decode(std::span<const std::uint8_t> frame) {
  if (frame.size() < 16) return refused("too short");
  if (frame.size() > kFrameBytesMax) return refused("too long");
  // FlatBuffers reads words in place: they must be aligned, and a receive buffer need not be.
  std::vector<std::uint64_t> aligned;
  if (reinterpret_cast<std::uintptr_t>(frame.data()) % alignof(std::uint64_t) != 0) {
    aligned.resize((frame.size() + 7) / 8);
    std::memcpy(aligned.data(), frame.data(), frame.size());
    frame = {reinterpret_cast<const std::uint8_t*>(aligned.data()), frame.size()};
  }
  if (!fb::FrameBufferHasIdentifier(frame.data())) return refused("not a frame of ssid");
  flatbuffers::Verifier verifier(frame.data(), frame.size(), 16, 200'000);
  if (!fb::VerifyFrameBuffer(verifier)) return refused("damaged");
  const fb::Frame& root = *fb::GetFrame(frame.data());
  if (root.version() != kVersion) return refused("another version of ssid");
  if (root.body() == nullptr) return refused("empty");
  Reader reader;
  GroupMessage message = read_body(reader, root);
  if (reader.wrong()) return refused(reader.wrong());
  return message;
}

const char* name_of(const GroupMessage& message) {
  return fb::EnumNameBody(static_cast<fb::Body>(message.index() + 1));
}

}  // namespace ssi::group
