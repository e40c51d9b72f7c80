// The parent of a process under test; it must not be the tracer. Starts CMD in a process group of
// its own, as a shell does, and prints what wait tells: "pid N", "stopped S", "continued", "exited
// N", "killed S [core]"; with the last also how often SIGCHLD came: "sigchld N".
//   parent CMD ARGUMENTS...
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile sig_atomic_t children;
static void on_child(int) { children = children + 1; }

int main(int, char** argv) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  setvbuf(stdout, nullptr, _IOLBF, 0);
  struct sigaction action {};
  action.sa_handler = on_child;
  sigaction(SIGCHLD, &action, nullptr);
  const pid_t pid = fork();
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);  // it survives the exec of the deputy, too
    setpgid(0, 0);
    execv(argv[1], argv + 1);
    _exit(127);
  }
  setpgid(pid, pid);
  printf("pid %d\n", pid);
  for (;;) {
    int status = 0;
    if (waitpid(pid, &status, WUNTRACED | WCONTINUED) < 0) continue;
    if (WIFSTOPPED(status)) printf("stopped %d\n", WSTOPSIG(status));
    if (WIFCONTINUED(status)) printf("continued\n");
    if (WIFEXITED(status)) printf("exited %d\n", WEXITSTATUS(status));
    if (WIFSIGNALED(status)) {
      printf("killed %d%s\n", WTERMSIG(status), WCOREDUMP(status) ? " core" : "");
    }
    if (WIFEXITED(status) || WIFSIGNALED(status)) break;
  }
  printf("sigchld %d\n", static_cast<int>(children));
  return 0;
}
