#include "migrate/pages/page_stream.h"

#include <algorithm>
#include <cstring>

namespace ssi::migrate {
namespace {

// Commands of criu's page server; the upper half of `cmd` carries the flags of ADD_F.
constexpr std::uint32_t kOpen2 = 4;
constexpr std::uint32_t kParent = 5;
constexpr std::uint32_t kAddF = 6;
constexpr std::uint32_t kClose = 0x1023;
constexpr std::uint32_t kForceClose = 0x1024;

template <typename T>
T load(const std::uint8_t* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

std::uint64_t id_of(PageOwner owner) {
  return (owner.id << 8) | static_cast<std::uint64_t>(owner.kind);
}

PageHeader header(std::uint32_t cmd, std::uint64_t pages, std::uint64_t vaddr, PageOwner owner) {
  PageHeader bytes{};
  const std::uint64_t id = id_of(owner);
  std::memcpy(bytes.data(), &cmd, sizeof cmd);
  std::memcpy(bytes.data() + 8, &pages, sizeof pages);
  std::memcpy(bytes.data() + 16, &vaddr, sizeof vaddr);
  std::memcpy(bytes.data() + 24, &id, sizeof id);
  return bytes;
}

Result<PageOwner> owner_of(std::uint64_t dst_id) {
  PageOwner owner{static_cast<PageOwner::Kind>(dst_id & 0xff), dst_id >> 8};
  if (owner.kind < PageOwner::Kind::kProcess || owner.kind > PageOwner::Kind::kAnonymous) {
    return Error("page stream: unknown kind of memory " + std::to_string(dst_id & 0xff));
  }
  return owner;
}

}  // namespace

PageHeader open_header(PageOwner owner) { return header(kOpen2, 0, 0, owner); }

PageHeader run_header(PageOwner owner, const PageRun& run) {
  return header(kAddF | (run.flags << 16), run.pages, run.vaddr, owner);
}

Result<> PageStreamParser::feed(std::span<const std::uint8_t> bytes) {
  while (!bytes.empty()) {
    if (closed_) return Error("page stream: bytes after its end");
    if (data_left_ > 0) {
      const auto n = static_cast<std::size_t>(std::min<std::uint64_t>(data_left_, bytes.size()));
      SSI_TRY(handler_.on_data(bytes.first(n)));
      data_left_ -= n;
      bytes = bytes.subspan(n);
      continue;
    }
    const std::size_t n = std::min(header_left(), bytes.size());
    std::memcpy(header_.data() + header_used_, bytes.data(), n);
    header_used_ += n;
    bytes = bytes.subspan(n);
    if (header_used_ == kHeaderBytes) {
      header_used_ = 0;
      SSI_TRY(on_header());
    }
  }
  return {};
}

Result<> PageStreamParser::on_header() {
  const auto cmd = load<std::uint32_t>(header_.data());
  const auto pages = load<std::uint64_t>(header_.data() + 8);
  const auto vaddr = load<std::uint64_t>(header_.data() + 16);
  const auto dst_id = load<std::uint64_t>(header_.data() + 24);
  switch (cmd) {
    case kClose:
    case kForceClose:
      closed_ = true;
      return handler_.on_close();
    case kOpen2: {
      SSI_ASSIGN(const PageOwner owner, owner_of(dst_id));
      opened_ = true;
      return handler_.on_open(owner);
    }
    case kParent: {
      SSI_ASSIGN(const PageOwner owner, owner_of(dst_id));
      return handler_.on_parent_query(owner);
    }
    default:
      break;
  }
  if ((cmd & 0xffff) != kAddF) {
    return Error("page stream: unknown command " + std::to_string(cmd));
  }
  if (!opened_) return Error("page stream: pages before their owner");
  if (pages == 0 || pages > kMaxRunPages || vaddr % kPageBytes != 0 || vaddr > kMaxAddress) {
    return Error("page stream: wrong run of pages");
  }
  const PageRun run{vaddr, pages, cmd >> 16};
  SSI_TRY(handler_.on_run(run));
  if (run.has_data()) data_left_ = pages * kPageBytes;
  return {};
}

}  // namespace ssi::migrate
