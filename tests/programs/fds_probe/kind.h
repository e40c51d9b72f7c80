// A thing that fds_probe uses while it is moved, and what those who write one need.
#pragma once

#include <fcntl.h>

#include <cerrno>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>

namespace fds_probe {

using Number = unsigned long long;

inline void expect(bool right, const char* what) {
  if (!right) throw std::runtime_error(std::string(what) + " (" + std::strerror(errno) + ")");
}

inline int open_new(const std::string& path, int flags = 0) {
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | flags, 0644);
  expect(fd >= 0, "make a file");
  return fd;
}

// In use from its constructor on; throws if something is wrong. What a signal handler sets is a
// private static of its class, as a handler is passed nothing of ours.
class Kind {
 public:
  virtual ~Kind() = default;
  virtual void round(Number n) = 0;  // 1, 2, ..
  virtual void end(Number) {}        // after so many rounds
};

using Maker = std::function<std::unique_ptr<Kind>(const std::string& dir)>;
template <typename T>
Maker make() {
  return [](const std::string& dir) { return std::make_unique<T>(dir); };
}

using Makers = std::map<std::string, Maker>;  // by the kind's name

}  // namespace fds_probe
