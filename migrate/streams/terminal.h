// A terminal's settings and size as plain values, and the two pseudo-terminal tricks that relaying
// needs. Thread-safe: nothing is kept.
#pragma once

#include <cstdint>

#include "ssid/base/result.h"
#include "ssid/base/unique_fd.h"

namespace ssi::migrate {

// As it goes over the wire: fixed layout, little-endian. Fields of termios(3) and winsize.
struct TerminalState {
  std::uint32_t input = 0, output = 0, control = 0, local = 0;
  std::uint8_t characters[32] = {};
  std::uint16_t rows = 0, columns = 0, x_pixels = 0, y_pixels = 0;

  bool operator==(const TerminalState&) const = default;
};
static_assert(sizeof(TerminalState) == 56);

Result<TerminalState> read_terminal(int fd);

// Sets modes, special characters and (if it has one) size; the line's speed stays. `external`: the
// line discipline is somewhere else (EXTPROC): what is written to the master reaches the reader
// untouched, but a single end-of-file character still reads as end of file, and every change of
// the settings is told to the master.
Result<> set_terminal(int fd, const TerminalState& state, bool external);

// Whether it is so: a program may have put an end to it.
bool is_external(int fd);

// A pseudo-terminal whose line discipline is at home.
struct PtyPair {
  UniqueFd master;  // packet mode, non-blocking
  UniqueFd slave;   // kept by us: it never looks closed to the master
};
Result<PtyPair> make_external_pty();

}  // namespace ssi::migrate
