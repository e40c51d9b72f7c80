// The inside of a view: what answers the kernel's requests. See view.h.
#pragma once

#define FUSE_USE_VERSION 312
#include <fuse_lowlevel.h>

#include <atomic>
#include <condition_variable>
#include <list>
#include <thread>
#include <unordered_set>

#include "fs/view/leases.h"
#include "fs/view/socket_rebuilds.h"
#include "fs/view/view.h"
#include "fs/view/waiting_requests.h"
#include "fs/view/watch_news.h"
#include "fs/view/watch_teller.h"

namespace ssi::fs {

class ViewFs {
 public:
  ViewFs(View::Options options, DigestCache& digests);
  ~ViewFs();

  Result<> start();
  bool unmount(bool force);
  void refresh();
  void rebuild_sockets(const std::string& cgroup, bool on) { socket_rebuilds_.set(cgroup, on); }
  bool tell_watchers(pid_t process) {
    return await_requests() && watch_news_.tell_all(device_, process);
  }
  void give_up() { remote_.give_up(); }
  void set_home_up(bool up) { remote_.set_home_up(up); }
  bool is_alive() const { return alive_; }
  View::Stats stats() const;
  const View::Options& options() const { return options_; }
  std::uint64_t device() const { return device_; }

 private:
  friend struct ViewOps;

  // A guest that waits for a lock which somebody else holds.
  struct LockWait {
    fuse_req_t request;
    Remote::Request ask;
    LockBody body;
    ViewNodePtr node;
    std::atomic<bool> interrupted{false};
  };

  // A guest that waits for somebody at home to give a lease up.
  struct OpenWait {
    fuse_req_t request;
    fuse_file_info info;
    ViewNodePtr node;
    std::chrono::steady_clock::time_point until;
    std::atomic<bool> interrupted{false};
  };
  void wait_to_open(fuse_req_t request, const fuse_file_info& info, const ViewNodePtr& node);
  void try_to_open();

  // Record locks, or an open file, that home holds for a process that is being rebuilt here.
  struct ExpectedLocks {
    std::uint64_t id = 0;
    FileKey file;
    pid_t process = 0;  // as it sees itself
  };
  void expect_locks(const ExpectedLocks& expected);
  void expect_opening(const ExpectedLocks& expected);
  // If it is that one who opens the file: the number under which it is held, once.
  std::uint64_t expected_opening(const Caller& caller, const ViewNode& node);
  void expect_no_more(std::uint64_t id);
  // If it is that one who asks for a lock: they are its own from now on.
  int adopt_expected(const Caller& caller, ViewNode& node, const LockBody& body);

  // For a moment at which all is answered that was asked. False: there was none.
  bool await_requests();
  void serve();  // a thread of the pool
  Result<> ask_for_root();
  Result<> find_device();
  void start_thread_locked();
  void run_housekeeping();  // forgets, lock waits
  void try_locks();

