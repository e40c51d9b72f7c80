// What a store remembers of one client (a view on another node): the files it has seen, its open
// files and its locks. Outlives broken connections; the client comes back with the session's token
// and goes on. Thread-safe: the session's connections (lanes) are served by a thread each.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <unordered_map>

#include "fs/rpc/rpc.h"
#include "fs/store/digest_cache.h"
#include "fs/store/held_files.h"
#include "fs/store/node_table.h"
#include "fs/store/watches.h"
#include "ssid/wire/carrier/channel.h"

namespace ssi::fs {

struct OpenFile {
  std::uint64_t node = 0;
  NodeTable::SharedFd fd;
  std::uint32_t flags = 0;
  bool hidden = false;  // a directory whose contents are not shown
  std::mutex mutex;     // directories: position; files: plain_fd
  UniqueFd plain_fd;    // for pages written back to a file that was opened for appending
};

class Session {
 public:
  struct Options {
    std::uint64_t serial = 0;
    FileStat::Client client = FileStat::Client::kGuests;
    std::size_t fds_max = 4096;
  };
  Session(Options options, FileStat& stat, DigestCache& digests, HeldFiles& held, UniqueFd root);
  ~Session();

  std::uint64_t serial() const { return options_.serial; }

  // Executes one request frame; the reply frame is in `reply`. False: the frame is no valid
  // request, and its connection must be closed. `lane` numbers the connection it came from.
  bool execute(std::uint32_t lane, ByteSpan request, FrameBuffer& reply);

  bool ended() const;  // the client said goodbye

  // For the handlers (ops_*.cc).
  FileStat::Client client() const { return options_.client; }
  FileStat& stat() { return stat_; }
  // Attributes of a name in the directory `dir`, which is the node `id`, as the client is told.
  int describe(std::uint64_t id, int dir, const std::string& name, Attr& attr);
  DigestCache& digests() { return digests_; }
  HeldFiles& held() { return held_; }
  NodeTable& nodes() { return nodes_; }
  Watches& watches() { return watches_; }
  std::uint64_t add_handle(std::shared_ptr<OpenFile> file, const NodeTable::SharedFd& node_fd);
  // Of a file, opened with these flags.
  std::uint64_t add_handle(std::uint64_t node, NodeTable::SharedFd fd, std::uint32_t flags,
                           const NodeTable::SharedFd& node_fd);
  std::shared_ptr<OpenFile> handle(std::uint64_t id);
  std::shared_ptr<OpenFile> take_handle(std::uint64_t id);
  // From now on the handle is this opening of the same file. False: no such handle.
  bool replace_handle(std::uint64_t id, std::shared_ptr<OpenFile> file);
  // The open file that holds the record locks of `owner` on a node; made if `make`. Null: none, see
  // errno.
  NodeTable::SharedFd lock_file(std::uint64_t node, std::uint64_t owner, bool make);
  // Who has them instead; null: nobody.
  HeldFiles::SharedLocks lock_deputy(std::uint64_t node, std::uint64_t owner);
  // Instead of one that it made: what holds them already.
  void set_lock_file(std::uint64_t node, std::uint64_t owner, NodeTable::SharedFd fd,
                     HeldFiles::SharedLocks deputy);
  void drop_lock_file(std::uint64_t node, std::uint64_t owner);
  void end();

 private:
  struct Lane {
    std::mutex mutex;
    std::uint64_t last_seq = 0;
    FrameBuffer last_reply;  // of the last op that must not be done twice
    bool has_reply = false;
  };
  struct LockFile {
    NodeTable::SharedFd fd;
    HeldFiles::SharedLocks deputy;
  };
  Lane& lane(std::uint32_t number);

  const Options options_;
  FileStat& stat_;
  DigestCache& digests_;
  HeldFiles& held_;
  NodeTable nodes_;
  Watches watches_;
  mutable std::mutex mutex_;
  std::unordered_map<std::uint64_t, std::shared_ptr<OpenFile>> handles_;
  std::map<std::pair<std::uint64_t, std::uint64_t>, LockFile> lock_files_;
  std::map<std::uint32_t, std::unique_ptr<Lane>> lanes_;
  std::uint64_t next_handle_ = 1;
  bool ended_ = false;
};

}  // namespace ssi::fs
