#include "migrate/streams/stream_end.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>

namespace ssi::migrate {
namespace {

ByteSpan bytes_of(const StreamFrame& frame) {
  return {reinterpret_cast<const std::uint8_t*>(&frame), sizeof(frame)};
}

}  // namespace

Result<UniqueFd> reopen_nonblocking(int fd, int access_mode) {
  const std::string path = "/proc/self/fd/" + std::to_string(fd);
  UniqueFd opened(::open(path.c_str(), access_mode | O_NONBLOCK | O_CLOEXEC | O_NOCTTY));
  if (!opened) return Error::from_errno("open the stream's descriptor again");
  return opened;
}

StreamEnd::StreamEnd(UniqueFd fd, std::unique_ptr<StreamDevice> device)
    : device_(device ? std::move(device) : std::make_unique<StreamDevice>()),
      fd_(std::move(fd)),
      wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  SSI_CHECK(wake_);
}

void StreamEnd::start(void (*run)(StreamEnd&)) {
  thread_ = std::thread([this, run] { run(*this); });
}

void StreamEnd::stop() {
  {
    std::lock_guard lock(mutex_);
    stopped_ = true;
    if (channel_) channel_->abort();
    channel_.reset();
  }
  wake_all();
  if (thread_.joinable()) thread_.join();
}

void StreamEnd::wake() {
  const std::uint64_t one = 1;
  (void)!::write(*wake_, &one, sizeof(one));
}

void StreamEnd::wake_all() {
  wake();
  changed_.notify_all();
}

void StreamEnd::connect(StreamChannel channel, std::uint64_t position) {
  {
    std::lock_guard lock(mutex_);
    if (channel_ && channel_ != channel) channel_->abort();
    channel_ = std::move(channel);
    home_lacks_it_ = false;
    on_connect(position);
  }
  wake_all();
}

std::uint64_t StreamEnd::position() const {
  std::lock_guard lock(mutex_);
  return position_locked();
}

void StreamEnd::disconnect(const Channel* channel) {
  std::lock_guard lock(mutex_);
  if (channel_.get() == channel) channel_.reset();
  changed_.notify_all();
}

void StreamEnd::give_up() {
  {
    std::lock_guard lock(mutex_);
    finished_ = true;
    gone_ = true;
  }
  wake_all();
}

Result<UniqueFd> StreamEnd::duplicate() const {
  std::lock_guard lock(mutex_);
  if (!fd_) return Error(ErrorCode::kGone, "nobody has it any more");
  UniqueFd fd(::fcntl(*fd_, F_DUPFD_CLOEXEC, 0));
  if (!fd) return Error::from_errno("duplicate a descriptor");
  return fd;
}

bool StreamEnd::finished() const {
  std::lock_guard lock(mutex_);
  return finished_;
}

bool StreamEnd::over_at_home() const {
  std::lock_guard lock(mutex_);
  return finished_ && home_lacks_it_;
}

void StreamEnd::set_home_lacks_it(bool lacks) {
  {
    std::lock_guard lock(mutex_);
    home_lacks_it_ = lacks;
  }
  changed_.notify_all();
}

bool StreamEnd::send(std::unique_lock<std::mutex>& lock, const StreamFrame& frame, ByteSpan data) {
  const StreamChannel channel = channel_;
  if (!channel) return false;
  lock.unlock();
  const bool sent = channel->send({bytes_of(frame), data}).ok();
  lock.lock();
  if (!sent && channel_ == channel) {
    channel->abort();  // whoever receives on it finds out, too
    channel_.reset();
  }
  return sent && channel_ == channel;
}

short StreamEnd::wait(std::unique_lock<std::mutex>& lock, bool want_fd, short events,
                      int timeout_ms) {
  pollfd entries[2] = {{*wake_, POLLIN, 0}, {want_fd ? *fd_ : -1, events, 0}};
  lock.unlock();
  const int ready = ::poll(entries, 2, timeout_ms);
  if (ready > 0 && entries[0].revents != 0) {
    std::uint64_t count = 0;
    (void)!::read(*wake_, &count, sizeof(count));
  }
  lock.lock();
  return ready > 0 ? entries[1].revents : short{0};
}

}  // namespace ssi::migrate
