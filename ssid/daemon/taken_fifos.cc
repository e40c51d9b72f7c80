#include "ssid/daemon/taken_fifos.h"

#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <filesystem>

#include "migrate/fds/descriptor.h"
#include "ssid/base/log.h"

namespace ssi {
namespace {

constexpr int kBatchesMax = 64;  // of events, before others have their turn

std::string link_of(pid_t pid, int number) {
  return "/proc/" + std::to_string(pid) + "/fd/" + std::to_string(number);
}

using FileId = std::pair<dev_t, ino_t>;

FileId id_of(const fds::DuplexFifo& fifo) { return {fifo.device, fifo.inode}; }

// By its name first: a stat(2) of what a view shows may wait for another node.
void add_open(const std::string& dir, const std::set<std::string>& names, std::set<FileId>& open) {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(dir, error)) {
    if (!names.contains(std::filesystem::read_symlink(entry.path(), error))) continue;
    struct stat st {};
    struct stat link {};
    // Neither to read nor to write: a name (O_PATH), as ssid-carrier has of what guests use.
    if (::lstat(entry.path().c_str(), &link) != 0 || (link.st_mode & S_IRWXU) == 0) continue;
    if (::stat(entry.path().c_str(), &st) == 0) open.insert({st.st_dev, st.st_ino});
  }
}

// What others have open of that; one walk through all processes.
std::set<FileId> open_at_others(const std::set<std::string>& names,
                                const std::set<pid_t>& deputies) {
  std::set<FileId> open;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", error)) {
    const std::string name = entry.path().filename();
    pid_t pid = 0;
    const auto [end, bad] = std::from_chars(name.data(), name.data() + name.size(), pid);
    if (bad != std::errc{} || end != name.data() + name.size()) continue;
    if (pid != ::getpid() && !deputies.contains(pid)) {
      add_open(entry.path().string() + "/fd", names, open);
    }
  }
  return open;
}

bool something_waits(pid_t pid, int number) {
  const auto fifo = fds::descriptor_of(pid, number);
  int bytes = 0;
  return fifo && ::ioctl(**fifo, FIONREAD, &bytes) == 0 && bytes > 0;
}

}  // namespace

Result<std::unique_ptr<TakenFifos>> TakenFifos::create(boost::asio::io_context& io, Called called) {
  const int inotify = ::inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
  if (inotify < 0) return Error::from_errno("make an inotify instance");
  std::unique_ptr<TakenFifos> fifos(new TakenFifos(io, inotify, std::move(called)));
  fifos->read_next();
  return fifos;
}

TakenFifos::TakenFifos(boost::asio::io_context& io, int inotify, Called called)
    : called_(std::move(called)), inotify_(io, inotify) {}

void TakenFifos::watch(const std::vector<pid_t>& deputies, Clock::time_point since) {
  for (int i = 0; i < kBatchesMax && take_events(); ++i) {
  }
  const std::set<pid_t> all(deputies.begin(), deputies.end());
  std::vector<Kept> unseen;
  for (const pid_t pid : all) {
    for (const fds::DuplexFifo& fifo : fds::duplex_fifos(pid)) {
      if (!fifo.nameless && watch_one({pid, fifo}, since)) unseen.push_back({pid, fifo});
    }
  }
  call_if_used(unseen, all);
}

bool TakenFifos::watch_one(const Kept& kept, Clock::time_point since) {
  const int number = ::inotify_add_watch(inotify_.native_handle(),
                                         link_of(kept.deputy, kept.fifo.number).c_str(), IN_OPEN);
  if (number < 0) {
    log_error("{}: can't be watched: {}", kept.fifo.path, std::strerror(errno));
    return true;
  }
  Watched& watched = watched_[number];
  watched.path = kept.fifo.path;
  if (watched.deputies.insert(kept.deputy).second) return true;
  if (watched.opened > since) called_(kept.deputy, kept.fifo.path);
  return false;
}

void TakenFifos::call_if_used(const std::vector<Kept>& all, const std::set<pid_t>& deputies) {
  if (all.empty()) return;
  std::set<std::string> names;
  for (const Kept& kept : all) names.insert(kept.fifo.path);
  const auto open = open_at_others(names, deputies);
  for (const auto& [deputy, fifo] : all) {
    if (open.contains(id_of(fifo)) || something_waits(deputy, fifo.number)) {
      called_(deputy, fifo.path);
    }
  }
}

void TakenFifos::look_again(const std::set<pid_t>& deputies) {
  std::set<pid_t> keepers = deputies;
  std::vector<Kept> all;
  for (const auto& [number, watched] : watched_) {
    if (std::ranges::any_of(watched.deputies, [&](pid_t pid) { return deputies.contains(pid); })) {
      keepers.insert(watched.deputies.begin(), watched.deputies.end());
    }
  }
  for (const pid_t pid : deputies) {
    for (const fds::DuplexFifo& fifo : fds::duplex_fifos(pid)) all.push_back({pid, fifo});
  }
  call_if_used(all, keepers);
}

void TakenFifos::forget(pid_t deputy) {
  for (auto it = watched_.begin(); it != watched_.end();) {
    const bool last = it->second.deputies.erase(deputy) > 0 && it->second.deputies.empty();
    if (last) ::inotify_rm_watch(inotify_.native_handle(), it->first);
    it = last ? watched_.erase(it) : std::next(it);
  }
}

void TakenFifos::read_next() {
  inotify_.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                      [this](boost::system::error_code ec) {
                        if (ec) return;
                        take_events();
                        read_next();
                      });
}

bool TakenFifos::take_events() {
  alignas(inotify_event) char buffer[4096];
  const ssize_t size = ::read(inotify_.native_handle(), buffer, sizeof buffer);
  for (ssize_t at = 0; at < size;) {
    inotify_event event;
    std::memcpy(&event, buffer + at, sizeof event);
    at += static_cast<ssize_t>(sizeof event + event.len);
    if ((event.mask & IN_OPEN) != 0) opened(event.wd);
    if ((event.mask & IN_Q_OVERFLOW) != 0) {
      std::vector<int> all;
      for (const auto& [number, watched] : watched_) all.push_back(number);
      for (const int number : all) opened(number);
    }
  }
  return size > 0;
}

void TakenFifos::opened(int number) {
  const auto found = watched_.find(number);
  if (found == watched_.end()) return;
  found->second.opened = Clock::now();
  const Watched watched = found->second;
  for (const pid_t deputy : watched.deputies) called_(deputy, watched.path);
}

}  // namespace ssi
