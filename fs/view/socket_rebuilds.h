// What the processes that are being rebuilt on this node see of home's socket files.
//
// A guest that has a socket at a name moves here: at home the file stays, and the socket that
// listens there is kept by home's carrier. CRIU binds the guest's socket again by that name, and
// for a bind the kernel wants a name that is free. So for the threads of the copy being rebuilt,
// and for nobody else, the name is free until they bind to it; then it is the file that was there
// all the time, and home hears of nothing:
//
//   stat NAME     -> ENOENT        at home it is a socket, and they have not made it
//   bind NAME     -> that file     found; a name that home does not have is really made there
//   connect NAME  -> that file     as for all others: the kernel finds the bound socket by it
//   unlink NAME   -> success       nothing at home, if it was found; it is free again then
//
// What the kernel makes of ENOENT for a name that it knows: it drops that name. It finds the same
// file by the next lookup, but a socket that another rebuild has bound by it before says of its
// file " (deleted)" from then on (SIOCUNIXFILE), though it is still reached; and what is mounted on
// it is mounted no more.
//
// Moving a found one (rename) is refused: the file at home would go.
//
// A socket whose name was deleted is bound to that name, too, and something else may be there by
// now: a file, another socket. CRIU moves that aside (rename to NAME.criu-sk-ghost), binds, unlinks
// and moves it back. Home must not see any of this. Its images are made to announce each such bind
// (wire/carrier/deleted_socket.h), and from then on the view plays it for that thread alone:
//
//   rename NAME, aside   -> success    nothing at home; NAME is free for the thread
//   bind NAME            -> a file that only this view has, for as long as the kernel knows it
//   unlink NAME          -> success    that one is gone; of what is home's: EBUSY, and CRIU goes on
//   rename aside, NAME   -> success    NAME is again what home has
//
// Meanwhile the kernel calls home's file `aside`. Should another of this node's guests look NAME up
// just then, the kernel knows two names for it, and does not ask for the way back; who had it open
// before is told the wrong one by /proc.
//
// Rejected: to remove the file at home and make it again (home's listener would lose its name),
// and to bind at another name and rename that (it would be another file than the one at home).
//
// Pure but for a mutex; any thread. Whoever asks says what stands at home; how a thread is found
// in a cgroup is passed in, and is done without the mutex.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <mutex>
#include <optional>
#include <string>

#include "fs/rpc/rpc.h"

namespace ssi::fs {

class SocketRebuilds {
 public:
  static constexpr std::size_t kRebuildsMax = 64;
  static constexpr std::size_t kNamesMax = 65536;  // of one rebuild

  using HasThread = std::function<bool(const std::string& cgroup, pid_t thread)>;
  explicit SocketRebuilds(HasThread has_thread) : has_thread_(std::move(has_thread)) {}

  // A rebuild in that cgroup begins or ends. The oldest ends if there are too many.
  void set(const std::string& cgroup, bool on);
  // One load: nothing of what follows matters.
  bool none() const { return !any_.load(std::memory_order_acquire); }

  using Id = std::uint64_t;
  // The rebuild that a thread belongs to. Asks for the threads of each cgroup.
  std::optional<Id> of(pid_t thread) const;

  struct Name {
    FileKey directory;
    std::string name;
    auto operator<=>(const Name&) const = default;
  };
  enum class AtHome { kNothing, kSocket, kOther };

  // For whom home has a socket there.
  bool hides(Id id, const Name& name) const;

  enum class Make {
    kAtHome,  // really, and then say made()
    kFound,   // answer with what home has
    kExists,
    kTooMany,
  };
  // Of a socket.
  Make make(Id id, const Name& name, AtHome at_home);
  void made(Id id, const Name& name);

  enum class Remove {
    kAtHome,  // really, and then say removed()
    kLeave,   // answer that it is done
    kAbsent,
  };
  Remove remove(Id id, const Name& name, AtHome at_home);
  void removed(Id id, const Name& name);

  // The name is of a file that belongs to home's socket and was only found by the thread's rebuild.
  bool is_found(pid_t thread, const Name& name) const;

  // The thread is about to bind a socket whose name was deleted; `leaf`: the last part of that.
  void announce_deleted(Id id, pid_t thread, const std::string& leaf);
  // It is done with these: the next one has its name.
  void announce_named(Id id, pid_t thread);
  // If not, nothing of what follows is about that thread.
  bool has_announced(pid_t thread) const;
  struct Deleted {
    enum class What {
      kNothing,  // it is not about one: as usual
      kAtHome,   // what home has there
      kFree,
      kMade,  // the file of the socket, `key`
      kAside  // what home has at `original`
    } what = What::kNothing;
    FileKey key{};
    Name original{};
  };
  // What such a thread finds at a name.
  Deleted deleted_at(Id id, pid_t thread, const Name& name) const;
  // These say whether it is about one; if so, home is not asked.
  bool make_deleted(Id id, pid_t thread, const Name& name, const FileKey& key);
  enum class Unlink { kAtHome, kDone, kAbsent, kRefused };
  Unlink unlink_deleted(Id id, pid_t thread, const Name& name);
  bool move_deleted(Id id, pid_t thread, const Name& from, const Name& to);
  // Some thread finds something else there than all others: the kernel is to ask each time.
  bool is_played(const Name& name) const;

 private:
  enum class Origin { kMade, kFound };
  struct Rebuild {
    Id id = 0;
    std::string cgroup;
    std::map<Name, Origin> names;
    std::map<pid_t, std::string> announced;  // the leaf, by thread
    std::map<Name, FileKey> deleted;         // made for sockets whose name was deleted
    std::map<Name, pid_t> aside;             // moved, as that thread sees it
  };
  Rebuild* find_locked(Id id);
  const Rebuild* find_locked(Id id) const;

  const HasThread has_thread_;
  std::atomic<bool> any_{false};
  mutable std::mutex mutex_;
  std::list<Rebuild> rebuilds_;  // the oldest first
  Id last_id_ = 0;
};

}  // namespace ssi::fs
