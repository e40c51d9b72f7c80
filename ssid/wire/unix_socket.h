// Unix sockets between programs of one machine: bytes, descriptors, and who is at the other end.
//
// All descriptors made here are CLOEXEC. Calls block at most timeout_ms (0: for ever); kGone when
// the other end is closed, kTimeout. Any thread, as far as the kernel allows.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "ssid/base/process_handle.h"
#include "ssid/base/result.h"
#include "ssid/base/unique_fd.h"

namespace ssi {

enum class UnixType {
  kStream,     // bytes
  kSeqPacket,  // messages, with their borders kept
};

// Role: a socket in the file system, removed again on destruction. Made by a composition root.
// What may go wrong: another program listens there (refused); a socket that a dead one left is
// replaced.
class UnixListener {
 public:
  // `mode`: who may connect, for example 0600 or 0666.
  static Result<UnixListener> listen(std::string path, UnixType type, mode_t mode);
  UnixListener(UnixListener&&) noexcept = default;
  UnixListener& operator=(UnixListener&&) noexcept = default;
  ~UnixListener();

  int fd() const { return *fd_; }
  const std::string& path() const { return path_; }
  Result<UniqueFd> accept(std::int64_t timeout_ms);

 private:
  UnixListener(UniqueFd fd, std::string path) : fd_(std::move(fd)), path_(std::move(path)) {}
  UniqueFd fd_;
  std::string path_;
};

// kGone if nobody listens there.
Result<UniqueFd> unix_connect(const std::string& path, UnixType type);

struct UnixPair {
  UniqueFd first;
  UniqueFd second;
};
Result<UnixPair> unix_pair(UnixType type);

// All the bytes; the descriptors travel with the first one, and stay open here. At least one byte.
Result<> unix_send(int fd, std::span<const std::byte> bytes, std::span<const int> descriptors,
                   std::int64_t timeout_ms);

struct UnixMessage {
  std::vector<std::byte> bytes;
  std::vector<UniqueFd> descriptors;
};
// kSeqPacket: one message, refused if it has more than bytes_max. kStream: at least one byte, at
// most bytes_max. More than descriptors_max descriptors: refused, and none is kept. At most 64 of
// them.
Result<UnixMessage> unix_recv(int fd, std::size_t bytes_max, std::size_t descriptors_max,
                              std::int64_t timeout_ms);

// Who connected (as it was when it did): the kernel says so, not the caller.
struct Caller {
  uid_t uid = 0;
  gid_t gid = 0;
  pid_t pid = 0;  // as this PID namespace numbers it; 0: it lives in another one
  std::vector<gid_t> groups;
  ProcessHandle process;  // empty if pid is 0
};
// kGone if it has ended meanwhile.
Result<Caller> caller_of(int fd);

}  // namespace ssi
