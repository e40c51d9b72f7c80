#include "tests/lab/init/pump.h"

#include <unistd.h>

#include <cerrno>

namespace ssi::lab {

pollfd Pump::wanted() const {
  if (done_) return {-1, 0, 0};
  if (begin_ < end_) return {to_, POLLOUT, 0};
  return {from_, POLLIN, 0};
}

bool Pump::flush() {
  while (begin_ < end_) {
    const ssize_t written = ::write(to_, buffer_.data() + begin_, end_ - begin_);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return errno == EAGAIN;
    begin_ += static_cast<size_t>(written);
  }
  return true;
}

bool Pump::step(short revents) {
  if (done_ || revents == 0) return false;
  if (begin_ == end_) {
    const ssize_t size = ::read(from_, buffer_.data(), buffer_.size());
    if (size < 0 && (errno == EINTR || errno == EAGAIN)) return false;
    if (size <= 0) {
      done_ = true;  // end of file; EIO is how a terminal says it
      return true;
    }
    begin_ = 0;
    end_ = static_cast<size_t>(size);
  }
  if (!flush()) done_ = true;
  return true;
}

}  // namespace ssi::lab
