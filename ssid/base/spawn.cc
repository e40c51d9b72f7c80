#include "ssid/base/spawn.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>

#include "ssid/base/unique_fd.h"

namespace ssi {
namespace {

struct FileActions {
  posix_spawn_file_actions_t raw;
  FileActions() { posix_spawn_file_actions_init(&raw); }
  ~FileActions() { posix_spawn_file_actions_destroy(&raw); }
};

struct Attributes {
  posix_spawnattr_t raw;
  Attributes() { posix_spawnattr_init(&raw); }
  ~Attributes() { posix_spawnattr_destroy(&raw); }
};

}  // namespace

Result<pid_t> spawn(const SpawnOptions& options) {
  FileActions actions;
  // Out of the way first: a source number may be one of the wanted numbers.
  const int base = 3 + static_cast<int>(options.descriptors.size());
  std::vector<UniqueFd> high;
  for (const int fd : options.descriptors) {
    high.emplace_back(::fcntl(fd, F_DUPFD_CLOEXEC, std::max(base, 100)));
    if (!high.back()) return Error::from_errno("duplicate a descriptor");
  }
  posix_spawn_file_actions_addopen(&actions.raw, 0, "/dev/null", O_RDONLY, 0);
  for (const auto& [target, fd] :
       {std::pair{1, options.stdout_fd}, std::pair{2, options.stderr_fd}}) {
    if (fd >= 0) {
      posix_spawn_file_actions_adddup2(&actions.raw, fd, target);
    } else {
      posix_spawn_file_actions_addopen(&actions.raw, target, "/dev/null", O_WRONLY, 0);
    }
  }
  for (std::size_t i = 0; i < high.size(); ++i) {
    posix_spawn_file_actions_adddup2(&actions.raw, *high[i], static_cast<int>(i) + 3);
  }
  posix_spawn_file_actions_addclosefrom_np(&actions.raw, base);

  Attributes attributes;
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&attributes.raw, &none);
  posix_spawnattr_setsigdefault(&attributes.raw, &all);
  short flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF;
  if (options.new_session) flags = static_cast<short>(flags | POSIX_SPAWN_SETSID);
  posix_spawnattr_setflags(&attributes.raw, flags);

  std::vector<char*> argv;
  for (const std::string& a : options.argv) argv.push_back(const_cast<char*>(a.c_str()));
  argv.push_back(nullptr);
  const char* env[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", nullptr};
  pid_t pid = 0;
  const int error = posix_spawn(&pid, argv[0], &actions.raw, &attributes.raw, argv.data(),
                                const_cast<char**>(env));
  if (error != 0) return Error::from_errno("start " + options.argv[0], error);
  return pid;
}

Result<std::string> run_to_end(const std::vector<std::string>& argv) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return Error::from_errno("pipe");
  UniqueFd out(ends[0]), in(ends[1]);
  SSI_ASSIGN(const pid_t pid,
             spawn({.argv = argv, .descriptors = {}, .stdout_fd = *in, .stderr_fd = *in}));
  in.reset();
  std::string text;
  char buffer[4096];
  for (ssize_t n; (n = ::read(*out, buffer, sizeof buffer)) > 0;) {
    if (text.size() < 65536) text.append(buffer, static_cast<std::size_t>(n));
  }
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return text;
  while (!text.empty() && text.back() == '\n') text.pop_back();
  const auto line = text.rfind('\n');
  return Error(argv[0] + ": " +
               (text.empty() ? "failed" : text.substr(line == std::string::npos ? 0 : line + 1)));
}

}  // namespace ssi
