#include "migrate/pages/page_images.h"

#include <fcntl.h>
#include <unistd.h>

#include "criu_images.pb.h"

namespace ssi::migrate {
namespace {

constexpr std::uint32_t kImgCommonMagic = 0x54564319;
constexpr std::uint32_t kPagemapMagic = 0x56084025;

void append_u32(std::string& out, std::uint32_t value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

template <typename Message>
void append_entry(std::string& out, const Message& message) {
  append_u32(out, static_cast<std::uint32_t>(message.ByteSizeLong()));
  message.AppendToString(&out);
}

Result<> write_all(int fd, const void* data, std::size_t size) {
  const char* at = static_cast<const char*>(data);
  while (size > 0) {
    const ssize_t n = ::write(fd, at, size);
    if (n < 0) return Error::from_errno("write page image");
    at += n;
    size -= static_cast<std::size_t>(n);
  }
  return {};
}

Result<UniqueFd> make_file(int dir, const std::string& name) {
  UniqueFd fd(::openat(dir, name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!fd) return Error::from_errno("make " + name);
  return fd;
}

}  // namespace

Result<> PageImages::on_open(PageOwner owner) {
  if (owner.kind == PageOwner::Kind::kAnonymous) return Error("memory out of turn");
  SSI_TRY(flush_map());
  owner_ = owner;
  given_ = staged_.is_anonymous(owner);
  SSI_ASSIGN(memory_,
             staged_.of(given_ ? PageOwner{PageOwner::Kind::kAnonymous, owner.id} : owner));
  const std::string id = std::to_string(owner.id);
  const std::uint32_t pages_id = next_pages_id_++;
  SSI_ASSIGN(map_, make_file(dir_fd_, owner.kind == PageOwner::Kind::kProcess
                                          ? "pagemap-" + id + ".img"
                                          : "pagemap-shmem-" + id + ".img"));
  SSI_ASSIGN(pages_, make_file(dir_fd_, "pages-" + std::to_string(pages_id) + ".img"));
  append_u32(map_buffer_, kImgCommonMagic);
  append_u32(map_buffer_, kPagemapMagic);
  image::pagemap_head head;
  head.set_pages_id(pages_id);
  append_entry(map_buffer_, head);
  return {};
}

Result<> PageImages::on_run(const PageRun& run) {
  PageRun entry = run;
  to_staged_ = run.lazy() && owner_ == PageOwner{PageOwner::Kind::kProcess, alone_};
  if (given_) {
    to_staged_ = true;
    if (run.has_data()) SSI_TRY(memory_->begin(run.range()));
    return memory_->keep(run.range());
  }
  if (to_staged_) {
    if (run.has_data()) SSI_TRY(memory_->begin(run.range()));
    SSI_TRY(memory_->keep(run.range()));
    entry.flags = PageRun::kLazy;
  } else {
    if (!run.has_data()) SSI_TRY(memory_->copy_to(*pages_, run.range()));
    entry.flags = PageRun::kPresent;
  }
  add_entry(entry);
  return {};
}

void PageImages::add_entry(const PageRun& run) {
  if (entry_.pages > 0 && entry_.flags == run.flags && entry_.range().end == run.vaddr) {
    entry_.pages += run.pages;
    return;
  }
  if (entry_.pages > 0) {
    image::pagemap_entry entry;
    entry.set_vaddr(entry_.vaddr);
    entry.set_compat_nr_pages(0);
    entry.set_nr_pages(entry_.pages);
    entry.set_flags(entry_.flags);
    append_entry(map_buffer_, entry);
  }
  entry_ = run;
}

Result<> PageImages::on_data(std::span<const std::uint8_t> bytes) {
  bytes_ += bytes.size();
  if (to_staged_) return memory_->add(bytes);
  return write_all(*pages_, bytes.data(), bytes.size());
}

Result<> PageImages::on_close() { return flush_map(); }

Result<> PageImages::flush_map() {
  if (!map_) return {};
  add_entry({});
  SSI_TRY(write_all(*map_, map_buffer_.data(), map_buffer_.size()));
  map_buffer_.clear();
  map_.reset();
  pages_.reset();
  return {};
}

}  // namespace ssi::migrate
