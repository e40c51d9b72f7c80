#include "migrate/check/read_facts.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <thread>

#include "migrate/check/check.h"
#include "migrate/check/test_subject.h"
#include "ssid/base/unique_fd.h"

namespace ssi::check {

TEST_CASE("an idle process: facts are right and it can be moved") {
  const Subject subject([] { (void)!chdir("/"); });
  const auto facts = subject.facts();
  CHECK(facts.name.pid == subject.pid());
  CHECK(facts.name.comm == "migrate_check_t");
  CHECK(facts.parent == getpid());
  CHECK(facts.exe == std::filesystem::read_symlink("/proc/self/exe"));
  CHECK(facts.cwd == "/");
  CHECK(facts.elf_bits == 64);
  CHECK(facts.threads == 1);
  CHECK(facts.rss_kb > 0);
  CHECK(facts.start_time_ticks > 0);
  CHECK(facts.uid == getuid());
  CHECK(facts.other_namespaces.empty());
  CHECK(!facts.root_deleted);
  CHECK(facts.fds.empty());
  CHECK(subject.reason() == "");
}

TEST_CASE("a pending SIGTRAP stays: criu's code in the process would eat it") {
  const auto block_and_send = [](const std::function<void()>& send) {
    sigset_t traps;
    sigemptyset(&traps);
    sigaddset(&traps, SIGTRAP);
    sigprocmask(SIG_BLOCK, &traps, nullptr);
    send();
  };
  const std::string why = "a SIGTRAP is pending for it, which would be lost";
  CHECK(Subject([&] { block_and_send([] { kill(getpid(), SIGTRAP); }); }).reason() == why);
  CHECK(Subject([&] { block_and_send([] { raise(SIGTRAP); }); }).reason() == why);
  CHECK(Subject([&] { block_and_send([] {}); }).reason() == "");
}

TEST_CASE("a process whose children are to live elsewhere stays") {
  for (const auto& [flag, kind] : {std::pair{CLONE_NEWPID, "pid"}, {CLONE_NEWTIME, "time"}}) {
    const Subject subject([flag = flag] { (void)!unshare(flag); });
    if (geteuid() != 0) continue;  // only root may
    CHECK(subject.reason() ==
          std::string("its children are to live in other namespaces than it does (") + kind + ")");
  }
}

TEST_CASE("io_uring is seen where the kernel has it") {
  const Subject subject([] {
    io_uring_params parameters{};
    syscall(SYS_io_uring_setup, 4, &parameters);
  });
  const auto facts = subject.facts();
  if (facts.fds.empty()) return;  // switched off here
  CHECK(facts.fds[0].kind == FdKind::kIoUring);
  CHECK(subject.reason() == "fd 0 is an io_uring");
}

TEST_CASE("shared memory: with whom") {
  SUBCASE("anonymous, shared with the parent") {
    void* memory = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    const Subject subject([] {});
    CHECK(subject.reason() == "it shares memory with process " + std::to_string(getpid()) +
                                  " (migrate_check_t): anonymous shared memory");
    munmap(memory, 4096);
    CHECK(subject.reason() == "");
  }
  SUBCASE("anonymous, and others have only a descriptor of it, or only we do") {
    constexpr std::size_t kPage = 4096;
    void* memory = mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    char path[64];
    const auto at = reinterpret_cast<std::uintptr_t>(memory);
    (void)std::snprintf(path, sizeof path, "/proc/self/map_files/%lx-%lx", at, at + kPage);
    UniqueFd fd(open(path, O_RDWR | O_CLOEXEC));
    REQUIRE(fd);
    const Subject mapper([] {});
    const std::string we = std::to_string(getpid()) + " (migrate_check_t)";
    const Subject opener([&] {
      open(path, O_RDWR);
      munmap(memory, kPage);
    });
    CHECK(opener.facts().fds.back().kind == FdKind::kMemfd);
    munmap(memory, kPage);
    const std::string other = std::to_string(opener.pid()) + " (migrate_check_t)";
    const bool we_come_first = getpid() < opener.pid();  // in the order of their numbers
    CHECK(mapper.reason() == "it shares memory with process " + (we_come_first ? we : other) +
                                 ", " + (we_come_first ? other : we) + ": anonymous shared memory");
    fd.reset();
    CHECK(opener.reason() == "fd 0 is a memory file (/dev/zero (deleted)) that process " +
                                 std::to_string(mapper.pid()) + " (migrate_check_t) has open, too");
  }
  SUBCASE("System V") {
    const int id = shmget(IPC_PRIVATE, 4096, 0600);
    const Subject subject([&] { shmat(id, nullptr, 0); });
    CHECK(subject.reason() == "");
    void* memory = shmat(id, nullptr, 0);
    shmctl(id, IPC_RMID, nullptr);
    CHECK(subject.reason().ends_with("System V shared memory"));
    shmdt(memory);
  }
  SUBCASE("a file mapped by both") {
    const std::string path = temporary_file();
    UniqueFd fd(open(path.c_str(), O_RDWR | O_CLOEXEC));
    (void)!ftruncate(*fd, 4096);
    void* memory = mmap(nullptr, 4096, PROT_READ, MAP_SHARED, *fd, 0);
    const Subject subject([&] {
      const int own = open(path.c_str(), O_RDWR);
      mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, own, 0);
    });
    CHECK(subject.reason().ends_with("(migrate_check_t): " + path));
    munmap(memory, 4096);
    CHECK(subject.reason() == "");
    unlink(path.c_str());
  }
}

