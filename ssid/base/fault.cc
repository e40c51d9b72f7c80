#include "ssid/base/fault.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <array>
#include <cerrno>
#include <ctime>
#include <mutex>
#include <vector>

#include "ssid/base/log.h"
#include "ssid/base/unique_fd.h"

namespace ssi {

std::atomic<bool> faults_armed{false};

namespace {

constexpr std::size_t kFileBytesMax = 65536;
constexpr long kPausePollNs = 5'000'000;

std::mutex path_mutex;
std::string& armed_path() {
  static auto* path = new std::string;
  return *path;
}

std::vector<std::string_view> words_of(std::string_view line) {
  std::vector<std::string_view> words;
  while (true) {
    const auto begin = line.find_first_not_of(" \t\r");
    if (begin == std::string_view::npos) return words;
    line.remove_prefix(begin);
    const auto end = std::min(line.find_first_of(" \t\r"), line.size());
    words.push_back(line.substr(0, end));
    line.remove_prefix(end);
  }
}

FaultLine::Kind kind_of(std::string_view word) {
  if (word == "kill") return FaultLine::Kind::kKill;
  if (word == "pause") return FaultLine::Kind::kPause;
  if (word == "paused") return FaultLine::Kind::kPaused;
  if (word == "error") return FaultLine::Kind::kError;
  if (word == "kill-criu") return FaultLine::Kind::kKillCriu;
  return FaultLine::Kind::kNone;
}

bool read_all(int fd, std::string& text) {
  std::array<char, 4096> buffer;
  text.clear();
  for (;;) {
    const ssize_t n = ::pread(fd, buffer.data(), buffer.size(), static_cast<off_t>(text.size()));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 || text.size() > kFileBytesMax) return false;
    if (n == 0) return true;
    text.append(buffer.data(), static_cast<std::size_t>(n));
  }
}

bool write_all(int fd, const std::string& text) {
  std::size_t done = 0;
  while (done < text.size()) {
    const ssize_t n =
        ::pwrite(fd, text.data() + done, text.size() - done, static_cast<off_t>(done));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    done += static_cast<std::size_t>(n);
  }
  return ::ftruncate(fd, static_cast<off_t>(text.size())) == 0;
}

// Opens the file if it is one that only we can write, and locks it until the descriptor is closed.
UniqueFd open_locked(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (!fd) return {};
  struct stat st {};
  if (::fstat(*fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_uid != ::geteuid() ||
      (st.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
    log_warning("{} is ignored: it must be a plain file that only its owner can write", path);
    return {};
  }
  while (::flock(*fd, LOCK_EX) != 0)
    if (errno != EINTR) return {};
  return fd;
}

FaultLine take_from_file(const std::string& path, std::string_view name) {
  UniqueFd fd = open_locked(path);
  std::string text;
  if (!fd || !read_all(*fd, text)) return {};
  FaultLine line = take_fault_line(text, name, ::getpid());
  if (line.kind != FaultLine::Kind::kNone && line.text_after != text &&
      !write_all(*fd, line.text_after))
    return {};
  return line;
}

void wait_until_gone(const std::string& path, std::string_view name) {
  const std::string own = std::string(name) + " paused " + std::to_string(::getpid());
  for (;;) {
    const timespec pause{.tv_sec = 0, .tv_nsec = kPausePollNs};
    ::nanosleep(&pause, nullptr);
    UniqueFd fd = open_locked(path);
    std::string text;
    if (!fd || !read_all(*fd, text)) return;
    if (("\n" + text + "\n").find("\n" + own + "\n") == std::string::npos) return;
  }
}

}  // namespace

FaultLine take_fault_line(std::string_view text, std::string_view name, int own_pid) {
  FaultLine found;
  found.text_after.reserve(text.size() + 16);
  while (!text.empty()) {
    const auto end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    const auto words = words_of(line);
    if (found.kind == FaultLine::Kind::kNone && words.size() >= 2 && words[0] == name) {
      const auto kind = kind_of(words[1]);
      const bool always = words.size() >= 3 && words[2] == "always";
      // A line that another thread or daemon waits at is not for us.
      if (kind != FaultLine::Kind::kNone && kind != FaultLine::Kind::kPaused) {
        found.kind = kind;
        if (kind == FaultLine::Kind::kPause)
          found.text_after += std::string(name) + " paused " + std::to_string(own_pid) + "\n";
        else if (always)
          found.text_after += std::string(line) + "\n";
        continue;
      }
    }
    found.text_after += std::string(line) + "\n";
  }
  return found;
}

void faults_arm(std::string path) {
  std::lock_guard lock(path_mutex);
  armed_path() = std::move(path);
  faults_armed.store(true, std::memory_order_relaxed);
}

void faults_disarm() { faults_armed.store(false, std::memory_order_relaxed); }

FaultAction fault_passed(std::string_view name) {
  std::string path;
  {
    std::lock_guard lock(path_mutex);
    path = armed_path();
  }
  switch (take_from_file(path, name).kind) {
    case FaultLine::Kind::kNone:
    case FaultLine::Kind::kPaused:
      return FaultAction::kNone;
    case FaultLine::Kind::kKill:
      log_warning("fault {}: kill", name);
      ::kill(::getpid(), SIGKILL);
      ::pause();
      return FaultAction::kNone;
    case FaultLine::Kind::kPause:
      log_warning("fault {}: paused", name);
      wait_until_gone(path, name);
      log_warning("fault {}: goes on", name);
      return FaultAction::kNone;
    case FaultLine::Kind::kError:
      log_warning("fault {}: error", name);
      return FaultAction::kError;
    case FaultLine::Kind::kKillCriu:
      log_warning("fault {}: kill-criu", name);
      return FaultAction::kKillCriu;
  }
  return FaultAction::kNone;
}

}  // namespace ssi
