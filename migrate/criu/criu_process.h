// Starting `criu swrk`: on the node itself (dump of an original) or inside a realm (everything
// else). Either way criu gets: 3 the RPC socket, 4 the images directory, 5.. what the caller adds.
// Blocking, any thread.
#pragma once

#include <span>
#include <string>

#include "migrate/criu/criu_library.h"
#include "migrate/criu/criu_rpc.h"
#include "ssid/base/result.h"
#include "ssid/base/unique_fd.h"

namespace ssi::migrate {

// criu dumps System V shared memory only of processes whose IPC namespace is not its own, and all
// of that namespace with it.
enum class IpcNamespace { kShared, kOwn };

// Owns a criu that was started on this node; kills and reaps it on destruction if it has not ended.
class LocalCriu {
 public:
  static Result<LocalCriu> start(const CriuFiles& criu, int images_fd, std::span<const int> extra,
                                 IpcNamespace ipc);
  LocalCriu(LocalCriu&& other) noexcept;
  LocalCriu& operator=(LocalCriu&&) = delete;
  ~LocalCriu();

  CriuRpc& rpc() { return rpc_; }
  pid_t pid() const { return pid_; }

 private:
  LocalCriu(pid_t pid, UniqueFd socket) : pid_(pid), rpc_(std::move(socket)) {}
  pid_t pid_;
  CriuRpc rpc_;
};

struct SocketPair {
  UniqueFd here;
  UniqueFd there;
};
Result<SocketPair> make_socket_pair(int type);

}  // namespace ssi::migrate
