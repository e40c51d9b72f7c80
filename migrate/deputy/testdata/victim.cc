// A program to be turned into a deputy in tests: N threads that count in a shared file as fast as
// they can.
//   victim FILE THREADS [busy|sleep|sigsuspend|filtered]
// filtered: may call nothing but what a deputy calls, at the pain of death.
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "migrate/deputy/deputy_calls.h"

struct Shared {
  volatile uint64_t counter[64];
  volatile uint64_t handled;
};
static Shared* shared;
static const char* how;

static void handler(int) { shared->handled = shared->handled + 1; }

static void* work(void* index) {
  volatile uint64_t* mine = &shared->counter[reinterpret_cast<uintptr_t>(index)];
  for (;;) {
    *mine = *mine + 1;
    if (strcmp(how, "sleep") == 0) {
      timespec t{0, 1000000};
      nanosleep(&t, nullptr);
    } else if (strcmp(how, "sigsuspend") == 0) {
      sigset_t none;
      sigemptyset(&none);
      sigsuspend(&none);
    }
  }
}

static bool filter_all_threads() {
  sock_filter program[2 * 64] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0)};
  unsigned short size = 1;
  const auto allow = [&](long number) {
    program[size++] = BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<uint32_t>(number), 0, 1);
    program[size++] = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
  };
  for (const auto& call : ssi::deputy::kDeputyCalls) allow(call.number);
  allow(ssi::deputy::kThreadExit.number);
  program[size++] = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
  const sock_fprog all{size, program};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &all) == 0;
}

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  how = argc > 3 ? argv[3] : "busy";
  const int fd = open(argv[1], O_RDWR);
  shared = static_cast<Shared*>(
      mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
  if (shared == MAP_FAILED) return 3;
  stack_t stack{};
  stack.ss_sp = malloc(1 << 16);
  stack.ss_size = 1 << 16;
  sigaltstack(&stack, nullptr);
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = SA_ONSTACK | SA_RESTART;
  sigaction(SIGUSR1, &action, nullptr);
  sigaction(SIGUSR2, &action, nullptr);
  sigaction(SIGALRM, &action, nullptr);
  sigaction(SIGRTMIN + 1, &action, nullptr);
  const long threads = strtol(argv[2], nullptr, 10);
  for (long i = 1; i < threads; ++i) {
    pthread_t thread;
    if (pthread_create(&thread, nullptr, work, reinterpret_cast<void*>(i)) != 0) return 4;
  }
  if (strcmp(how, "filtered") == 0) {
    for (long i = 1; i < threads; ++i) {  // to begin takes calls, too
      while (shared->counter[i] == 0) {
      }
    }
    if (!filter_all_threads()) return 5;
  }
  work(nullptr);
}
