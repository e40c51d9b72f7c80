#include "ssid/wire/etc/etc_codec.h"

#include <flatbuffers/flatbuffers.h>

#include <algorithm>
#include <cstring>

#include "ssid/base/check.h"
#include "ssid/wire/etc/etc_generated.h"

namespace ssi::etc {
namespace {

namespace fb = ssi::etcfb;
using Builder = flatbuffers::FlatBufferBuilder;

template <typename T>
using Offset = flatbuffers::Offset<T>;

// ---- writing

auto bytes(Builder& b, const std::string& s) {
  return b.CreateVector(reinterpret_cast<const std::uint8_t*>(s.data()), s.size());
}

Offset<fb::Change> write(Builder& b, const Change& m) {
  const auto name = b.CreateString(m.name);
  const auto to = b.CreateString(m.to);
  const auto contents = bytes(b, m.contents);
  return fb::CreateChange(b, static_cast<std::uint8_t>(m.kind), name, to, contents, m.mode,
                          m.mtime_ns, m.expects, m.sender.value, m.proposal, m.term);
}

Offset<fb::State> write(Builder& b, const State& m) {
  std::vector<Offset<fb::File>> files;
  for (const auto& [name, file] : m.files) {
    const auto text = b.CreateString(name);
    const auto contents = bytes(b, file.contents);
    files.push_back(fb::CreateFile(b, text, contents, file.mode, file.mtime_ns, file.version));
  }
  std::vector<Offset<fb::Done>> done;
  for (const auto& [node, proposal] : m.done) {
    done.push_back(fb::CreateDone(b, node.value, proposal));
  }
  std::vector<Offset<fb::Change>> pending;
  for (const Change& change : m.pending) pending.push_back(write(b, change));
  const auto all_files = b.CreateVector(files);
  const auto all_done = b.CreateVector(done);
  const auto all_pending = b.CreateVector(pending);
  return fb::CreateState(b, m.committed, m.history, all_files, all_done, all_pending);
}

Offset<fb::SyncRequest> write(Builder& b, const SyncRequest& m) {
  return fb::CreateSyncRequest(b, m.nonce, m.ballot);
}
Offset<fb::SyncReply> write(Builder& b, const SyncReply& m) {
  return fb::CreateSyncReply(b, m.nonce, m.ballot, m.promised, m.term, m.held, m.history, m.nodes);
}
Offset<fb::Snapshot> write(Builder& b, const Snapshot& m) {
  const auto state = write(b, m.state);
  return fb::CreateSnapshot(b, m.nonce, m.ballot, state);
}
Offset<fb::Ack> write(Builder& b, const Ack& m) {
  return fb::CreateAck(b, m.term, m.held, m.durable);
}
Offset<fb::Saved> write(Builder& b, const Saved& m) {
  const auto state = write(b, m.state);
  return fb::CreateSaved(b, m.term, m.promised, state);
}

// ---- reading: the first thing that is wrong is kept

class Reader {
 public:
  void need(bool good, const char* what) {
    if (!good && wrong_ == nullptr) wrong_ = what;
  }
  const char* wrong() const { return wrong_; }

  std::string name(const flatbuffers::String* s) {
    std::string text = s != nullptr ? s->str() : "";
    need(is_file_name(text), "a name that no file may have");
    return text;
  }
  std::string contents(const flatbuffers::Vector<std::uint8_t>* v) {
    if (v == nullptr) return {};
    need(v->size() <= kFileBytesMax, "a file that is too large");
    return {reinterpret_cast<const char*>(v->data()), v->size()};
  }

  Change read(const fb::Change& t) {
    Change m;
    need(t.kind() >= 1 && t.kind() <= 6, "an unknown kind of change");
    m.kind = static_cast<Kind>(t.kind());
    if (m.kind != Kind::kBeginTerm) m.name = name(t.name());
    if (m.kind == Kind::kRename) m.to = name(t.to());
    m.contents = contents(t.contents());
    m.mode = t.mode();
    need((m.mode & ~07777u) == 0, "a mode that no file may have");
    m.mtime_ns = t.mtime_ns();
    m.expects = t.expects();
    m.sender = NodeId{t.sender()};
    need(static_cast<bool>(m.sender), "no sender");
    m.proposal = t.proposal();
    m.term = t.term();
    return m;
  }

