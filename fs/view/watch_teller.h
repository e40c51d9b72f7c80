// Makes this kernel tell watchers of a view (inotify) what others have done at home. Nothing but a
// system call makes it speak: so a call is made (view_caller.h) on the view itself that is the same
// as the one at home, and the view, which knows who calls, answers it as done without telling home.
//
//     home: somebody creates d/f          here: mknod(d/f)  -> LOOKUP f: "not there"
//                                                            -> MKNOD f: "done"
//                                               the kernel tells the watchers of d: IN_CREATE f
//
// So masks, cookies, limits and IN_Q_OVERFLOW are the kernel's own. Names that come, go and move
// are told with *ghosts*: files that home does not have and the kernel does not believe in for any
// time, so that whoever looks asks home. What happens to a file that is there (contents,
// attributes) is told of the file itself.
//
// Rejected: writing events into the guest's descriptor, which nobody can; another kind of
// descriptor in its place, which would not be told of what the guest's own realm does.
//
// Owned by the view; tell() by one thread, the answers by any.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "fs/view/view_caller.h"
#include "fs/view/view_node.h"

namespace ssi::fs {

class WatchTeller {
 public:
  // The hidden directory of ghosts, in the root.
  static constexpr std::string_view kGhosts = ".ssid-ghosts";

  struct Options {
    std::string mountpoint;
    // The kernel is to ask again for that name.
    std::function<void(std::uint64_t parent, const std::string& name)> expire;
  };
  WatchTeller(Options options, NodeIndex& nodes)
      : options_(std::move(options)), nodes_(nodes), caller_(options_.mountpoint) {}

  struct News {
    ViewNodePtr node;  // that is watched
    std::uint32_t mask = 0;
    std::uint32_t cookie = 0;
    std::string name{};
  };
  // In that order. `watched` says which nodes are.
  void tell(const std::vector<News>& news, const std::function<bool(std::uint64_t)>& watched);
  // More has happened to it than anybody could keep: the guests' queues are to overflow.
  void tell_lost(const ViewNodePtr& node, std::uint32_t mask);

  // For the answers. Is it a call of tell()?
  bool is_me(pid_t thread) const { return thread != 0 && thread == caller_.pid(); }
  struct Answer {
    enum class Kind {
      kAsUsual,  // as home says, and a ghost if it is gone
      kAbsent,
      kGhost,
      kDirectory,  // a ghost
      kMoved,      // `node`, which is elsewhere now
      kDeleted,    // `node`, which is nowhere any more
    };
    Kind kind = Kind::kAsUsual;
    ViewNodePtr node{};
  };
  Answer answer_to_lookup(std::uint64_t parent, const std::string& name) const;
  FileKey next_ghost() { return {kGhostDevice, ++ghosts_, 0}; }
  // A call concerns that file, which it is answered for.
  void note_told(std::uint64_t node) { told_ = node; }

 private:
  static constexpr std::uint64_t kGhostDevice = ~std::uint64_t{0};
  using Kind = Answer::Kind;

  struct Place {
    std::uint64_t parent = 0;
    std::string name{};
  };
  class Speaking;

  void set_answers(std::initializer_list<std::pair<Place, Answer>> answers);
  int call(ViewCaller::Order order, const Place& at, const Place& to);
  int call(const ViewCaller::Order& order, const Place& at) { return call(order, at, Place()); }
  void tell_one(const News& news, const News* to,
                const std::function<bool(std::uint64_t)>& watched);
  void tell_name(const News& news, const News* to);
  void tell_self(const News& news);
  void tell_existing(const News& news);
  Place ghost_place(const char* name) const { return {ghosts_node_, name}; }

  const Options options_;
  NodeIndex& nodes_;
  ViewCaller caller_;
  std::atomic<std::uint64_t> ghosts_{0};
  std::atomic<std::uint64_t> told_{0};
  mutable std::mutex mutex_;
  std::map<std::pair<std::uint64_t, std::string>, Answer> answers_;

  // Of tell()'s thread.
  std::uint64_t ghosts_node_ = 0;
  // Told to who watches the file already, when its directory was told.
  std::map<std::uint64_t, std::uint32_t> credits_;
};

}  // namespace ssi::fs
