#include "migrate/pages/pager.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <utility>
#include <vector>

namespace ssi::migrate {
namespace {

constexpr std::uint64_t kFaultBytes = 128u << 10;       // installed around a touched page
constexpr std::uint64_t kBackgroundBytes = 256u << 10;  // installed between two looks for faults
// If nobody says that the process runs (ssid died just then), it is taken to run.
constexpr auto kGoTimeout = std::chrono::seconds(2);
constexpr auto kEventTimeout = std::chrono::seconds(10);
constexpr std::uint64_t kIndexPiecesMax = 1u << 24;

Result<std::vector<StagedPiece>> read_index(int fd) {
  struct stat st;
  if (::fstat(fd, &st) != 0) return Error::from_errno("index of memory");
  const auto bytes = static_cast<std::size_t>(st.st_size);
  if (bytes % sizeof(StagedPiece) != 0 || bytes / sizeof(StagedPiece) > kIndexPiecesMax) {
    return Error("the index of memory is damaged");
  }
  std::vector<StagedPiece> pieces(bytes / sizeof(StagedPiece));
  if (::pread(fd, pieces.data(), bytes, 0) != st.st_size) {
    return Error::from_errno("read the index of memory");
  }
  return pieces;
}

}  // namespace

Result<Pager> Pager::open(PagerFiles files) {
  SSI_ASSIGN(const auto pieces, read_index(*files.index));
  struct stat st;
  if (::fstat(*files.data, &st) != 0) return Error::from_errno("staged memory");
  const auto data_bytes = static_cast<std::uint64_t>(st.st_size);
  Pager pager;
  Memory& memory = pager.memories_.emplace_back();
  std::uint64_t at = 0;
  for (const StagedPiece& p : pieces) {
    const bool good = p.pages.begin >= at && p.pages.begin < p.pages.end &&
                      p.pages.begin % kPageBytes == 0 && p.pages.end % kPageBytes == 0 &&
                      p.offset % kPageBytes == 0 && p.offset <= data_bytes &&
                      p.pages.bytes() <= data_bytes - p.offset;
    if (!good) return Error("the index of memory is damaged");
    at = p.pages.end;
    memory.left.insert(p);
  }
  memory.uffd = std::move(files.uffd);
  pager.data_ = std::move(files.data);
  pager.go_ = std::move(files.go);
  pager.mapping_bytes_ = static_cast<std::size_t>(data_bytes);
  if (data_bytes == 0) return pager;
  void* mapped = ::mmap(nullptr, pager.mapping_bytes_, PROT_READ, MAP_SHARED, *pager.data_, 0);
  if (mapped == MAP_FAILED) return Error::from_errno("map the staged memory");
  pager.mapping_ = static_cast<std::uint8_t*>(mapped);
  return pager;
}

Pager::Pager(Pager&& other) noexcept
    : memories_(std::move(other.memories_)),
      data_(std::move(other.data_)),
      go_(std::move(other.go_)),
      forked_(other.forked_),
      gone_on_(other.gone_on_),
      started_(other.started_),
      mapping_(std::exchange(other.mapping_, nullptr)),
      mapping_bytes_(other.mapping_bytes_) {}

Pager::~Pager() {
  if (mapping_ != nullptr) ::munmap(mapping_, mapping_bytes_);
}

Result<> Pager::run() {
  for (;;) {
    event_due_ = false;
    for (auto it = memories_.begin(); it != memories_.end();) {
      SSI_TRY(take_events(*it));  // may add a memory at the end
      SSI_TRY(answer_faults(*it));
      if (it->ended || it->left.empty()) {
        it = memories_.erase(it);  // closes: the kernel no longer asks
      } else {
        ++it;
      }
    }
    if (memories_.empty()) return {};
    if (filling() && !event_due_) {
      Memory& memory = memories_.front();
      const PageRange next = memory.left.first()->pages;
      SSI_TRY(fill(memory, {next.begin, std::min(next.end, next.begin + kBackgroundBytes)}));
    }
    SSI_TRY(wait());
  }
}

bool Pager::filling() const {
  return gone_on_ || std::chrono::steady_clock::now() - started_ > kGoTimeout;
}

bool Pager::anybody_waits() const {
  return std::ranges::any_of(memories_, [](const Memory& m) { return !m.faults.empty(); });
}

Result<> Pager::wait() {
  std::vector<pollfd> polled;
  for (const Memory& m : memories_) polled.push_back({*m.uffd, POLLIN, 0});
  if (!gone_on_) polled.push_back({*go_, POLLIN, 0});
  const int timeout_ms = event_due_ ? 1 : filling() || anybody_waits() ? 0 : 100;
  if (::poll(polled.data(), polled.size(), timeout_ms) < 0 && errno != EINTR) {
    return Error::from_errno("poll");
  }
  if (!gone_on_ && polled.back().revents != 0) gone_on_ = true;
  return {};
}

Result<> Pager::take_events(Memory& memory) {
  for (;;) {
    uffd_msg m;
    const ssize_t n = ::read(*memory.uffd, &m, sizeof m);
    if (n < 0 && errno == EAGAIN) return {};
    if (n < 0 && errno == EINTR) continue;
    if (n != sizeof m) return Error::from_errno("read what the process touched");
    if (m.event != UFFD_EVENT_PAGEFAULT) due_since_.reset();
    switch (m.event) {
      case UFFD_EVENT_PAGEFAULT:
        memory.faults.push_back(m.arg.pagefault.address & ~(std::uint64_t{kPageBytes} - 1));
        break;
      case UFFD_EVENT_FORK: {
        // Nothing was installed between the copy of the page tables and this event: what the parent
        // lacks the child lacks.
        forked_ = true;
        Memory& child = memories_.emplace_back();
        child.uffd = UniqueFd(static_cast<int>(m.arg.fork.ufd));
        child.left = memory.left;
        break;
      }
      case UFFD_EVENT_REMAP:
        memory.left.shift(m.arg.remap.from, m.arg.remap.to, m.arg.remap.len);
        break;
      case UFFD_EVENT_REMOVE:
      case UFFD_EVENT_UNMAP:
        memory.left.drop({m.arg.remove.start, m.arg.remove.end});
        break;
      default:
        return Error("unknown event of the process's memory");
    }
  }
}

Result<> Pager::answer_faults(Memory& memory) {
  for (const std::uint64_t address : std::exchange(memory.faults, {})) {
    if (event_due_) {
      memory.faults.push_back(address);
    } else {
      SSI_TRY(on_fault(memory, address));
    }
  }
  return {};
}

Result<> Pager::on_fault(Memory& memory, std::uint64_t address) {
  if (memory.left.covers({address, address + kPageBytes})) {
    const std::uint64_t begin = address & ~(kFaultBytes - 1);
    // First what is waited for.
    SSI_TRY(fill(memory, {address, begin + kFaultBytes}));
    SSI_TRY(fill(memory, {begin, address}));
    // Not installed, as an event comes first.
    if (memory.left.covers({address, address + kPageBytes})) memory.faults.push_back(address);
    return {};
  }
  // It has never held anything, or it is there by now, or nothing is any more.
  uffdio_zeropage zero{};
  zero.range = {address, kPageBytes};
  if (::ioctl(*memory.uffd, UFFDIO_ZEROPAGE, &zero) == 0) return {};
  if (errno == ESRCH) {
    memory.ended = true;
    return {};
  }
  if (errno != EAGAIN) {
    wake(memory, address);
    return {};
  }
  memory.faults.push_back(address);
  return expect_event();
}

void Pager::wake(const Memory& memory, std::uint64_t address) {
  uffdio_range page{address, kPageBytes};
  ::ioctl(*memory.uffd, UFFDIO_WAKE, &page);
}

Result<> Pager::fill(Memory& memory, PageRange range) {
  for (const StagedPiece& piece : memory.left.find(range)) {
    if (event_due_) return {};
    SSI_TRY(install(memory, piece));
  }
  return {};
}

// Installs what it can of the piece; what an event has to be read for first is left.
Result<> Pager::install(Memory& memory, const StagedPiece& piece) {
  std::uint64_t done = 0;
  std::uint64_t step = piece.pages.bytes();
  while (done < piece.pages.bytes()) {
    uffdio_copy copy{};
    copy.dst = piece.pages.begin + done;
    copy.src = reinterpret_cast<std::uint64_t>(mapping_) + piece.offset + done;
    copy.len = std::min(step, piece.pages.bytes() - done);
    std::uint64_t installed = 0;
    if (::ioctl(*memory.uffd, UFFDIO_COPY, &copy) == 0) {
      installed = copy.len;
    } else if (errno == EAGAIN && copy.copy > 0) {
      installed = static_cast<std::uint64_t>(copy.copy);
    } else if (errno == EEXIST) {
      wake(memory, copy.dst);
      installed = kPageBytes;
    } else if (errno == ENOENT && copy.len > kPageBytes) {
      step = kPageBytes;  // the kernel copies into one mapping at a time: find where it ends
      continue;
    } else if (errno == EAGAIN || errno == ENOENT) {
      return expect_event();
    } else if (errno == ESRCH) {
      memory.ended = true;
      return {};
    } else {
      return Error::from_errno("install memory");
    }
    due_since_.reset();
    step = step == kPageBytes ? piece.pages.bytes() : step;
    memory.left.drop({copy.dst, copy.dst + installed});
    // Two copies of the memory are held only for as long as needed.
    if (!forked_) {
      ::fallocate(*data_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                  static_cast<off_t>(piece.offset + done), static_cast<off_t>(installed));
    }
    done += installed;
  }
  return {};
}

Result<> Pager::expect_event() {
  event_due_ = true;
  const auto now = std::chrono::steady_clock::now();
  if (!due_since_) due_since_ = now;
  if (now - *due_since_ > kEventTimeout) return Error("memory is mapped no more, unannounced");
  return {};
}

}  // namespace ssi::migrate
