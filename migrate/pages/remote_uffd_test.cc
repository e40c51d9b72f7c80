#include "migrate/pages/remote_uffd.h"

#include <doctest/doctest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/rseq.h>
#include <sys/wait.h>
#include <unistd.h>

namespace ssi::migrate {
namespace {

struct Counts {
  volatile int forgotten = 0;  // sequences that were interrupted and not aborted
  volatile int aborted = 0;
};

// Waits in a restartable sequence until the kernel does not know of it any more.
void wait_in_sequence(Counts& counts) {
  auto* self = reinterpret_cast<struct rseq*>(reinterpret_cast<char*>(__builtin_thread_pointer()) +
                                              __rseq_offset);
  asm volatile(
      ".pushsection .data\n"
      ".balign 32\n"
      "3: .long 0, 0\n"
      ".quad 1f, 2f - 1f, 4f\n"
      ".popsection\n"
      "leaq 3b(%%rip), %%rax\n"
      "movq %%rax, %[sequence]\n"
      "1: cmpq $0, %[sequence]\n"
      "jne 1b\n"
      "incl %[forgotten]\n"
      "2: jmp 5f\n"
      ".long %c[signature]\n"
      "4: incl %[aborted]\n"
      "5:\n"
      : [sequence] "+m"(self->rseq_cs), [forgotten] "+m"(counts.forgotten),
        [aborted] "+m"(counts.aborted)
      : [signature] "i"(RSEQ_SIG)
      : "rax", "memory", "cc");
}

}  // namespace

TEST_CASE("a restartable sequence that is interrupted for it is aborted, not gone on with") {
  if (__rseq_size == 0) return;  // a kernel without
  void* shared =
      mmap(nullptr, sizeof(Counts), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  REQUIRE(shared != MAP_FAILED);
  auto* counts = new (shared) Counts;
  const pid_t pid = fork();
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;;) wait_in_sequence(*counts);
  }
  while (counts->aborted == 0) usleep(1000);  // it is preempted now and then
  for (int i = 0; i < 50; ++i) {
    const auto fd = open_userfaultfd_in(pid);
    REQUIRE_MESSAGE(fd.ok(), (fd.ok() ? "" : fd.error().message()));
  }
  kill(pid, SIGKILL);
  waitpid(pid, nullptr, 0);
  CHECK(counts->forgotten == 0);
  munmap(shared, sizeof(Counts));
}

}  // namespace ssi::migrate
