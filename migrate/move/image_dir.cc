#include "migrate/move/image_dir.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

namespace ssi::migrate {
namespace fs = std::filesystem;
namespace {
constexpr std::size_t kPartBytes = 1u << 20;
constexpr std::size_t kChangedBytesMax = 64u << 20;  // some 500,000 descriptors
constexpr std::uint64_t kImageBytesMax = 4ull << 30;
}  // namespace

Result<ImageDir> ImageDir::create(const std::string& root, const std::string& name) {
  const std::string path = root + "/" + name;
  std::error_code ec;
  fs::remove_all(path, ec);
  fs::create_directories(path, ec);
  fs::permissions(root, fs::perms::owner_all, ec);
  if (ec) return Error("make " + path + ": " + ec.message());
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return Error::from_errno("open " + path);
  return ImageDir(path, std::move(fd));
}

ImageDir::~ImageDir() {
  if (!fd_) return;
  std::error_code ec;
  fs::remove_all(path_, ec);
}

std::string ImageDir::read_log(const std::string& name) const {
  std::ifstream in(path_ + "/" + name);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

Result<DumpDone> ImageDir::for_each_part(
    const std::function<Result<>(const ImageFile&)>& send) const {
  DumpDone done;
  std::vector<std::uint8_t> buffer(kPartBytes);
  std::error_code ec;
  for (const auto& entry : fs::directory_iterator(path_, ec)) {
    const std::string name = entry.path().filename().string();
    if (!name.ends_with(".img")) continue;
    UniqueFd file(::openat(*fd_, name.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
    if (!file) return Error::from_errno("open " + name);
    std::uint64_t offset = 0;
    for (;;) {
      const ssize_t n = ::pread(*file, buffer.data(), buffer.size(), static_cast<off_t>(offset));
      if (n < 0) return Error::from_errno("read " + name);
      if (n == 0 && offset > 0) break;
      SSI_TRY(send({name, offset, {buffer.data(), static_cast<std::size_t>(n)}}));
      if (n == 0) break;
      offset += static_cast<std::uint64_t>(n);
    }
    ++done.files;
    done.file_bytes += offset;
  }
  if (ec) return Error("list " + path_ + ": " + ec.message());
  return done;
}

namespace {
Result<std::string> read_image(int file, const std::string& name) {
  struct stat st {};
  if (::fstat(file, &st) != 0 || static_cast<std::size_t>(st.st_size) > kChangedBytesMax) {
    return Error(name + " can't be read");
  }
  std::string image(static_cast<std::size_t>(st.st_size), '\0');
  const ssize_t n = ::pread(file, image.data(), image.size(), 0);
  if (n != st.st_size) return Error(name + " can't be read");
  return image;
}
}  // namespace

Result<std::string> ImageDir::read(const std::string& name) const {
  UniqueFd file(::openat(*fd_, name.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!file) return Error::from_errno("open " + name);
  return read_image(*file, name);
}

Result<> ImageDir::change(
    const std::string& name,
    const std::function<Result<std::string>(std::string_view)>& change) const {
  UniqueFd file(::openat(*fd_, name.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
  if (!file && errno == ENOENT) return {};
  if (!file) return Error::from_errno("open " + name);
  SSI_ASSIGN(const std::string image, read_image(*file, name));
  SSI_ASSIGN(const std::string changed, change(image));
  if (::ftruncate(*file, 0) != 0 ||
      ::pwrite(*file, changed.data(), changed.size(), 0) != static_cast<ssize_t>(changed.size())) {
    return Error::from_errno("write " + name);
  }
  return {};
}

std::vector<std::string> ImageDir::names(std::string_view prefix) const {
  std::vector<std::string> found;
  std::error_code ec;
  for (const auto& entry : fs::directory_iterator(path_, ec)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(prefix) && name.ends_with(".img")) found.push_back(name);
  }
  return found;
}

Result<> ImageDir::write_part(const ImageFile& part) {
  if (part.offset > kImageBytesMax) return Error("image " + part.name + " is too large");
  UniqueFd file(
      ::openat(*fd_, part.name.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file) return Error::from_errno("make " + part.name);
  const ssize_t n =
      ::pwrite(*file, part.data.data(), part.data.size(), static_cast<off_t>(part.offset));
  if (n != static_cast<ssize_t>(part.data.size())) return Error::from_errno("write " + part.name);
  return {};
}

Result<> ImageDir::write_sent_memory(std::span<const SentMemory> memory) const {
  UniqueFd file(::openat(*fd_, kSentMemoryFile, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!file) return Error::from_errno("make " + std::string(kSentMemoryFile));
  const ssize_t n = ::write(*file, memory.data(), memory.size_bytes());
  if (n != static_cast<ssize_t>(memory.size_bytes())) {
    return Error::from_errno("write " + std::string(kSentMemoryFile));
  }
  return {};
}

}  // namespace ssi::migrate
