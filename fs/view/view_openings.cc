// Openings that are not simply home's: by guests that wait to open a file which somebody has a
// lease of, by criu, and of what home holds for processes that are being rebuilt here.
#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <chrono>

#include "fs/view/criu_caller.h"
#include "fs/view/view_ops.h"
#include "ssid/base/proc_status.h"

namespace ssi::fs {
namespace {

// What a lease that somebody at home really has costs who does not want to wait, if a guest of this
// node has had it.
constexpr std::chrono::milliseconds kLetGoWithin{200};

}  // namespace

bool ViewFs::open_for_criu(const ViewNodePtr& node, const Caller& caller, fuse_file_info& info) {
  constexpr int kLargeFile = 0100000;  // the kernel's; O_LARGEFILE is 0 for 64-bit programs
  constexpr int kHarmless = kLargeFile | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
  const int flags = info.flags & ~kHarmless;
  if (flags != O_RDONLY && flags != O_RDWR) return false;
  const auto may_be = [&] {
    return (flags == O_RDONLY ? node->open_at_home : node->written_at_home) > 0 &&
           (node->known.flags & Attr::kUnsized) == 0;
  };
  {
    std::lock_guard lock(node->mutex);
    if (!may_be()) return false;
  }
  if (!is_criu(caller.thread)) return false;
  {
    std::lock_guard lock(node->mutex);
    if (!may_be()) return false;
    ++node->open_here_only;
  }
  ViewHandle* const handle = new_handle(node, static_cast<std::uint32_t>(info.flags), false);
  handle->counted = ViewHandle::Counted::kHereOnly;
  info.fh = reinterpret_cast<std::uintptr_t>(handle);
  info.keep_cache = 1;
  return true;
}

bool ViewFs::keep_open(ViewHandle& handle, const Remote::Request& end) {
  if (handle.counted != ViewHandle::Counted::kAtHome || end.session == 0) return false;
  {
    std::lock_guard lock(handle.mutex);  // a lock of its own would be kept, too
    if (handle.flock != 0 || !handle.file_locks.empty()) return false;
  }
  std::lock_guard lock(handle.node->mutex);
  if (handle.node->open_here_only == 0) return false;
  handle.node->kept_open.push_back({end.session, end.handle_id, handle.may_write()});
  return true;
}

void ViewFs::end_at_node(const ViewHandle& handle) {
  ViewNode& node = *handle.node;
  std::vector<ViewNode::KeptOpen> over;
  {
    std::lock_guard lock(node.mutex);
    if (handle.counted == ViewHandle::Counted::kAtHome) {
      --node.open_at_home;
      if (handle.may_write()) --node.written_at_home;
    }
    if (handle.counted == ViewHandle::Counted::kHereOnly && --node.open_here_only == 0) {
      over.swap(node.kept_open);
      for (const auto& kept : over) {
        --node.open_at_home;
        if (kept.written) --node.written_at_home;
      }
    }
  }
  for (const auto& kept : over) {
    Remote::Request end;
    end.op = Op::kRelease;
    end.session = kept.serial;
    end.handle_id = kept.id;
    Remote::Reply reply;
    if (remote_.call(end, {}, reply) == EHOSTDOWN) remote_.tell_later(end, {});
  }
}

// Without O_NONBLOCK as long as it takes. With it, for what the guest has given up and home has
// still.
void ViewFs::wait_to_open(fuse_req_t request, const fuse_file_info& info, const ViewNodePtr& node) {
  auto waiting = std::make_unique<OpenWait>();
  waiting->request = request;
  waiting->info = info;
  waiting->node = node;
  waiting->until = (info.flags & O_NONBLOCK) == 0 ? std::chrono::steady_clock::time_point::max()
                                                  : std::chrono::steady_clock::now() + kLetGoWithin;
  fuse_req_interrupt_func(
      request, [](fuse_req_t, void* data) { static_cast<OpenWait*>(data)->interrupted = true; },
      waiting.get());
  {
    std::lock_guard lock(house_mutex_);
    open_waits_.push_back(std::move(waiting));
  }
  house_wake_.notify_all();
}

void ViewFs::try_to_open() {
  std::list<std::unique_ptr<OpenWait>> waits;
  {
    std::lock_guard lock(house_mutex_);
    waits.swap(open_waits_);
  }
  for (auto it = waits.begin(); it != waits.end();) {
    OpenWait& wait = **it;
    fuse_file_info info = wait.info;
    int error = EINTR;
    if (!wait.interrupted) error = ViewOps::open_at_home(wait.request, wait.node, info);
    if (error == EAGAIN && std::chrono::steady_clock::now() < wait.until) {
      ++it;
      continue;
    }
    fuse_req_interrupt_func(wait.request, nullptr, nullptr);
    ViewOps::answer_open(wait.request, error, info);
    it = waits.erase(it);
  }
  std::lock_guard lock(house_mutex_);
  open_waits_.splice(open_waits_.begin(), waits);
}

void ViewFs::expect_locks(const ExpectedLocks& expected) {
  std::lock_guard lock(expected_mutex_);
  expected_locks_.push_back(expected);
  expects_locks_ = true;
}

void ViewFs::expect_opening(const ExpectedLocks& expected) {
  std::lock_guard lock(expected_mutex_);
  expected_openings_.push_back(expected);
  expects_openings_ = true;
}

std::uint64_t ViewFs::expected_opening(const Caller& caller, const ViewNode& node) {
  if (!expects_openings_) return 0;
  const pid_t process = innermost_pid(caller.thread);
  std::lock_guard lock(expected_mutex_);
  const auto found = std::ranges::find_if(expected_openings_, [&](const ExpectedLocks& e) {
    return e.file == node.key && e.process == process;
  });
  if (found == expected_openings_.end()) return 0;
  const std::uint64_t id = found->id;
  expected_openings_.erase(found);
  expects_openings_ = !expected_openings_.empty();
  return id;
}

void ViewFs::expect_no_more(std::uint64_t id) {
  std::lock_guard lock(expected_mutex_);
  std::erase_if(expected_openings_, [&](const ExpectedLocks& e) { return e.id == id; });
  expects_openings_ = !expected_openings_.empty();
  std::erase_if(expected_locks_, [&](const ExpectedLocks& e) { return e.id == id; });
  expects_locks_ = !expected_locks_.empty();
}

int ViewFs::adopt_expected(const Caller& caller, ViewNode& node, const LockBody& body) {
  if (!expects_locks_ || body.pid <= 0) return 0;
  const pid_t process = innermost_pid(body.pid);
  std::uint64_t id = 0;
  {
    std::lock_guard lock(expected_mutex_);
    const auto found = std::ranges::find_if(expected_locks_, [&](const ExpectedLocks& e) {
      return e.file == node.key && e.process == process;
    });
    if (found == expected_locks_.end()) return 0;
    id = found->id;
  }
  Remote::Request asked;
  asked.op = Op::kAdoptLocks;
  asked.node = &node;
  asked.caller = caller;
  const AdoptLocksBody adopted{id, body.owner};
  Remote::Reply reply;
  const int error = remote_.call(
      asked, {{reinterpret_cast<const std::uint8_t*>(&adopted), sizeof adopted}}, reply);
  if (error != 0 && error != ENOENT) return error;
  expect_no_more(id);  // ENOENT: a mover that died has left this; it is a request like any other
  return 0;
}

}  // namespace ssi::fs
