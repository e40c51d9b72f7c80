#include "fs/view/watch_news.h"

#include <sys/inotify.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <iterator>
#include <unordered_map>

#include "fs/view/view_ops.h"
#include "ssid/base/file_text.h"
#include "ssid/base/mount_table.h"
#include "ssid/base/proc_status.h"

namespace ssi::fs {
namespace {

using std::chrono::steady_clock;

constexpr std::chrono::milliseconds kBetweenLooks{500};
constexpr int kShareOfTime = 50;  // looking takes no more than one of so many
constexpr std::uint32_t kWaitMs = 5000;
constexpr std::uint32_t kNewsAtOnce = 512;
constexpr std::chrono::seconds kRetry{1};
constexpr std::chrono::seconds kTellTimeout{2};

}  // namespace

void WatchNews::note_caller(pid_t thread) {
  if (!on_) return;
  std::lock_guard lock(callers_mutex_);
  callers_.insert(thread);
}

// The callers, and who else is in a cgroup in which a caller was seen; as long as they are there.
std::set<pid_t> WatchNews::watchers() {
  std::set<pid_t> callers;
  {
    std::lock_guard lock(callers_mutex_);
    callers.swap(callers_);
  }
  static const std::string root = cgroup2_mount();
  for (const pid_t thread : callers) {
    const std::string cgroup =
        cgroup_in(text_of_file("/proc/" + std::to_string(thread) + "/cgroup"));
    if (root.empty() || cgroup.size() <= 1) {
      threads_.insert(thread);  // not everybody who is in no cgroup of his own
    } else {
      cgroups_.insert(root + cgroup);
    }
  }
  std::erase_if(threads_, [](pid_t thread) { return proc_status_line(thread, "Pid").empty(); });
  std::set<pid_t> all = threads_;
  for (auto it = cgroups_.begin(); it != cgroups_.end();) {
    std::ifstream file(*it + "/cgroup.procs");
    const bool there = file.is_open();
    for (pid_t pid = 0; file >> pid;) all.insert(pid);
    it = there ? std::next(it) : cgroups_.erase(it);
  }
  return all;
}

void WatchNews::look(std::uint64_t device) {
  if (!on_) return;
  std::lock_guard lock(look_mutex_);
  if (steady_clock::now() >= not_before_) (void)look_now(device);
}

// False: home does not hear all of it.
bool WatchNews::look_now(std::uint64_t device) {
  const auto begin = steady_clock::now();
  WatchedFiles found = find_watched(watchers(), device);
  not_before_ = std::max(begin + kBetweenLooks,
                         steady_clock::now() + (steady_clock::now() - begin) * kShareOfTime);
  std::map<std::uint64_t, Watched> before;
  {
    std::lock_guard lock(mutex_);
    before = watched_;
  }
  if (found.empty() && before.empty()) return true;

  for (const auto& [id, watched] : before) {
    if (found.contains(id)) continue;
    (void)tell_home(watched, 0);
    std::lock_guard lock(mutex_);
    watched_.erase(id);
  }
  std::erase_if(found, [&](const auto& item) {
    const auto known = before.find(item.first);
    return known != before.end() && known->second.mask == item.second;
  });
  if (found.empty()) return true;
  // By what is known and not by the number itself: the kernel may have forgotten it meanwhile.
  for (const ViewNodePtr& node : nodes_.all()) {
    const auto wanted = found.find(nodes_.kernel_id(*node));
    if (wanted == found.end()) continue;
    const Watched watched{node, wanted->second};
    if (!tell_home(watched, watched.mask)) continue;
    std::lock_guard lock(mutex_);
    watched_[wanted->first] = watched;
    found.erase(wanted);
  }
  std::lock_guard lock(mutex_);
  if (!thread_.joinable() && !stop_ && !watched_.empty()) thread_ = std::thread([this] { run(); });
  wake_.notify_all();
  return found.empty();
}

bool WatchNews::tell_all(std::uint64_t device, pid_t process) {
  if (!on_) return true;
  note_caller(process);
  {
    std::lock_guard lock(look_mutex_);
    if (!look_now(device)) return false;
  }
  std::unique_lock lock(mutex_);
  if (watched_.empty()) return true;
  const std::uint64_t round = ++rounds_wanted_;
  lock.unlock();
  if (!stop_waiting_at_home()) return false;
  lock.lock();
  return wake_.wait_for(lock, kTellTimeout,
                        [&] { return stop_ || rounds_done_ >= round || watched_.empty(); });
}

// The request that waits for news there, or the next one, is answered at once.
bool WatchNews::stop_waiting_at_home() {
  Remote::Request request;
  request.op = Op::kNews;
  Remote::Reply reply;
  return remote_.call(request, {bytes_of(NewsBody{})}, reply) == 0;
}

bool WatchNews::tell_home(const Watched& watched, std::uint32_t mask) {
  Remote::Request request;
  request.op = Op::kWatch;
  request.node = watched.node.get();
  const WatchBody body{nodes_.kernel_id(*watched.node), mask, 0};
  Remote::Reply reply;
  if (remote_.call(request, {bytes_of(body)}, reply) != 0) return false;
  std::lock_guard lock(mutex_);
  serial_ = reply.serial();
  return true;
}

bool WatchNews::is_watched(std::uint64_t node) const {
  std::lock_guard lock(mutex_);
  return watched_.contains(node);
}

std::size_t WatchNews::watched() const {
  std::lock_guard lock(mutex_);
  return watched_.size();
}

void WatchNews::run() {
  std::unique_lock lock(mutex_);
  while (!stop_) {
    wake_.wait(lock, [&] { return stop_ || !watched_.empty(); });
    if (stop_) return;
    const std::uint64_t round = rounds_wanted_;
    lock.unlock();
    const auto told = ask_for_news(round != rounds_done_ ? 0 : kWaitMs);
    lock.lock();
    if (!told) wake_.wait_for(lock, kRetry, [&] { return stop_; });
    if (!told || *told + 1 >= kNewsAtOnce) continue;  // a rename is not taken apart
    rounds_done_ = round;
    wake_.notify_all();
  }
}

// How many there were. None: home can't be asked now.
std::optional<std::size_t> WatchNews::ask_for_news(std::uint32_t wait_ms) {
  std::vector<WatchTeller::News> all;
  bool lost = false;
  std::size_t count = 0;
  bool other_store = false;
  {
    Remote::Request request;
    request.op = Op::kNews;
    const NewsBody body{wait_ms, kNewsAtOnce};
    Remote::Reply reply;
    if (remote_.call(request, {bytes_of(body)}, reply) != 0) return {};
    ByteReader reader = reply.reader();
    const auto news = reader.get<NewsReply>();
    std::lock_guard lock(mutex_);
    for (std::uint32_t i = 0; i < news.count; ++i) {
      const auto head = reader.get<NewsHead>();
      const std::string_view name = reader.text(head.name_bytes);
      if (!reader.ok()) return {};
      const auto found = watched_.find(head.tag);
      if (found == watched_.end()) continue;  // no more
      all.push_back({found->second.node, head.mask, head.cookie, std::string(name)});
      if ((head.mask & IN_DELETE_SELF) != 0) watched_.erase(found);
    }
    count = news.count;
    lost = news.lost != 0;
    other_store = reply.serial() != serial_;
  }
  if (other_store) watch_again();
  if (lost || other_store) {
    std::map<std::uint64_t, Watched> watched;
    {
      std::lock_guard lock(mutex_);
      watched = watched_;
    }
    for (const auto& [id, one] : watched) teller_.tell_lost(one.node, one.mask);
  }
  if (!all.empty()) {
    teller_.tell(all, [this](std::uint64_t node) { return is_watched(node); });
  }
  return count;
}

// The store was begun anew, and knows nothing of us.
void WatchNews::watch_again() {
  std::map<std::uint64_t, Watched> watched;
  {
    std::lock_guard lock(mutex_);
    watched = watched_;
  }
  for (const auto& [id, one] : watched) {
    if (tell_home(one, one.mask)) continue;
    std::lock_guard lock(mutex_);
    watched_.erase(id);  // the next look finds it again, if it can be
  }
}

void WatchNews::stop() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
}

}  // namespace ssi::fs
