// Leases of guests' files of which home's kernel has one, too (migrate/fds/lease.h). FUSE tells a
// view nothing of leases, so a thread looks at both sides of each, home's by asking and the guest's
// in /proc, and does what is next (lease_step.h).
//
// The guest's is broken as anybody would break it: by opening the file, without waiting, by the
// guest's own descriptor in /proc. If its kernel lets that pass, the request comes to this view,
// which knows its own thread. A guest of which nothing can be seen (it is gone, or has passed the
// open file on) does nothing; home's lease goes with the open file, or when its time is up.
//
// Owned by a view, any thread. Nothing runs before the first lease.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "fs/view/lease_step.h"
#include "fs/view/remote.h"
#include "fs/view/view_node.h"
#include "ssid/base/unique_fd.h"

namespace ssi::fs {

class Leases {
 public:
  explicit Leases(Remote& remote) : remote_(remote) {}
  ~Leases() { stop(); }

  // Home has the lease of this handle, and process `pid`, here, has it by its descriptor.
  void watch(ViewHandle& handle, const Lease& lease, pid_t pid, int number);
  // As watch(), of one that a guest may have taken here, of which home has none yet; done at once.
  void heed(ViewHandle& handle, pid_t pid, int number);
  void forget(const ViewHandle* handle);
  // Does home's kernel have one? Of a frozen guest it stays so; what is being done is awaited.
  bool is_at_home(const ViewHandle& handle);
  bool has_any(const ViewNode& node);
  // Of the thread that breaks leases.
  bool is_own(pid_t thread) const { return thread == thread_id_.load(); }
  // Calls to home must have been given up, or end by themselves.
  void stop();

 private:
  struct Watched {
    ViewHandle* handle = nullptr;  // guarded by mutex_; null: released
    const ViewNode* node = nullptr;
    UniqueFd process;  // its directory in /proc
    int number = -1;
    std::string inode;  // as its fdinfo tells
    std::timed_mutex looking;
    std::uint32_t known = F_UNLCK;  // guarded by `looking`, which is taken before mutex_
    bool told = false;              // by us that it is being broken; as above
  };
  using WatchedPtr = std::shared_ptr<Watched>;

  WatchedPtr find(const ViewHandle& handle);
  WatchedPtr add(ViewHandle& handle, pid_t pid, int number, std::uint32_t known, bool told);
  void run();
  void look_at(Watched& lease);
  bool ask_home(Watched& lease, const LeaseBody& body, Lease& told);
  void break_guests(Watched& lease, std::uint32_t type);

  Remote& remote_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<WatchedPtr> leases_;
  bool stop_ = false;
  std::atomic<pid_t> thread_id_{-1};
  std::thread thread_;
};

}  // namespace ssi::fs
