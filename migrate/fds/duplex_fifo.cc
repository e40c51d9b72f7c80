#include "migrate/fds/duplex_fifo.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <set>
#include <utility>

#include "ssid/base/file_text.h"
#include "ssid/base/unique_fd.h"

namespace ssi::fds {
namespace {

constexpr std::size_t kPageBytes = 4096;

bool is_duplex(const std::string& fdinfo) {
  constexpr std::string_view kFlags = "flags:";
  const std::size_t at = fdinfo.find(kFlags);
  if (at == std::string::npos) return false;
  const auto flags = std::strtoul(fdinfo.c_str() + at + kFlags.size(), nullptr, 8);
  return (flags & O_ACCMODE) == O_RDWR && (flags & O_PATH) == 0;
}

struct Scratch {
  UniqueFd out, in;
};

Result<Scratch> make_scratch() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return Error::from_errno("make a pipe");
  return Scratch{UniqueFd(ends[0]), UniqueFd(ends[1])};
}

int whole_pages(std::size_t bytes) {
  return static_cast<int>((bytes + kPageBytes - 1) / kPageBytes * kPageBytes);
}

}  // namespace

std::vector<DuplexFifo> duplex_fifos(pid_t pid) {
  const std::string proc = "/proc/" + std::to_string(pid);
  std::vector<DuplexFifo> fifos;
  std::set<std::pair<dev_t, ino_t>> seen;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(proc + "/fd", error)) {
    struct stat st {};
    if (::stat(entry.path().c_str(), &st) != 0) continue;
    if (!S_ISFIFO(st.st_mode)) continue;
    const std::string name = entry.path().filename();
    const std::string path = std::filesystem::read_symlink(entry.path(), error);
    if (!path.starts_with('/') || !is_duplex(text_of_file(proc + "/fdinfo/" + name))) continue;
    DuplexFifo fifo{
        .device = st.st_dev, .inode = st.st_ino, .path = path, .nameless = st.st_nlink == 0};
    std::from_chars(name.data(), name.data() + name.size(), fifo.number);
    if (seen.insert({st.st_dev, st.st_ino}).second) fifos.push_back(std::move(fifo));
  }
  return fifos;
}

Result<> empty_fifo(int fifo, std::optional<std::uint32_t> bytes) {
  int there = 0;
  if (::ioctl(fifo, FIONREAD, &there) != 0) return Error::from_errno("look at a named pipe");
  SSI_ASSIGN(const Scratch scratch, make_scratch());
  char buffer[kPageBytes];
  std::size_t left = bytes.value_or(static_cast<std::uint32_t>(there));
  while (left > 0) {
    const ssize_t got = ::splice(fifo, nullptr, *scratch.in, nullptr, std::min(left, kPageBytes),
                                 SPLICE_F_NONBLOCK);
    if (got == 0 || (got < 0 && errno == EAGAIN)) return {};
    if (got < 0 || ::read(*scratch.out, buffer, sizeof buffer) != got) {
      return Error::from_errno("empty a named pipe");
    }
    left -= static_cast<std::size_t>(got);
  }
  return {};
}

Result<> fill_fifo(int fifo, std::string_view bytes) {
  if (bytes.empty()) return {};
  const int capacity = ::fcntl(fifo, F_GETPIPE_SZ);
  SSI_ASSIGN(const Scratch scratch, make_scratch());
  if (capacity <= 0 || ::fcntl(*scratch.in, F_SETPIPE_SZ, whole_pages(bytes.size())) < 0 ||
      ::fcntl(fifo, F_SETPIPE_SZ, capacity + whole_pages(bytes.size())) < 0) {
    return Error::from_errno("make room in a named pipe");
  }
  // One splice is one piece: whoever writes to it meanwhile comes before or after all of it.
  if (::write(*scratch.in, bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size()) ||
      ::splice(*scratch.out, nullptr, fifo, nullptr, bytes.size(), SPLICE_F_NONBLOCK) !=
          static_cast<ssize_t>(bytes.size())) {
    return Error::from_errno("fill a named pipe");
  }
  return {};
}

}  // namespace ssi::fds
