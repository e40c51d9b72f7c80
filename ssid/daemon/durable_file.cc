#include "ssid/daemon/durable_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/asio/post.hpp>
#include <filesystem>
#include <span>

#include "ssid/base/unique_fd.h"

namespace ssi {
namespace {

Result<> write_all(int fd, std::span<const std::uint8_t> bytes) {
  while (!bytes.empty()) {
    const ssize_t done = ::write(fd, bytes.data(), bytes.size());
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) return Error::from_errno("write");
    bytes = bytes.subspan(static_cast<std::size_t>(done));
  }
  return {};
}

Result<> replace(const std::string& path, std::span<const std::uint8_t> bytes) {
  const std::string beside = path + ".new";
  {
    const UniqueFd fd(
        ::open(beside.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!fd) return Error::from_errno("create " + beside);
    SSI_TRY(write_all(*fd, bytes).context(beside));
    if (::fsync(*fd) < 0) return Error::from_errno("fsync " + beside);
  }
  if (::rename(beside.c_str(), path.c_str()) < 0) return Error::from_errno("rename to " + path);
  const std::string directory = std::filesystem::path(path).parent_path();
  const UniqueFd fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd || ::fsync(*fd) < 0) return Error::from_errno("fsync " + directory);
  return {};
}

}  // namespace

DurableFile::DurableFile(boost::asio::io_context& io, std::string path, Written written)
    : io_(io), path_(std::move(path)), written_(std::move(written)), thread_([this] { run(); }) {}

DurableFile::~DurableFile() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

void DurableFile::write(std::uint64_t number, std::vector<std::uint8_t> bytes) {
  {
    const std::lock_guard lock(mutex_);
    next_ = Job{number, std::move(bytes)};
  }
  wake_.notify_all();
}

void DurableFile::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    wake_.wait(lock, [this] { return stop_ || next_; });
    if (stop_) return;
    const Job job = std::move(*next_);
    next_.reset();
    lock.unlock();
    boost::asio::post(io_, [this, number = job.number, done = replace(path_, job.bytes)] {
      written_(number, done);
    });
    lock.lock();
  }
}

Result<std::vector<std::uint8_t>> DurableFile::read(const std::string& path,
                                                    std::size_t bytes_max) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd && errno == ENOENT) return std::vector<std::uint8_t>();
  if (!fd) return Error::from_errno("open " + path);
  std::vector<std::uint8_t> bytes;
  std::uint8_t piece[64 * 1024];
  for (;;) {
    const ssize_t got = ::read(*fd, piece, sizeof piece);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return Error::from_errno("read " + path);
    if (got == 0) return bytes;
    bytes.insert(bytes.end(), piece, piece + got);
    if (bytes.size() > bytes_max) return Error(path + ": too large");
  }
}

}  // namespace ssi
