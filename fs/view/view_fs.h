// The inside of a view: what answers the kernel's requests. See view.h.
#pragma once

#define FUSE_USE_VERSION 312
#include <fuse_lowlevel.h>

#include <atomic>
#include <condition_variable>
#include <list>
#include <thread>
#include <unordered_set>

#include "fs/view/view.h"

namespace ssi::fs {

class ViewFs {
 public:
  ViewFs(View::Options options, DigestCache& digests);
  ~ViewFs();

  Result<> start();
  bool unmount(bool force);
  void refresh();
  void give_up() { remote_.give_up(); }
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

  void serve();  // a thread of the pool
  void start_thread_locked();
  void run_housekeeping();  // forgets, lock waits
  void try_locks();

  static Caller caller_of(fuse_req_t request);
  double timeout_s() const { return options_.timeout_s; }
  std::int64_t timeout_ms() const { return static_cast<std::int64_t>(options_.timeout_s * 1000); }
  struct stat stat_of(const Attr& attr) const;
  // Remembers what the kernel is about to be told; a twin of another version is dropped.
  void learn(ViewNode& node, const Attr& attr);
  // Does home say that the file has no extended attributes? Asks home again if that is long ago.
  bool has_no_xattrs(fuse_req_t request, const ViewNodePtr& node);
  // The node of an entry reply, counted as known to the kernel.
  fuse_entry_param entry_of(const Remote::Reply& reply, const ViewNodePtr& parent,
                            const std::string& name, std::uint64_t store_id, const Attr& attr);
  std::shared_ptr<TwinFile> twin_for(ViewHandle& handle);
  ViewHandle* new_handle(const ViewNodePtr& node, std::uint32_t flags, bool directory);
  void opened(const ViewNodePtr& node, std::uint32_t flags, const Attr& attr, fuse_file_info& info);
  void remember_lock(ViewNode& node, const LockBody& body);
  void ask_lock(fuse_req_t request, const Remote::Request& ask, const LockBody& body,
                const ViewNodePtr& node, bool wait);
  int try_lock(const Remote::Request& ask, const LockBody& body, ViewNode& node);
  void release(ViewHandle* handle);

  const View::Options options_;
  NodeIndex nodes_;
  Remote remote_;
  Twins twins_;
  fuse_session* session_ = nullptr;
  UniqueFd fuse_fd_;
  std::uint64_t root_dev_ = 0;
  std::uint64_t device_ = 0;
  std::atomic<bool> alive_{false};

  mutable std::mutex threads_mutex_;
  std::condition_variable threads_done_;
  unsigned int threads_ = 0;
  unsigned int listening_ = 0;

  std::mutex handles_mutex_;
  std::unordered_set<ViewHandle*> handles_;  // open files; the kernel names them by address

  std::mutex house_mutex_;
  std::condition_variable house_wake_;
  std::list<std::unique_ptr<LockWait>> lock_waits_;
  bool stop_ = false;
  std::thread house_;

  std::atomic<std::uint64_t> reads_{0}, read_bytes_{0}, writes_{0}, write_bytes_{0};
  std::atomic<std::uint64_t> twin_reads_{0}, twin_read_bytes_{0};
};

extern const fuse_lowlevel_ops kViewOps;

}  // namespace ssi::fs
