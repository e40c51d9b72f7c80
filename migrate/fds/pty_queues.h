// What is on its way through a pseudo-terminal: keys that were sent and not read yet, output that
// was written and not read yet. criu would put it through the line discipline a second time (echo,
// "\r\r\n") and lose a line that is being typed; so the queues are empty when it looks, and are
// filled again here.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "migrate/fds/pty.h"
#include "ssid/base/result.h"
#include "ssid/base/unique_fd.h"

namespace ssi::fds {

// One line, if the terminal works in lines.
struct PtyInput {
  enum class End : std::uint8_t { kNone, kCharacter, kEndOfFile };
  std::string bytes;  // with the character that ends it, if that is one
  End end = End::kNone;
  bool operator==(const PtyInput&) const = default;
};

struct PtyQueues {
  std::vector<PtyInput> input;
  std::string output;
};

// Of one message, and what the kernel takes without anybody reading (N_TTY_BUF_SIZE, 4096).
inline constexpr std::size_t kPtyInputMax = 4000;    // bytes, and lines
inline constexpr std::size_t kPtyOutputMax = 12288;  // bytes
inline constexpr std::size_t kPtysMax = 64;

// Both sides of one whose processes stand still. Whoever has one keeps the terminal open. Owned by
// one thread.
class StillPty {
 public:
  // kNone: no slave was ever opened. That must stay so: the slave's first closing is what its
  // master's reader is told.
  enum class Slave : std::uint8_t { kNone, kClosed, kOpen };

  // `master`: the process's own open file. The slave is opened if there was one ever.
  static Result<StillPty> hold(UniqueFd master, bool slave_open);
  // Where it was made anew and nobody has closed a slave yet.
  static Result<StillPty> hold_new(UniqueFd master, Slave slave);

  Slave slave() const { return state_; }
  // Empties the queues. kBusy: there is more in them than can go along; what was taken is to be
  // put back.
  Result<> take(PtyQueues& queues) const;
  // Into empty ones; they are then as they were when it was taken.
  Result<> put(const PtyQueues& queues) const;

 private:
  StillPty(UniqueFd master, UniqueFd slave, Slave state)
      : master_(std::move(master)), slave_(std::move(slave)), state_(state) {}
  UniqueFd master_, slave_;
  Slave state_;
};

// A pair that moves, as the target has to know it.
struct MovedPty {
  pid_t pid = 0;    // at home: somebody who has the master
  int master = -1;  // descriptor
  StillPty::Slave slave = StillPty::Slave::kNone;
  PtyQueues queues;
};

}  // namespace ssi::fds