TEST_CASE("children, threads, a waiting vfork, a debugger, a filter, a namespace, a chroot") {
  const Subject parent([] {
    if (fork() == 0) {
      close(1000);
      for (;;) pause();
    }
  });
  CHECK(parent.reason().starts_with(
      "it has 1 child process, which only `migrate --tree` moves along: "));
  CHECK(!parent.facts().vfork_child);
  kill(parent.facts().children[0].pid, SIGKILL);

  const Subject vforked([] {
    // The other thread waits in vfork for a child that never execs.
    std::thread([] {
      if (vfork() == 0) {
        close(1000);
        for (;;) pause();
      }
    }).detach();
    for (;;) {
      const auto tasks = std::filesystem::directory_iterator("/proc/self/task");
      if (std::distance(begin(tasks), {}) != 2) continue;
      const auto self = read_facts(getpid());
      if (self && self->vfork_child) break;
    }
  });
  CHECK(vforked.facts().threads == 2);
  CHECK(vforked.reason().ends_with("which still runs in its memory (vfork)"));
  kill(vforked.facts().children[0].pid, SIGKILL);

  const Subject traced([] {});
  REQUIRE(ptrace(PTRACE_SEIZE, traced.pid(), nullptr, nullptr) == 0);
  CHECK(traced.reason().starts_with("it is traced by a debugger, process "));

  const Subject spaced([] { unshare(CLONE_NEWNET | CLONE_NEWUTS); });
  CHECK(spaced.reason() == "it runs in a container: its namespaces differ from ssid's (net, uts)");
  CHECK(!check(spaced.facts(), {.is_guest = true}));

  char jail[] = "/tmp/read_facts_test.XXXXXX";
  REQUIRE(mkdtemp(jail) != nullptr);
  const Subject jailed([&] {
    (void)!chroot(jail);
    (void)!chdir("/");
  });
  CHECK(jailed.reason().empty());
  REQUIRE(rmdir(jail) == 0);
  CHECK(jailed.reason().starts_with("its root directory (chroot) was deleted"));
}

TEST_CASE("limits") {
  const Subject subject([] {
    rlimit stack{};
    getrlimit(RLIMIT_STACK, &stack);
    stack.rlim_cur = 64 * 1024;
    setrlimit(RLIMIT_STACK, &stack);
  });
  CHECK(subject.facts().stack_limit_kb == 64);
  CHECK(subject.facts().address_space_limit_kb == kNoLimit);
  CHECK(subject.reason().starts_with("its stack limit (64 kB)"));
}

TEST_CASE("replaced program, deleted directory, mapped device") {
  const std::string copy = temporary_file();
  std::filesystem::copy_file("/bin/sleep", copy, std::filesystem::copy_options::overwrite_existing);
  std::filesystem::permissions(copy, std::filesystem::perms(0755));
  const Subject subject([&] {
    fcntl(1000, F_SETFD, FD_CLOEXEC);
    execl(copy.c_str(), "sleep", "1000", nullptr);
  });
  CHECK(subject.reason() == "");
  unlink(copy.c_str());
  CHECK(subject.reason() == "");
  CHECK(subject.facts().exe_deleted);

  const Subject lost([] {
    char dir[] = "/tmp/ssid-check-XXXXXX";
    (void)!chdir(mkdtemp(dir));
    rmdir(dir);
  });
  CHECK(lost.reason() == "");
  CHECK(lost.facts().cwd_deleted);
}

TEST_CASE("zombies, dead main threads, kernel threads and nobody") {
  const pid_t zombie = fork();
  if (zombie == 0) _exit(0);
  siginfo_t info;
  waitid(P_PID, static_cast<id_t>(zombie), &info, WEXITED | WNOWAIT);
  auto facts = read_facts(zombie);
  REQUIRE(facts.ok());
  CHECK(check(*facts, {})->reason() == "it has ended already and waits for its parent (zombie)");
  waitpid(zombie, nullptr, 0);
  facts = read_facts(zombie);
  REQUIRE(!facts.ok());
  CHECK(facts.error().code() == ErrorCode::kGone);

  const Subject headless([] {
    std::thread([] {
      while (true) {
        const auto self = read_facts(getpid());
        if (self && self->state == 'Z') break;
      }
      close(1000);
      for (;;) pause();
    }).detach();
    syscall(SYS_exit, 0);
  });
  CHECK(headless.reason() == "its main thread has ended and only others still run");

  facts = read_facts(2);
  if (facts && facts->name.comm == "kthreadd") {
    CHECK(check(*facts, {})->reason() == "it is a thread of the kernel");
  }
  CHECK(read_facts(999999999).error().code() == ErrorCode::kGone);
}

TEST_CASE("processes that end while they are looked at: facts or gone, nothing else") {
  for (int round = 0; round < 300; ++round) {
    const pid_t pid = fork();
    if (pid == 0) {
      for (int i = 0; i < round * 1000; ++i) asm volatile("");
      _exit(0);
    }
    const auto facts = read_facts(pid);
    if (!facts) {
      CHECK_MESSAGE(facts.error().code() == ErrorCode::kGone, facts.error().message());
    }
    waitpid(pid, nullptr, 0);
  }
  for (pid_t pid = 1; pid < 300; ++pid) {
    const auto facts = read_facts(pid);
    if (!facts) {
      CHECK_MESSAGE(facts.error().code() != ErrorCode::kFailed, facts.error().message());
    }
  }
}

}  // namespace ssi::check
