#include "ssid/daemon/taken_fifos.h"

#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <charconv>
#include <cstring>
#include <filesystem>

#include "migrate/fds/descriptor.h"
#include "ssid/base/log.h"

namespace ssi {
namespace {

std::string link_of(pid_t pid, int number) {
  return "/proc/" + std::to_string(pid) + "/fd/" + std::to_string(number);
}

bool has_open(pid_t pid, const fds::DuplexFifo& fifo) {
  std::error_code error;
  for (const auto& entry :
       std::filesystem::directory_iterator("/proc/" + std::to_string(pid) + "/fd", error)) {
    struct stat st {
    }, link{};
    if (::stat(entry.path().c_str(), &st) != 0 || !S_ISFIFO(st.st_mode) ||
        st.st_dev != fifo.device || st.st_ino != fifo.inode) {
      continue;
    }
    // Neither to read nor to write: a name (O_PATH), as ssid-carrier has of what guests use.
    if (::lstat(entry.path().c_str(), &link) == 0 && (link.st_mode & S_IRWXU) != 0) return true;
  }
  return false;
}

bool others_have_open(const fds::DuplexFifo& fifo, const std::set<pid_t>& deputies) {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", error)) {
    const std::string name = entry.path().filename();
    pid_t pid = 0;
    const auto [end, bad] = std::from_chars(name.data(), name.data() + name.size(), pid);
    if (bad != std::errc{} || end != name.data() + name.size()) continue;
    if (pid != ::getpid() && !deputies.contains(pid) && has_open(pid, fifo)) return true;
  }
  return false;
}

bool something_waits(pid_t pid, int number) {
  const auto fifo = fds::descriptor_of(pid, number);
  int bytes = 0;
  return fifo && ::ioctl(**fifo, FIONREAD, &bytes) == 0 && bytes > 0;
}

bool is_used(pid_t deputy, const fds::DuplexFifo& fifo, const std::set<pid_t>& deputies) {
  return something_waits(deputy, fifo.number) || others_have_open(fifo, deputies);
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
  take_events();
  const std::set<pid_t> all(deputies.begin(), deputies.end());
  for (const pid_t pid : deputies) {
    for (const fds::DuplexFifo& fifo : fds::duplex_fifos(pid)) watch_one(pid, fifo, all, since);
  }
}

void TakenFifos::watch_one(pid_t deputy, const fds::DuplexFifo& fifo,
                           const std::set<pid_t>& deputies, Clock::time_point since) {
  const int number =
      ::inotify_add_watch(inotify_.native_handle(), link_of(deputy, fifo.number).c_str(), IN_OPEN);
  if (number < 0) {
    return log_error("{}: can't be watched: {}", fifo.path, std::strerror(errno));
  }
  Watched& watched = watched_[number];
  watched.path = fifo.path;
  // Until now nobody has seen who opens it.
  const bool first = watched.deputies.insert(deputy).second;
  const bool opened = first ? is_used(deputy, fifo, deputies) : watched.opened > since;
  if (opened) called_(deputy, fifo.path);
}

void TakenFifos::look_again(pid_t deputy) {
  std::set<pid_t> deputies;
  for (const auto& [number, watched] : watched_) {
    if (watched.deputies.contains(deputy))
      deputies.insert(watched.deputies.begin(), watched.deputies.end());
  }
  for (const fds::DuplexFifo& fifo : fds::duplex_fifos(deputy)) {
    if (is_used(deputy, fifo, deputies)) called_(deputy, fifo.path);
  }
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

void TakenFifos::take_events() {
  alignas(inotify_event) char buffer[4096];
  for (;;) {
    const ssize_t size = ::read(inotify_.native_handle(), buffer, sizeof buffer);
    if (size <= 0) return;
    for (ssize_t at = 0; at < size;) {
      inotify_event event;
      std::memcpy(&event, buffer + at, sizeof event);
      at += static_cast<ssize_t>(sizeof event + event.len);
      const auto found = watched_.find(event.wd);
      if (found == watched_.end() || (event.mask & IN_OPEN) == 0) continue;
      found->second.opened = Clock::now();
      const Watched opened = found->second;
      for (const pid_t deputy : opened.deputies) called_(deputy, opened.path);
    }
  }
}

}  // namespace ssi
