#include "ssid/daemon/pipe_demand.h"

#include <poll.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>

#include "migrate/move/stream_key.h"
#include "ssid/base/proc_job.h"

namespace ssi {
namespace fs = std::filesystem;
namespace {

constexpr std::chrono::milliseconds kPauseMin{1};
constexpr std::chrono::milliseconds kPauseMax{50};
constexpr std::uint64_t kSome = 4096;
constexpr std::uint64_t kReadMax = 1 << 20;
constexpr std::uint64_t kPollsMax = 1024;

template <typename T>
std::vector<T> read_memory(pid_t pid, std::uint64_t address, std::uint64_t count) {
  std::vector<T> items(count);
  iovec here{items.data(), count * sizeof(T)};
  iovec there{reinterpret_cast<void*>(address), count * sizeof(T)};
  const ssize_t got = ::process_vm_readv(pid, &here, 1, &there, 1, 0);
  items.resize(got > 0 ? static_cast<std::size_t>(got) / sizeof(T) : 0);
  return items;
}

bool is_stream(pid_t pid, std::uint64_t fd, const std::string& key) {
  struct stat st {};
  const std::string path = "/proc/" + std::to_string(pid) + "/fd/" + std::to_string(fd);
  if (::stat(path.c_str(), &st) != 0) return false;
  const bool by_general_name = S_ISCHR(st.st_mode) && st.st_rdev == makedev(5, 0);  // /dev/tty
  if (!by_general_name) return migrate::stream_key(st) == key;
  const auto job = proc_job(pid);
  return job && migrate::names_terminal(key, job->terminal);
}

bool polls(pid_t pid, const BlockedCall& call, const std::string& key) {
  const auto polled =
      read_memory<pollfd>(pid, call.arguments[0], std::min(call.arguments[1], kPollsMax));
  return std::any_of(polled.begin(), polled.end(), [&](const pollfd& p) {
    return (p.events & POLLIN) != 0 && p.fd >= 0 &&
           is_stream(pid, static_cast<std::uint64_t>(p.fd), key);
  });
}

bool selects(pid_t pid, const BlockedCall& call, const std::string& key) {
  const std::uint64_t count = std::min<std::uint64_t>(call.arguments[0], FD_SETSIZE);
  const auto words = read_memory<std::uint64_t>(pid, call.arguments[1], (count + 63) / 64);
  for (std::uint64_t fd = 0; fd < count && fd / 64 < words.size(); ++fd) {
    if ((words[fd / 64] >> (fd % 64) & 1) != 0 && is_stream(pid, fd, key)) return true;
  }
  return false;
}

bool epolls(pid_t pid, const BlockedCall& call, const std::string& key) {
  std::ifstream info("/proc/" + std::to_string(pid) + "/fdinfo/" +
                     std::to_string(call.arguments[0]));
  for (std::string line; std::getline(info, line);) {
    if (line.starts_with("tfd:") &&
        is_stream(pid, std::strtoull(line.c_str() + 4, nullptr, 10), key)) {
      return true;
    }
  }
  return false;
}

std::uint64_t wanted_by(pid_t pid, const BlockedCall& call, const std::string& key) {
  switch (call.number) {
    case SYS_read:
      return is_stream(pid, call.arguments[0], key) ? std::min(call.arguments[2], kReadMax) : 0;
    case SYS_readv:
    case SYS_splice:
    case SYS_tee:
      return is_stream(pid, call.arguments[0], key) ? kSome : 0;
    case SYS_sendfile:
      return is_stream(pid, call.arguments[1], key) ? kSome : 0;
    case SYS_poll:
    case SYS_ppoll:
      return polls(pid, call, key) ? kSome : 0;
    case SYS_select:
    case SYS_pselect6:
      return selects(pid, call, key) ? kSome : 0;
    case SYS_epoll_wait:
    case SYS_epoll_pwait:
    case SYS_epoll_pwait2:
      return epolls(pid, call, key) ? kSome : 0;
    default:
      return 0;
  }
}

}  // namespace

std::optional<BlockedCall> parse_blocked_call(std::string_view line) {
  BlockedCall call;
  const char* at = line.data();
  const char* const end = line.data() + line.size();
  const auto [after, bad] = std::from_chars(at, end, call.number);
  if (bad != std::errc{} || call.number < 0) return std::nullopt;  // "running", or in no call
  at = after;
  for (std::uint64_t& argument : call.arguments) {
    if (end - at < 4 || at[0] != ' ' || at[1] != '0' || at[2] != 'x') return std::nullopt;
    const auto [next, wrong] = std::from_chars(at + 3, end, argument, 16);
    if (wrong != std::errc{}) return std::nullopt;
    at = next;
  }
  return call;
}

PipeWish pipe_wish(pid_t pid, const std::string& key) {
  PipeWish wish;
  std::error_code ec;
  for (const auto& task : fs::directory_iterator("/proc/" + std::to_string(pid) + "/task", ec)) {
    std::ifstream in(task.path() / "syscall");
    std::string line;
    std::getline(in, line);
    if (const auto call = parse_blocked_call(line)) {
      wish.bytes = std::max(wish.bytes, wanted_by(pid, *call, key));
    }
    std::uint64_t on_cpu = 0, waited = 0, times = 0;
    std::ifstream(task.path() / "schedstat") >> on_cpu >> waited >> times;
    wish.activity += times;
  }
  return wish;
}

PipeDemand::PipeDemand(boost::asio::io_context& io, std::function<std::vector<Guest>()> guests,
                       std::function<void(const migrate::StreamRef&, std::uint64_t)> demand)
    : guests_(std::move(guests)), demand_(std::move(demand)), timer_(io) {}

void PipeDemand::wake() {
  if (running_) return;
  running_ = true;
  pause_ = kPauseMin;
  look();
}

void PipeDemand::look() {
  const auto guests = guests_();
  if (guests.empty()) {
    running_ = false;
    activity_.clear();
    return;
  }
  bool reading = false;
  for (const Guest& guest : guests) {
    for (const migrate::StreamRef& stream : guest.streams) {
      for (const pid_t pid : guest.pids) {
        const PipeWish wish = pipe_wish(pid, stream.local_key);
        if (wish.bytes == 0) continue;
        demand_(stream, wish.bytes);
        // One that waits where nothing comes is no reason to look more often.
        if (std::exchange(activity_[stream.id], wish.activity) != wish.activity) reading = true;
      }
    }
  }
  pause_ = reading ? kPauseMin : std::min(pause_ * 2, kPauseMax);
  timer_.expires_after(pause_);
  timer_.async_wait([this](boost::system::error_code ec) {
    if (!ec) look();
  });
}

}  // namespace ssi