  static Caller caller_of(fuse_req_t request);
  // Not for a node's users (/cluster/node).
  bool is_for_guests() const { return options_.remote.hello.realm != 0; }
  // Not a ghost (watch_teller.h).
  bool is_known_at_home(ViewNode& node) const;
  // The kernel is to ask for the name again; what is mounted on it stays.
  void expire(std::uint64_t parent, const std::string& name);
  double timeout_s() const { return options_.timeout_s; }
  std::int64_t timeout_ms() const { return static_cast<std::int64_t>(options_.timeout_s * 1000); }
  struct stat stat_of(const Attr& attr) const;
  // Remembers what the kernel is about to be told; a twin of another version is dropped.
  void learn(ViewNode& node, const Attr& attr, std::uint64_t changes);
  // What home said within the time for which the kernel may believe it: the kernel asks again after
  // each read, because of the time of the last access. Gives what is left of the time; 0: ask home.
  double known(ViewNode& node, Attr& attr) const;
  // Also its attributes. Of an append: what the kernel has there may be a last page that ends in
  // zeros, or what it took for the place where the bytes went.
  void drop_pages(ViewNode& node, std::uint64_t from);
  // Does home say that the file has no extended attributes? Asks home again if that is long ago.
  bool has_no_xattrs(fuse_req_t request, const ViewNodePtr& node);
  // The node of an entry reply, counted as known to the kernel.
  fuse_entry_param entry_of(const Remote::Reply& reply, const ViewNodePtr& parent,
                            const std::string& name, std::uint64_t store_id, const Attr& attr,
                            bool nameless = false);
  std::shared_ptr<TwinFile> twin_for(ViewHandle& handle);
  ViewHandle* new_handle(const ViewNodePtr& node, std::uint32_t flags, bool directory);
  // `alone`: home opens the file for nobody else, so nobody looks for its twin.
  void opened(const ViewNodePtr& node, std::uint32_t flags, const Attr& attr, std::uint64_t changes,
              fuse_file_info& info, bool alone = false);
  // One more of a file that is open at home for this view, likewise: home is asked for it when it
  // is needed there. The kernel asks for what has changed, as ever. criu opens each mapping of each
  // process, to look at what it is; a hundred times the same file. For criu only: others at home
  // may wait to see such an opening (inotify), and a guest wants to read what was written since.
  bool open_for_criu(const ViewNodePtr& node, const Caller& caller, fuse_file_info& info);
  // At the end of an open file; `end` would tell home so. True: it stays open there for those.
  bool keep_open(ViewHandle& handle, const Remote::Request& end);
  void end_at_node(const ViewHandle& handle);
  void remember_lock(const Remote::Request& ask, const LockBody& body, ViewNode& node);
  // Whether another open file of it, of this view, has a lock of its own.
  bool holds_lock(const ViewNode& node, const ViewHandle* asker);
  // False: none has any. True: it is worth asking again.
  bool await_releases(const ViewNode& node, const ViewHandle* asker);
  void ask_lock(fuse_req_t request, const Remote::Request& ask, const LockBody& body,
                const ViewNodePtr& node, bool wait);
  int try_lock(const Remote::Request& ask, const LockBody& body, ViewNode& node);
  void release(ViewHandle* handle);

  const View::Options options_;
  NodeIndex nodes_;
  Remote remote_;
  Twins twins_;
  Leases leases_;
  SocketRebuilds socket_rebuilds_;
  WatchTeller teller_;
  WatchNews watch_news_;
  WaitingRequests waiting_requests_;
  fuse_session* session_ = nullptr;
  UniqueFd fuse_fd_;
  std::atomic<std::uint64_t> root_dev_{0};
  std::uint64_t device_ = 0;
  std::atomic<bool> alive_{false};

  mutable std::mutex threads_mutex_;
  std::condition_variable threads_done_;
  unsigned int threads_ = 0;
  unsigned int listening_ = 0;

  std::mutex handles_mutex_;
  std::unordered_set<ViewHandle*> handles_;  // open files; the kernel names them by address

  std::mutex expected_mutex_;
  std::vector<ExpectedLocks> expected_locks_;
  std::vector<ExpectedLocks> expected_openings_;
  std::atomic<bool> expects_locks_{false};
  std::atomic<bool> expects_openings_{false};

  std::mutex house_mutex_;
  std::condition_variable house_wake_;
  std::list<std::unique_ptr<LockWait>> lock_waits_;
  std::list<std::unique_ptr<OpenWait>> open_waits_;
  bool nobody_waits_locked() const { return lock_waits_.empty() && open_waits_.empty(); }
  bool stop_ = false;
  std::atomic<std::uint64_t> requests_{0};  // of the kernel
  std::atomic<bool> house_rests_{false};
  std::thread house_;

  std::atomic<std::uint64_t> reads_{0}, read_bytes_{0}, writes_{0}, write_bytes_{0};
  std::atomic<std::uint64_t> twin_reads_{0}, twin_read_bytes_{0};
};

extern const fuse_lowlevel_ops kViewOps;

}  // namespace ssi::fs
