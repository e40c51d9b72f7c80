// heir FILE HOW...: starts processes, one for each SIGUSR1, in the ways that are named, in turn.
// Whoever is started writes a line to FILE before anything else, "HOW PID SLACK", and waits.
// In C, as musl-gcc compiles no C++; tests/system/inheritance_test.py.
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static const char* file;
static char* self;

static void born(const char* how) {
  const int slack = prctl(PR_GET_TIMERSLACK, 0, 0, 0, 0);
  char line[128];
  const int size = snprintf(line, sizeof line, "%s %d %d\n", how, (int)getpid(), slack);
  const int fd = open(file, O_WRONLY | O_APPEND | O_CLOEXEC);
  if (fd < 0 || write(fd, line, (size_t)size) != size) _exit(1);
  close(fd);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  signal(SIGUSR1, SIG_DFL);
  for (;;) pause();
}

static void* fork_in_thread(void* how) {
  if (fork() == 0) born(how);
  return NULL;
}

static void start(char* how) {
  extern char** environ;
  char* as[] = {self, (char*)file, "born", how, NULL};
  pid_t pid;
  pthread_t thread;
  if (strcmp(how, "fork") == 0) {
    if (fork() == 0) born(how);
  } else if (strcmp(how, "exec") == 0) {
    if (fork() == 0) execv(self, as);
  } else if (strcmp(how, "vfork") == 0) {
    if (vfork() == 0) {
      execv(self, as);
      _exit(1);
    }
  } else if (strcmp(how, "posix_spawn") == 0) {
    if (posix_spawn(&pid, self, NULL, NULL, as, environ) != 0) exit(1);
  } else if (strcmp(how, "clone") == 0) {
    if (syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL) == 0) born(how);
  } else if (strcmp(how, "thread") == 0) {
    if (pthread_create(&thread, NULL, fork_in_thread, how) != 0) exit(1);
    pthread_join(thread, NULL);
  } else if (strcmp(how, "daemon") == 0 || strcmp(how, "daemon-exec") == 0) {
    pid = fork();
    if (pid == 0) {
      setsid();
      if (fork() != 0) _exit(0);
      if (strcmp(how, "daemon") == 0) born(how);
      execv(self, as);
      _exit(1);
    }
    waitpid(pid, NULL, 0);
  } else {
    exit(2);
  }
}

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  self = argv[0];
  file = argv[1];
  if (argc == 4 && strcmp(argv[2], "born") == 0) born(argv[3]);
  sigset_t told;
  sigemptyset(&told);
  sigaddset(&told, SIGUSR1);
  sigprocmask(SIG_BLOCK, &told, NULL);
  puts("ready");
  fflush(stdout);
  for (int i = 2, got;; i = i + 1 < argc ? i + 1 : 2) {
    if (sigwait(&told, &got) != 0) return 1;
    start(argv[i]);
  }
}
