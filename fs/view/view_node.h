// A file of home as a view knows it. The kernel names it by the object's address until it forgets
// it. The node keeps where it was last found (parent, name), so that it can be found again in a
// store that does not know it any more.
//
// Owned by the NodeIndex and by its children and open files; fields that change are guarded as
// said.
#pragma once

#include <fcntl.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "fs/rpc/rpc.h"
#include "fs/view/lock_ranges.h"

namespace ssi::fs {

class TwinFile;

struct ViewNode {
  FileKey key;
  bool is_root = false;
  // Home does not have it: a file that is only for what is being rebuilt (ops_deleted_sockets.cc).
  // All there is to know of it is `known`.
  bool is_only_here() const { return key.dev == kDevOfView; }
  static constexpr std::uint64_t kDevOfView = ~std::uint64_t{0};

  // Guarded by the index's mutex.
  std::uint64_t kernel_lookups = 0;
  std::shared_ptr<ViewNode> parent;
  std::string name;

  // Guarded by `mutex`.
  std::mutex mutex;
  std::uint64_t store_id = 0;  // in the session `store_serial`
  std::uint64_t store_serial = 0;
  std::uint64_t store_lookups = 0;  // to be forgotten there
  Attr known;                       // what the kernel was told last; known.mode == 0: nothing yet
  std::int64_t known_until_ms = 0;  // it is believed, unless this view has changed something since
  std::uint64_t known_changes = 0;
  std::shared_ptr<TwinFile> twin;       // the identical local file, if there is one
  std::int64_t no_xattrs_until_ms = 0;  // home said so; 0: it may have some
  // Open files, of this view, that home was asked for, and those of them that may write.
  std::uint32_t open_at_home = 0;
  std::uint32_t written_at_home = 0;
  // Those that home was not asked for, because others were open (ViewFs::open_for_criu). Until the
  // last of them has ended, those others end here only: without them home might delete the file.
  std::uint32_t open_here_only = 0;
  struct KeptOpen {
    std::uint64_t serial = 0;
    std::uint64_t id = 0;
    bool written = false;
  };
  std::vector<KeptOpen> kept_open;
  bool twin_asked = false;  // a search for the twin of `known` is under way or was in vain
  std::map<std::uint64_t, ProcessLocks> record_locks;  // by owner; for a store that forgot
};
using ViewNodePtr = std::shared_ptr<ViewNode>;

struct ViewHandle {
  ViewNodePtr node;
  std::uint32_t flags = 0;
  bool directory = false;
  enum class Counted : std::uint8_t { kNot, kAtHome, kHereOnly };
  Counted counted = Counted::kNot;  // in its node
  bool may_write() const { return (flags & O_ACCMODE) != O_RDONLY; }
  // Guarded by `mutex`. Serial 0: home is asked for it when it is needed there.
  std::mutex mutex;
  std::uint64_t store_id = 0;
  std::uint64_t store_serial = 0;
  std::uint32_t flock = 0;             // LOCK_SH or LOCK_EX while held
  std::vector<RecordLock> file_locks;  // F_OFD_SETLK
  // How the kernel calls who asks for locks by it: the open file, and the last process seen.
  std::uint64_t file_owner = 0;
  std::uint64_t process_owner = 0;
  std::uint64_t end_offset = ~std::uint64_t{0};  // directories: nothing is behind it
};

class NodeIndex {
 public:
  // `gone` is called for each node that nothing in the view holds any more, by whatever thread let
  // it go.
  explicit NodeIndex(std::function<void(ViewNode&)> gone);

  const ViewNodePtr& root() const { return root_; }
  ViewNodePtr get(
      std::uint64_t kernel_id) const;  // 1 is the root; others must be known to the kernel
  std::uint64_t kernel_id(const ViewNode& node) const;

  // Home answered a lookup: the node, found at parent/name; one more lookup by the kernel if
  // `for_kernel`.
  // A file without a name keeps the place at which it was found before.
  ViewNodePtr found(const ViewNodePtr& parent, const std::string& name, const FileKey& key,
                    bool for_kernel, bool nameless = false);
  // Home has told its root; another one than before, perhaps, if it was away.
  void set_root_key(const FileKey& key);
  // A rename put the file `key` there.
  void moved(const FileKey& key, const ViewNodePtr& parent, const std::string& name);
  void forget(std::uint64_t kernel_id, std::uint64_t lookups);  // by the kernel

  // Where it was found last: parent and name, or the whole path from home's root.
  std::pair<ViewNodePtr, std::string> place(const ViewNode& node) const;
  std::string path(const ViewNode& node) const;

  std::vector<ViewNodePtr> all() const;
  std::size_t size() const;
  void clear();  // no kernel knows any of them any more

 private:
  struct KeyHash {
    std::size_t operator()(const FileKey& k) const noexcept {
      return static_cast<std::size_t>((k.ino * 0x9e3779b97f4a7c15u) ^ (k.dev << 32) ^ k.birth_ns);
    }
  };
  const std::function<void(ViewNode&)> gone_;
  mutable std::mutex mutex_;
  ViewNodePtr root_;
  std::unordered_map<FileKey, ViewNodePtr, KeyHash> nodes_;
};

}  // namespace ssi::fs
