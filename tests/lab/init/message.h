// What lab-enter and the lab's Python say to lab-init: one SOCK_SEQPACKET message at a time, a list
// of fields, each ended by a NUL; descriptors travel beside it. The first field is the verb.
//
//   exec TTY ROWS COLS CWD N_ENV ENV... ARGV...   + 3 descriptors (none with TTY=1)
//        -> started PID (+ the pty's master with TTY=1), then exit CODE | killed SIGNAL
//   signal NUMBER                                 to what was started (see session.cc)
//   service ACTION NAME [SIGNAL]                  stop start restart kill -> ok
//   status                                        -> ok, then per service: NAME STATE PID RESTARTS
//   any of them                                   -> error WHY [127 if the command can't be run]
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "ssid/base/result.h"
#include "ssid/base/unique_fd.h"

namespace ssi::lab {

inline constexpr size_t kMessageBytesMax = 128 * 1024;

struct Message {
  std::vector<std::string> fields;
  std::vector<UniqueFd> fds;
  bool closed = false;  // the peer has gone; no fields

  std::string_view verb() const {
    return fields.empty() ? std::string_view() : std::string_view(fields[0]);
  }
};

// A command to run on a node.
struct ExecRequest {
  bool tty = false;
  unsigned short rows = 0;
  unsigned short cols = 0;
  std::string cwd;
  std::vector<std::string> env;
  std::vector<std::string> argv;
};

// Pure: text to fields and back. A last field without its NUL is refused.
std::string encode(const std::vector<std::string>& fields);
Result<std::vector<std::string>> decode(std::string_view bytes);
std::vector<std::string> to_fields(const ExecRequest& request);
Result<ExecRequest> to_exec_request(const std::vector<std::string>& fields);
Result<int> to_number(std::string_view text, int min, int max);

// Blocking send and receive of one message. `socket` stays the caller's.
Result<> send_message(int socket, const std::vector<std::string>& fields,
                      const std::vector<int>& fds = {});
Result<Message> receive_message(int socket);

}  // namespace ssi::lab
