// How a stream end handles its descriptor: a pipe's end, the terminal at home, or the terminal made
// for the guest. Used by one stream end, under its lock.
#pragma once

#include <sys/socket.h>
#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "migrate/fds/relay_ends.h"
#include "migrate/streams/terminal.h"
#include "ssid/base/unique_fd.h"

namespace ssi::migrate {

// The default is a pipe.
class StreamDevice {
 public:
  virtual ~StreamDevice() = default;

  // As read(2) and write(2); a write tells how many of the bytes given were dealt with.
  virtual ssize_t read(int fd, char* to, std::size_t size);
  virtual ssize_t write(int fd, const char* from, std::size_t size);
  // Whether the guest may read now; else it is told, as by a kernel, and asked again later.
  virtual bool may_read(int) { return true; }
  // poll(2) does not tell of the end: a read has to be tried.
  virtual bool hides_its_end() const { return false; }
  // Nothing will be written any more: whoever reads there sees the end.
  virtual void end_writing(int) {}
  // Nothing will be read any more: whoever writes there learns it.
  virtual void end_reading(int) {}
  // Whether poll(2) says that nobody reads what is written, and that nobody writes what is read.
  virtual bool unreadable(short events) const;
  virtual bool writers_gone(int fd) const;
  // What was written and is not read yet.
  virtual std::uint64_t unread(int fd);
  // Takes that back; how much it was. The reader stands still.
  virtual std::uint64_t take_back(int fd);
  // The source waits for it, see waits_for_reader().
  virtual bool tells_what_is_read() const { return false; }
  // Before that: so many messages wait there. False: they are not all ours.
  virtual bool expect_messages(int, std::size_t) { return true; }
  // It stays in the queue all the same, which ends with this copy of the guest: should the guest go
  // on here after all, it is not to be written once more.
  virtual bool keeps_what_is_taken_back() const { return false; }
  // What is read has a return before each newline, which whoever writes it on has to find together.
  virtual bool has_returns() const { return false; }
  // One piece at a time: not a byte more is asked for before the guest has read it.
  virtual bool piecewise() const { return false; }
  // Something was read that did not fit; poll(2) does not know of it.
  virtual bool holds_more() const { return false; }
  // Nothing is read before that of which the reader has been told is dropped.
  virtual bool waits_for_reader() const { return false; }
  // So many bytes, from the first that was not dropped yet on, have been read.
  virtual void drop(int, std::uint64_t) {}

  // Terminals: the settings that go along. `changed` since asked last.
  virtual bool has_state() const { return false; }
  virtual bool state_changed() { return false; }
  virtual std::optional<TerminalState> state(int) { return std::nullopt; }
  // False: not now.
  virtual bool set_state(int, const TerminalState&) { return true; }
};

// A named pipe at home whose writers are gone. To one who opens it anew the kernel does not tell
// that, but for a read that finds nothing; until somebody opens it for writing again.
std::unique_ptr<StreamDevice> home_fifo_at_its_end();

// The user's terminal, whose line discipline does the work. `owner`: the guest's process at home
// (its deputy), for job control.
std::unique_ptr<StreamDevice> home_terminal(pid_t owner);

// The guest's: the master of an external pty (make_external_pty), whose slave must outlive it.
std::unique_ptr<StreamDevice> guest_terminal(int slave);

// A unix socket at home, connected, for streams or for messages: `fd`, a duplicate of the guest's
// own. `sender`: the guest, as this node knows it.
std::unique_ptr<StreamDevice> home_socket(int fd, std::optional<ucred> sender);

// Our end of the pair that a guest got for it, or of a connection that it has accepted. `diag`
// tells of the queues of that network namespace; `peer`: who is to have sent what is written.
std::unique_ptr<StreamDevice> guest_socket(int ours, UniqueFd diag, fds::PeerIdentity peer);

// Sends to the guest's own socket of that address (as fds::connect_relay_end has it), once it is
// there: a datagram socket of that network namespace.
std::unique_ptr<StreamDevice> guest_datagrams(std::string address, UniqueFd root);

}  // namespace ssi::migrate