  State read(const fb::State* t) {
    State m;
    need(t != nullptr, "no state");
    if (t == nullptr) return m;
    m.committed = t->committed();
    m.history = t->history();
    std::size_t total = 0;
    for (unsigned i = 0; t->files() != nullptr && i < t->files()->size(); ++i) {
      const fb::File& f = *t->files()->Get(i);
      File file{contents(f.contents()), f.mode(), f.mtime_ns(), f.version()};
      need((file.mode & ~07777u) == 0, "a mode that no file may have");
      need(file.version > 0 && file.version <= m.committed, "a version that can't be");
      total += file.contents.size();
      std::string text = name(f.name());
      need(m.files.empty() || m.files.back().first < text, "files out of order");
      m.files.emplace_back(std::move(text), std::move(file));
    }
    need(total <= kTotalBytesMax && m.files.size() <= kFilesMax, "too much");
    for (unsigned i = 0; t->done() != nullptr && i < t->done()->size(); ++i) {
      const fb::Done& d = *t->done()->Get(i);
      need(d.node() != 0, "no node");
      m.done.emplace_back(NodeId{d.node()}, d.proposal());
    }
    need(m.done.size() <= 1024, "too many nodes");
    for (unsigned i = 0; t->pending() != nullptr && i < t->pending()->size(); ++i) {
      m.pending.push_back(read(*t->pending()->Get(i)));
    }
    need(m.pending.size() <= kPendingMax, "too many changes");
    return m;
  }

 private:
  const char* wrong_ = nullptr;
};

Message read_body(Reader& r, const fb::Frame& frame) {
  switch (frame.body_type()) {
    case fb::Body::Change:
      return r.read(*frame.body_as_Change());
    case fb::Body::SyncRequest: {
      const fb::SyncRequest& t = *frame.body_as_SyncRequest();
      return SyncRequest{t.nonce(), t.ballot()};
    }
    case fb::Body::SyncReply: {
      const fb::SyncReply& t = *frame.body_as_SyncReply();
      return SyncReply{t.nonce(), t.ballot(),  t.promised(), t.term(),
                       t.held(),  t.history(), t.nodes()};
    }
    case fb::Body::Snapshot: {
      const fb::Snapshot& t = *frame.body_as_Snapshot();
      return Snapshot{t.nonce(), t.ballot(), r.read(t.state())};
    }
    case fb::Body::Ack: {
      const fb::Ack& t = *frame.body_as_Ack();
      return Ack{t.term(), t.held(), t.durable()};
    }
    case fb::Body::Saved: {
      const fb::Saved& t = *frame.body_as_Saved();
      return Saved{t.term(), t.promised(), r.read(t.state())};
    }
    case fb::Body::NONE:
    default:
      r.need(false, "an unknown message");
      return Ack{};
  }
}

Error refused(const char* why) {
  return Error(ErrorCode::kRefused, std::string("state of /cluster/etc: ") + why);
}

}  // namespace

bool is_file_name(std::string_view name) {
  if (name.empty() || name.size() > kNameBytesMax || name == "." || name == "..") return false;
  return std::none_of(name.begin(), name.end(), [](char c) {
    return c == '/' || static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
  });
}

std::vector<std::uint8_t> encode(const Message& message) {
  Builder b(1024);
  const auto type = static_cast<fb::Body>(message.index() + 1);
  const auto body = std::visit([&b](const auto& m) { return write(b, m).Union(); }, message);
  b.Finish(fb::CreateFrame(b, kVersion, type, body), fb::FrameIdentifier());
  SSI_CHECK(b.GetSize() <= kFrameBytesMax);
  return {b.GetBufferPointer(), b.GetBufferPointer() + b.GetSize()};
}

Result<Message> decode(std::span<const std::uint8_t> frame) {
  if (frame.size() < 16) return refused("too short");
  if (frame.size() > kFrameBytesMax) return refused("too long");
  // FlatBuffers reads words in place: they must be aligned, and a receive buffer need not be.
  std::vector<std::uint64_t> aligned((frame.size() + 7) / 8);
  std::memcpy(aligned.data(), frame.data(), frame.size());
  const auto* data = reinterpret_cast<const std::uint8_t*>(aligned.data());
  if (!fb::FrameBufferHasIdentifier(data)) return refused("not one");
  flatbuffers::Verifier verifier(data, frame.size(), 16, 200'000);
  if (!fb::VerifyFrameBuffer(verifier)) return refused("damaged");
  const fb::Frame& root = *fb::GetFrame(data);
  if (root.version() != kVersion) return refused("of another version of ssid");
  if (root.body() == nullptr) return refused("empty");
  Reader reader;
  Message message = read_body(reader, root);
  if (reader.wrong() != nullptr) return refused(reader.wrong());
  return message;
}

}  // namespace ssi::etc
