// The files a session has seen. A node is known by its key and by where it was last found (parent
// and name); a descriptor (O_PATH) is opened when it is needed, verified against the key, and
// closed again when there are too many. So a listing of a large tree costs no descriptors. A file
// that is open keeps its descriptor, so it is still reached after it was renamed or unlinked.
//
// Owned by a session; thread-safe. What may go wrong: a node that somebody at home moved is not
// found where it was: ESTALE, and the client's kernel looks it up again.
#pragma once

#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>

#include "fs/rpc/rpc.h"
#include "fs/store/file_stat.h"
#include "ssid/base/unique_fd.h"

namespace ssi::fs {

class NodeTable {
 public:
  using SharedFd = std::shared_ptr<const UniqueFd>;

  struct Node {
    SharedFd fd;
    std::uint32_t type = 0;  // S_IFMT bits
    bool hidden = false;     // an empty directory to the client, whatever is in it
  };

  // `root`: the directory that is exported, held open for the table's life. `client`: a view at
  // /cluster/node of another node does not show our /cluster, where its own files would be again.
  NodeTable(FileStat& stat, UniqueFd root, FileStat::Client client, std::size_t fds_max);

  // A name was found in a directory: its node, with one more lookup to be forgotten by the client.
  std::uint64_t found(std::uint64_t parent, std::string_view name, const Attr& attr);
  // The same for a file that is open and may have no name: found by `fd` as long as it is known.
  std::uint64_t found_open(SharedFd fd, const Attr& attr);
  void forget(std::uint64_t id, std::uint64_t lookups);

  // Does the name stand for a directory that is shown empty?
  bool is_hidden_name(std::uint64_t parent, std::string_view name) const;

  // The node with a descriptor; 0 or an errno (ESTALE: unknown, or no longer where it was).
  int get(std::uint64_t id, Node& node);

  // A file was opened / closed: while it is open its descriptor stays.
  void pin(std::uint64_t id, const SharedFd& fd);
  void unpin(std::uint64_t id);

  // A file was moved to another name.
  void moved(const FileKey& key, std::uint64_t parent, std::string_view name);

  std::size_t size() const;
  std::size_t fds_open() const;

 private:
  struct Entry {
    FileKey key;
    std::uint32_t type = 0;
    std::uint64_t lookups = 0;
    std::uint64_t parent = 0;
    std::string name;
    SharedFd fd;
    SharedFd open;  // of found_open()
    std::uint32_t pins = 0;
    bool hidden = false;
    std::list<std::uint64_t>::iterator used;  // valid while fd is set and id is not the root
  };
  struct KeyHash {
    std::size_t operator()(const FileKey& k) const noexcept {
      return static_cast<std::size_t>((k.ino * 0x9e3779b97f4a7c15u) ^ (k.dev << 32) ^ k.birth_ns);
    }
  };

  bool hidden_name(std::uint64_t parent, std::string_view name) const;
  void keep_fd(std::uint64_t id, Entry& entry, SharedFd fd);
  void drop_fd(Entry& entry);
  void drop_if_unused(std::unordered_map<std::uint64_t, Entry>::iterator it);

  FileStat& stat_;
  const FileStat::Client client_;
  const std::size_t fds_max_;
  mutable std::mutex mutex_;
  std::uint64_t next_id_ = kRootNode + 1;
  std::unordered_map<std::uint64_t, Entry> nodes_;
  std::unordered_map<FileKey, std::uint64_t, KeyHash> by_key_;
  std::list<std::uint64_t> used_;  // most recently used first
  std::size_t fds_open_ = 0;
};

}  // namespace ssi::fs
