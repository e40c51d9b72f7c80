#include "migrate/pages/unit_copy.h"

#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <string_view>

#include "migrate/criu/memfd_image.h"
#include "migrate/pages/memory_file.h"
#include "migrate/pages/pagemap_scan.h"
#include "ssid/base/unique_fd.h"

namespace ssi::migrate {
namespace {

constexpr std::size_t kReadBytes = 256 * kPageBytes;
constexpr int kPassesMax = 6;
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

UnitCopy::UnitCopy(std::vector<Process> processes, const PageWriter::Send& send)
    : processes_(std::move(processes)), writer_(send), anonymous_(send), read_(kReadBytes) {}

Result<> UnitCopy::run() {
  std::uint64_t before = ~std::uint64_t{0};
  for (int i = 0; i < kPassesMax && why_not_.empty(); ++i) {
    const std::uint64_t sent = sent_bytes();
    SSI_TRY(pass());
    const std::uint64_t now = sent_bytes() - sent;
    // They write as fast as we send: more passes would not help.
    if (now <= kEnoughBytes || now > before / 4 * 3) break;
    before = now;
  }
  return {};
}

Result<> UnitCopy::pass() {
  std::map<unsigned long, UniqueFd> shared;  // each once, whoever has mapped it
  for (const Process& process : processes_) {
    SSI_TRY(send_private(process));
    for (const Mapping& m : mappings_of(process.pid)) {
      if (!is_shared_memory(m) || shared.contains(m.inode) || anonymous_.has(m.inode)) continue;
      char path[96];
      std::snprintf(path, sizeof path, "/proc/%d/map_files/%lx-%lx", process.pid, m.area.begin,
                    m.area.end);
      UniqueFd file(::open(path, O_RDONLY | O_CLOEXEC));
      if (!file) continue;
      if (is_anonymous(m) && anonymous_.has_room()) {
        anonymous_.add(m.inode, std::move(file));
      } else {
        shared.emplace(m.inode, std::move(file));
      }
    }
  }
  for (const auto& [inode, file] : shared) {
    SSI_TRY(send_shared(*file, {PageOwner::Kind::kShmem, inode}));
  }
  SSI_TRY(writer_.flush());
  return anonymous_.pass();
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
      SSI_TRY(writer_.write_news(process.owner, at, {read_.data(), got}));
      at += std::max(got, kPageBytes);
    }
  }
  return {};
}

Result<> UnitCopy::send_shared(int file, PageOwner owner) {
  return for_each_data_range(file, [&](PageRange range) {
    return read_pages(file, range, read_, [&](std::uint64_t at, auto pages) {
      return writer_.write_news(owner, at, pages);
    });
  });
}

}  // namespace ssi::migrate
