#include "migrate/streams/stream_device.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>

#include "migrate/streams/stream_end.h"

namespace ssi::migrate {
namespace {

class FifoAtItsEnd final : public StreamDevice {
 public:
  ssize_t read(int fd, char* to, std::size_t size) override {
    const ssize_t got = ::read(fd, to, size);
    if (got < 0 && errno == EAGAIN) has_writers_ = true;
    return got;
  }
  bool hides_its_end() const override { return !has_writers_; }

 private:
  bool has_writers_ = false;
};

}  // namespace

std::unique_ptr<StreamDevice> home_fifo_at_its_end() { return std::make_unique<FifoAtItsEnd>(); }

ssize_t StreamDevice::read(int fd, char* to, std::size_t size) { return ::read(fd, to, size); }

ssize_t StreamDevice::write(int fd, const char* from, std::size_t size) {
  return ::write(fd, from, size);
}

bool StreamDevice::unreadable(short events) const { return (events & POLLERR) != 0; }

bool StreamDevice::writers_gone(int fd) const {
  pollfd entry{fd, POLLIN, 0};
  return ::poll(&entry, 1, 0) > 0 && (entry.revents & POLLHUP) != 0;
}

std::uint64_t StreamDevice::unread(int fd) {
  int unread = 0;
  if (::ioctl(fd, FIONREAD, &unread) != 0 || unread < 0) return 0;
  return static_cast<std::uint64_t>(unread);
}

std::uint64_t StreamDevice::take_back(int fd) {
  // Through an own opening of the pipe; nobody else reads now.
  const auto reader = reopen_nonblocking(fd, O_RDONLY);
  if (!reader) return 0;
  std::uint64_t taken = 0;
  char bytes[16 << 10];
  for (ssize_t got; (got = ::read(**reader, bytes, sizeof bytes)) > 0;) {
    taken += static_cast<std::uint64_t>(got);
  }
  return taken;
}

}  // namespace ssi::migrate
