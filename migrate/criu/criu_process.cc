#include "migrate/criu/criu_process.h"

#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "migrate/criu/criu_arguments.h"
#include "ssid/base/spawn.h"

namespace ssi::migrate {

Result<SocketPair> make_socket_pair(int type) {
  int ends[2];
  if (::socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ends) != 0)
    return Error::from_errno("socketpair");
  return SocketPair{UniqueFd(ends[0]), UniqueFd(ends[1])};
}

Result<LocalCriu> LocalCriu::start(const CriuFiles& criu, int images_fd, std::span<const int> extra,
                                   IpcNamespace ipc) {
  SSI_ASSIGN(SocketPair rpc, make_socket_pair(SOCK_SEQPACKET));
  SpawnOptions options;
  if (ipc == IpcNamespace::kOwn) options.argv = {"/usr/bin/unshare", "--ipc"};
  if (criu_needs_limits()) {
    options.argv.insert(options.argv.end(), {"/usr/bin/env", "LD_PRELOAD=" + criu.library});
  }
  for (const char* word :
       {criu.program.c_str(), "--no-default-config", kCriuValidation, "swrk", "3"}) {
    options.argv.emplace_back(word);
  }
  options.descriptors = {*rpc.there, images_fd};
  options.descriptors.insert(options.descriptors.end(), extra.begin(), extra.end());
  SSI_ASSIGN(const pid_t pid, spawn(options));
  return LocalCriu(pid, std::move(rpc.here));
}

LocalCriu::LocalCriu(LocalCriu&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)), rpc_(std::move(other.rpc_)) {}

LocalCriu::~LocalCriu() {
  if (pid_ <= 0) return;
  rpc_ = CriuRpc(UniqueFd());  // end of file: an idle criu ends by itself
  int status;
  for (int tries = 0; tries < 200; ++tries) {
    if (::waitpid(pid_, &status, WNOHANG) != 0) return;
    ::usleep(5000);
  }
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, &status, 0);
}

}  // namespace ssi::migrate
