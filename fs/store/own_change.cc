#include "fs/store/own_change.h"

#include <sys/inotify.h>

#include <string>

namespace ssi::fs {
namespace {

constexpr std::uint32_t kClose = IN_CLOSE_WRITE | IN_CLOSE_NOWRITE;

// What a request is about, as far as it is known here: a rubbish request has nothing of it.
class Subject {
 public:
  Subject(Session& session, OwnChange& change) : session_(session), change_(change) {}

  void node(std::uint64_t id, std::uint32_t mask) {
    NodeTable::Node node;
    if (session_.nodes().get(id, node) == 0) file(identity_of(**node.fd, ""), mask);
  }
  void handle(std::uint64_t id, std::uint32_t mask) {
    // An open file is told of by its name also after it was deleted.
    if (const auto open = session_.handle(id)) {
      file(identity_of(**open->fd, ""), mask, last_name_of(**open->fd));
    }
  }
  // A name in a directory, and the file that it stands for now.
  void name(std::uint64_t dir_id, const std::string& name, std::uint32_t mask,
            std::uint32_t file_mask) {
    NodeTable::Node dir;
    if (session_.nodes().get(dir_id, dir) != 0) return;
    const auto identity = identity_of(**dir.fd, "");
    if (!identity) return;
    change_.names.push_back({*identity, name, mask});
    if (file_mask != 0) file(identity_of(**dir.fd, name.c_str()), file_mask);
  }

 private:
  void file(const std::optional<FileIdentity>& identity, std::uint32_t mask,
            const LastName& last_name = {}) {
    if (identity) change_.files.push_back({*identity, mask, last_name});
  }

  Session& session_;
  OwnChange& change_;
};

std::string text_of(ByteReader& body, std::uint32_t bytes) { return std::string(body.text(bytes)); }

// Those that only concern an open file, or a node if there is none.
std::uint32_t mask_of_file(Op op) {
  switch (op) {
    case Op::kOpen:
      return IN_OPEN | IN_MODIFY | IN_ATTRIB | kClose;
    case Op::kRead:
      return IN_ACCESS;
    case Op::kWrite:
      return IN_MODIFY | IN_ATTRIB | IN_OPEN | IN_ACCESS | kClose;
    case Op::kFallocate:
    case Op::kAdopt:
      return IN_MODIFY | IN_ATTRIB | kClose;
    case Op::kRelease:
    case Op::kGoodbye:
      return kClose;
    case Op::kSetattr:
      return IN_ATTRIB | IN_MODIFY | IN_ACCESS | IN_OPEN | kClose;
    case Op::kSetxattr:
    case Op::kRemovexattr:
      return IN_ATTRIB;
    case Op::kOpendir:
    case Op::kReaddir:
    case Op::kDigest:
    case Op::kSetlk:
    case Op::kUnlockOwner:
      return IN_OPEN | IN_ACCESS | kClose;
    default:
      return 0;
  }
}

void describe(Session& session, const RequestHead& head, ByteReader& body, OwnChange& change) {
  Subject subject(session, change);
  switch (head.op) {
    case Op::kMknod:
    case Op::kMkdir:
    case Op::kCreate: {
      const auto made = body.get<MakeBody>();
      subject.name(head.node, text_of(body, made.name_bytes),
                   IN_CREATE | IN_OPEN | IN_MODIFY | IN_ATTRIB | kClose,
                   IN_OPEN | IN_MODIFY | IN_ATTRIB | kClose);
      return;
    }
    case Op::kSymlink: {
      const auto names = body.get<TwoNamesBody>();
      subject.name(head.node, text_of(body, names.name_bytes), IN_CREATE, 0);
      return;
    }
    case Op::kLink: {
      const auto names = body.get<TwoNamesBody>();
      subject.name(head.node2, text_of(body, names.name2_bytes), IN_CREATE, 0);
      subject.node(head.node, IN_ATTRIB);
      return;
    }
    case Op::kUnlink:
    case Op::kRmdir: {
      const auto gone = body.get<NameBody>();
      subject.name(head.node, text_of(body, gone.name_bytes), IN_DELETE, IN_ATTRIB);
      return;
    }
    case Op::kRename: {
      const auto names = body.get<TwoNamesBody>();
      const std::string from = text_of(body, names.name_bytes);
      const std::string to = text_of(body, names.name2_bytes);
      constexpr std::uint32_t kMoved = IN_MOVED_FROM | IN_MOVED_TO;
      subject.name(head.node, from, kMoved, IN_MOVE_SELF | IN_ATTRIB);
      subject.name(head.node2, to, kMoved, IN_MOVE_SELF | IN_ATTRIB);
      return;
    }
    case Op::kCopyRange:
      subject.handle(head.handle, IN_ACCESS);
      subject.handle(head.handle2, IN_MODIFY | IN_ATTRIB);
      return;
    default:
      if (const std::uint32_t mask = mask_of_file(head.op); mask != 0) {
        if (head.handle != 0) {
          subject.handle(head.handle, mask);
        } else {
          subject.node(head.node, mask);
        }
      }
  }
}

}  // namespace

std::optional<Watches::Doing> doing_of(Session& session, const RequestHead& head, ByteReader body) {
  if (!session.watches().any()) return {};
  OwnChange change;
  describe(session, head, body, change);
  if (change.names.empty() && change.files.empty()) return {};
  return std::optional<Watches::Doing>(std::in_place, session.watches(), std::move(change));
}

}  // namespace ssi::fs
