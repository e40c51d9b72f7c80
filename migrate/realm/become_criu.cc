#include "migrate/realm/become_criu.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <vector>

#include "migrate/criu/criu_arguments.h"
#include "migrate/criu/criu_library.h"
#include "migrate/realm/realm_protocol.h"

namespace ssi::migrate {

void become_criu(const std::string& criu_dir, std::span<const int> fds) {
  ::setpgid(0, 0);
  if (::write(fds[0], "0", 1) != 1) ::_exit(120);
  // First out of the way, as they may overlap.
  int high[kRealmMaxFds];
  for (std::size_t i = 1; i < fds.size(); ++i) {
    high[i] = ::fcntl(fds[i], F_DUPFD_CLOEXEC, 200);
    if (high[i] < 0) ::_exit(121);
  }
  for (std::size_t i = 1; i < fds.size(); ++i) {
    if (::dup2(high[i], static_cast<int>(i) + 2) < 0) ::_exit(122);
  }
  const int null = ::open("/dev/null", O_RDWR);
  for (int fd = 0; fd < 3; ++fd) ::dup2(null, fd);
  ::close_range(static_cast<unsigned>(fds.size()) + 2, ~0u, 0);

  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  const std::string loader = criu_dir + "/ld.so";
  const std::string criu = criu_dir + "/criu";
  char fd_text[] = {static_cast<char>('0' + kCriuRpcFd), '\0'};
  const std::string library = criu_dir + "/" + kCriuLibrary;
  const char* argv[] = {
      loader.c_str(), "--library-path",      criu_dir.c_str(), "--preload", library.c_str(),
      criu.c_str(),   "--no-default-config", kCriuValidation,  "swrk",      fd_text,
      nullptr};
  const char* envp[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", nullptr};
  ::execve(loader.c_str(), const_cast<char**>(argv), const_cast<char**>(envp));
  ::_exit(127);
}

}  // namespace ssi::migrate
