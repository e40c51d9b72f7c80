// A TCP connection, of a process that stands still, that has more to send than it has sent. Its
// kernel would go on: paced, or when the device takes more, without anything being acknowledged.
// Who got something of it after the dump would acknowledge what the copy has never said, and the
// copy would not believe it. So the window of its peer is made to end where it has got to; all that
// was sent, acknowledgements and retransmissions go on.
//
// Source: tcp(7), TCP_REPAIR_WINDOW in linux/tcp.h.
#pragma once

#include <cstdint>
#include <optional>

#include "ssid/base/result.h"
#include "ssid/base/unique_fd.h"

namespace ssi::net {

class HeldSender {
 public:
  // Of a duplicate of the process's own. Nothing may come for it from the network meanwhile. None:
  // it has nothing more to send. Any thread; needs CAP_NET_ADMIN.
  static Result<std::optional<HeldSender>> hold(UniqueFd socket);
  // The process goes on here after all.
  Result<> let_go() const;

  std::uint64_t inode() const { return inode_; }
  std::uint32_t window_bytes() const { return window_bytes_; }  // as it was

 private:
  HeldSender(UniqueFd socket, std::uint64_t inode, std::uint32_t window_bytes)
      : socket_(std::move(socket)), inode_(inode), window_bytes_(window_bytes) {}
  UniqueFd socket_;
  std::uint64_t inode_;
  std::uint32_t window_bytes_;
};

}  // namespace ssi::net
