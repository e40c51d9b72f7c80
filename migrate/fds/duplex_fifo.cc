#include "migrate/fds/duplex_fifo.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <set>
#include <utility>

#include "migrate/fds/descriptor.h"
#include "ssid/base/file_text.h"
#include "ssid/base/unique_fd.h"

namespace ssi::fds {
namespace {

constexpr std::size_t kPieceBytes = 4096;
constexpr int kCapacityMax = 16 << 20;

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

// What it has is in `from` and goes to the named pipe.
Result<> splice_all(int from, int fifo, std::size_t bytes) {
  while (bytes > 0) {
    const ssize_t put = ::splice(from, nullptr, fifo, nullptr, bytes, SPLICE_F_NONBLOCK);
    if (put > 0) {
      bytes -= static_cast<std::size_t>(put);
      continue;
    }
    const int capacity = ::fcntl(fifo, F_GETPIPE_SZ);
    if (put == 0 || errno != EAGAIN || capacity <= 0 || capacity >= kCapacityMax ||
        ::fcntl(fifo, F_SETPIPE_SZ, 2 * capacity) < 0) {
      return Error::from_errno("fill a named pipe");
    }
  }
  return {};
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
    if (!S_ISFIFO(st.st_mode) || st.st_nlink == 0) continue;
    const std::string name = entry.path().filename();
    const std::string path = std::filesystem::read_symlink(entry.path(), error);
    if (!path.starts_with('/') || !is_duplex(text_of_file(proc + "/fdinfo/" + name))) continue;
    DuplexFifo fifo{.device = st.st_dev, .inode = st.st_ino, .path = path};
    std::from_chars(name.data(), name.data() + name.size(), fifo.number);
    if (seen.insert({st.st_dev, st.st_ino}).second) fifos.push_back(std::move(fifo));
  }
  return fifos;
}

Result<> empty_fifo(pid_t pid, const DuplexFifo& fifo, std::optional<std::uint32_t> bytes) {
  SSI_ASSIGN(const UniqueFd held, descriptor_of(pid, fifo.number));
  SSI_ASSIGN(const Scratch scratch, make_scratch());
  char buffer[kPieceBytes];
  std::size_t left = bytes.value_or(SIZE_MAX);
  while (left > 0) {
    const ssize_t got = ::splice(*held, nullptr, *scratch.in, nullptr, std::min(left, kPieceBytes),
                                 SPLICE_F_NONBLOCK);
    if (got == 0 || (got < 0 && errno == EAGAIN)) return {};
    if (got < 0 || ::read(*scratch.out, buffer, sizeof buffer) != got) {
      return Error::from_errno("empty a named pipe");
    }
    left -= static_cast<std::size_t>(got);
  }
  return {};
}

Result<> fill_fifo(pid_t pid, const DuplexFifo& fifo, std::string_view bytes) {
  SSI_ASSIGN(const UniqueFd held, descriptor_of(pid, fifo.number));
  SSI_ASSIGN(const Scratch scratch, make_scratch());
  while (!bytes.empty()) {
    const std::string_view piece = bytes.substr(0, kPieceBytes);
    if (::write(*scratch.in, piece.data(), piece.size()) != static_cast<ssize_t>(piece.size())) {
      return Error::from_errno("fill a named pipe");
    }
    SSI_TRY(splice_all(*scratch.out, *held, piece.size()));
    bytes.remove_prefix(piece.size());
  }
  return {};
}

}  // namespace ssi::fds
