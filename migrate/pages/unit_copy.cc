#include "migrate/pages/unit_copy.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <string_view>

#include "migrate/criu/memfd_image.h"
#include "migrate/pages/pagemap_scan.h"

namespace ssi::migrate {
namespace {

constexpr std::size_t kFrameBytes = 1u << 20;
constexpr std::size_t kReadBytes = 256 * kPageBytes;
constexpr int kPassesMax = 6;
constexpr std::size_t kAnonymousMax = 64;  // each is a descriptor of the criu that rebuilds
// So little that the freeze is not made noticeably longer by it.
constexpr std::uint64_t kEnoughBytes = 2u << 20;
constexpr pagemap::Wanted kOwnPages{.all = pagemap::kFile | pagemap::kZeroPage,
                                    .inverted = pagemap::kFile | pagemap::kZeroPage};

struct Mapping {
  PageRange area;
  bool shared = false;
  bool readable = false;
  unsigned long inode = 0;
  std::string name;
};

bool parse(const std::string& line, Mapping& m) {
  char permissions[5] = {};
  int name_at = 0;
  if (std::sscanf(line.c_str(), "%lx-%lx %4s %*s %*s %lu %n", &m.area.begin, &m.area.end,
                  permissions, &m.inode, &name_at) < 4) {
    return false;
  }
  m.name = name_at > 0 ? line.substr(static_cast<std::size_t>(name_at)) : "";
  m.shared = permissions[3] == 's';
  m.readable = permissions[0] == 'r';
  return true;
}

// That criu dumps with its content.
bool is_shared_memory(const Mapping& m) {
  return m.shared && (m.name.starts_with("/dev/zero") || m.name.starts_with("/memfd:"));
}

// Restored by criu, it has a name.
bool is_anonymous(const Mapping& m) {
  return m.name.starts_with("/dev/zero") ||
         m.name == "/memfd:" + std::string(kAnonymousMemfdName) + " (deleted)";
}

bool is_private_memory(const Mapping& m) {
  return !m.shared && m.readable && !m.name.starts_with("[v");  // vvar, vdso, vsyscall
}

std::vector<Mapping> mappings_of(pid_t pid) {
  std::vector<Mapping> all;
  std::ifstream maps("/proc/" + std::to_string(pid) + "/maps");
  Mapping mapping;
  for (std::string line; std::getline(maps, line);) {
    if (parse(line, mapping)) all.push_back(mapping);
  }
  return all;
}

}  // namespace

UnitCopy::UnitCopy(std::vector<Process> processes, Send send)
    : processes_(std::move(processes)),
      send_(std::move(send)),
      read_(kReadBytes),
      buffer_(kFrameBytes) {}

Result<> UnitCopy::run() {
  std::uint64_t before = ~std::uint64_t{0};
  for (int i = 0; i < kPassesMax && why_not_.empty(); ++i) {
    const std::uint64_t sent = sent_bytes_;
    SSI_TRY(pass());
    const std::uint64_t now = sent_bytes_ - sent;
    // They write as fast as we send: more passes would not help.
    if (now <= kEnoughBytes || now > before / 4 * 3) break;
    before = now;
  }
  return flush();
}

Result<> UnitCopy::pass() {
  std::map<unsigned long, UniqueFd> shared;  // each once, whoever has mapped it
  for (const Process& process : processes_) {
    SSI_TRY(send_private(process));
    for (const Mapping& m : mappings_of(process.pid)) {
      if (!is_shared_memory(m) || shared.contains(m.inode)) continue;
      char path[96];
      std::snprintf(path, sizeof path, "/proc/%d/map_files/%lx-%lx", process.pid, m.area.begin,
                    m.area.end);
      UniqueFd fd(::open(path, O_RDONLY | O_CLOEXEC));
      if (fd) shared.emplace(m.inode, std::move(fd));
      if (is_anonymous(m) && anonymous_.size() < kAnonymousMax) anonymous_.insert(m.inode);
    }
  }
  for (const auto& [inode, fd] : shared) {
    SSI_TRY(send_shared(*fd, {PageOwner::Kind::kShmem, inode}));
  }
  return {};
}

// It may end, or unmap some, at any time: the rest of that is seen when it stands still.
Result<> UnitCopy::send_private(const Process& process) {
  const std::string path = "/proc/" + std::to_string(process.pid) + "/pagemap";
  const UniqueFd pagemap(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!pagemap) return {};
  PageRanges pages;
  for (const Mapping& m : mappings_of(process.pid)) {
    if (!is_private_memory(m)) continue;
    if (auto seen = pagemap::scan(*pagemap, m.area, 0, kOwnPages, pages); !seen) {
      why_not_ = seen.error().message();
      return {};
    }
  }
  for (const auto& [begin, end] : pages.ranges()) {
    for (std::uint64_t at = begin; at < end;) {
      const iovec here{read_.data(), std::min<std::size_t>(read_.size(), end - at)};
      const iovec there{reinterpret_cast<void*>(at), here.iov_len};
      const ssize_t n = ::process_vm_readv(process.pid, &here, 1, &there, 1, 0);
      if (n < 0 && errno == ESRCH) return {};
      const std::size_t got = n > 0 ? static_cast<std::size_t>(n) / kPageBytes * kPageBytes : 0;
      SSI_TRY(send_news(process.owner, at, {read_.data(), got}));
      at += std::max(got, kPageBytes);
    }
  }
  return {};
}

Result<> UnitCopy::send_shared(int fd, PageOwner owner) {
  struct stat st {};
  if (::fstat(fd, &st) != 0) return {};
  off_t at = 0;
  while (at < st.st_size) {
    at = ::lseek(fd, at, SEEK_DATA);
    if (at < 0) break;  // nothing behind it
    const off_t hole = ::lseek(fd, at, SEEK_HOLE);
    while (at < hole) {
      const auto wanted = std::min<std::size_t>(read_.size(), static_cast<std::size_t>(hole - at));
      const ssize_t n = ::pread(fd, read_.data(), wanted, at);
      if (n <= 0) return {};
      const std::size_t whole = static_cast<std::size_t>(n) / kPageBytes * kPageBytes;
      SSI_TRY(send_news(owner, static_cast<std::uint64_t>(at), {read_.data(), whole}));
      at += std::max<off_t>(static_cast<off_t>(whole), kPageBytes);
    }
  }
  return {};
}

Result<> UnitCopy::send_news(PageOwner owner, std::uint64_t address,
                             std::span<const std::uint8_t> pages) {
  std::size_t news = 0;  // that end right before `at`
  for (std::size_t at = 0; at < pages.size(); at += kPageBytes) {
    if (sent_.is_news(owner, address + at, pages.data() + at)) {
      news += kPageBytes;
      continue;
    }
    SSI_TRY(append(owner, address + at - news, pages.subspan(at - news, news)));
    news = 0;
  }
  return append(owner, address + pages.size() - news, pages.last(news));
}

Result<> UnitCopy::append(PageOwner owner, std::uint64_t address,
                          std::span<const std::uint8_t> pages) {
  if (pages.empty()) return {};
  constexpr std::size_t kHeaders = 2 * PageStreamParser::kHeaderBytes;
  if (buffer_.size() - used_ < kHeaders + pages.size()) SSI_TRY(flush());
  if (buffer_.size() < kHeaders + pages.size()) {
    const std::size_t half = pages.size() / 2 / kPageBytes * kPageBytes;
    SSI_TRY(append(owner, address, pages.first(half)));
    return append(owner, address + half, pages.subspan(half));
  }
  const auto put = [&](const void* data, std::size_t size) {
    std::memcpy(buffer_.data() + used_, data, size);
    used_ += size;
  };
  if (open_ != owner) {
    const bool anonymous = owner.kind == PageOwner::Kind::kShmem && anonymous_.contains(owner.id);
    const PageHeader open =
        open_header(anonymous ? PageOwner{PageOwner::Kind::kAnonymous, owner.id} : owner);
    put(open.data(), open.size());
    open_ = owner;
  }
  const PageHeader header =
      run_header(owner, {address, pages.size() / kPageBytes, PageRun::kPresent});
  put(header.data(), header.size());
  put(pages.data(), pages.size());
  sent_bytes_ += pages.size();
  return {};
}

Result<> UnitCopy::flush() {
  if (used_ > 0) SSI_TRY(send_({buffer_.data(), used_}));
  used_ = 0;
  return {};
}

}  // namespace ssi::migrate
