// One conversation with one `criu swrk` over its SEQPACKET socket. Whoever starts criu (ssid itself
// for a dump at home, the realm's init otherwise) hands the other end here.
//
// Owned by the mover's thread; blocking. criu's death is an error from the call in progress, never
// a hang. Source of the protocol: criu's images/rpc.proto.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "ssid/base/result.h"
#include "ssid/base/unique_fd.h"

namespace ssi::migrate {

struct InheritFd {
  std::string key;  // what criu calls the file at dump: "pipe:[123]"
  int fd;           // descriptor number inside criu
};

// Descriptor numbers are those inside criu.
struct DumpOptions {
  pid_t pid = 0;  // in the pid namespace of criu
  int images_fd = -1;
  int page_server_fd = -1;
  std::string freeze_cgroup;  // already frozen; criu leaves it frozen
  std::vector<std::string> external;
  unsigned timeout_s = 30;
};

struct RestoreOptions {
  int images_fd = -1;
  bool lazy_pages = false;  // hands the memory over at its socket (pages/lazy_socket.h)
  std::vector<InheritFd> inherit;
};

class CriuRpc {
 public:
  // Called by criu at its named stages ("post-restore", "pre-resume"); an error makes criu give up.
  using Notify = std::function<Result<>(const std::string& stage, pid_t pid)>;

  explicit CriuRpc(UniqueFd socket) : socket_(std::move(socket)) {}

  Result<> dump(const DumpOptions& options);
  // The restored process's PID in criu's pid namespace.
  Result<pid_t> restore(const RestoreOptions& options, const Notify& notify);

 private:
  UniqueFd socket_;
};

// The first line of a criu log that says Error, in plain words ("" if there is none). `log` is the
// text.
std::string plain_error(const std::string& log);

}  // namespace ssi::migrate
