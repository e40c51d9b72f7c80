#include "migrate/deputy/seccomp_filter.h"

#include <doctest/doctest.h>
#include <linux/audit.h>
#include <linux/seccomp.h>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace ssi::deputy {
namespace {

using Filter = std::vector<sock_filter>;

constexpr sock_filter kNumber = BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr));
constexpr sock_filter kArch = BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, arch));
constexpr sock_filter kFirst = BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args));
constexpr sock_filter kAllow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
constexpr sock_filter kKill = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
constexpr sock_filter kError = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | 1);

constexpr sock_filter is(std::uint32_t what, std::uint8_t yes, std::uint8_t no) {
  return BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, what, yes, no);
}

constexpr DeputyCall kSocket{__NR_socket, "socket", 1}, kSend{__NR_sendto, "sendto"};

}  // namespace

TEST_CASE("a filter that forbids another call lets this one through") {
  const Filter no_ptrace{kNumber, is(__NR_ptrace, 0, 1), kKill, kAllow};
  for (const DeputyCall& call : kDeputyCalls)
    CHECK_MESSAGE(always_allows(no_ptrace, call), call.name);
  CHECK(!always_allows(no_ptrace, {__NR_ptrace, "ptrace"}));
}

TEST_CASE("what it does not let through is forbidden, however it says so") {
  for (const sock_filter& says :
       {kKill, kError, sock_filter BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
        sock_filter BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRACE),
        sock_filter BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF)}) {
    CHECK(!always_allows(Filter{kNumber, is(__NR_sendto, 0, 1), says, kAllow}, kSend));
  }
  CHECK(always_allows(Filter{BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_LOG)}, kSend));
}

TEST_CASE("a list of what is allowed, and of which machine") {
  const Filter list{
      kArch, is(AUDIT_ARCH_X86_64, 1, 0), kKill, kNumber, is(__NR_sendto, 0, 1), kAllow, kError};
  CHECK(always_allows(list, kSend));
  CHECK(!always_allows(list, kSocket));
}

TEST_CASE("an argument that is known counts, one that is not may be anything") {
  const Filter only_unix{kNumber, is(__NR_socket, 0, 3), kFirst, is(1, 1, 0), kError, kAllow};
  CHECK(always_allows(only_unix, kSocket));
  CHECK(!always_allows(only_unix, {__NR_socket, "socket", 2}));
  CHECK(!always_allows(only_unix, {__NR_socket, "socket"}));
  CHECK(always_allows(only_unix, kSend));
  const Filter either{kFirst, is(7, 0, 1), kAllow, kAllow};
  CHECK(always_allows(either, kSend));
}

TEST_CASE("it computes: what libseccomp and others write") {
  const Filter memory{kNumber,
                      BPF_STMT(BPF_ST, 3),
                      BPF_STMT(BPF_LD | BPF_IMM, 0),
                      BPF_STMT(BPF_LDX | BPF_MEM, 3),
                      BPF_STMT(BPF_MISC | BPF_TXA, 0),
                      BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 0xff),
                      BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, __NR_sendto, 0, 1),
                      kAllow,
                      kKill};
  CHECK(always_allows(memory, kSend));
  CHECK(!always_allows(memory, {__NR_read, "read"}));
  const Filter by_zero{BPF_STMT(BPF_ALU | BPF_DIV | BPF_X, 0), kAllow};
  CHECK(!always_allows(by_zero, kSend));
  const Filter returned{BPF_STMT(BPF_LD | BPF_IMM, SECCOMP_RET_ALLOW),
                        BPF_STMT(BPF_RET | BPF_A, 0)};
  CHECK(always_allows(returned, kSend));
  const Filter unknown{kFirst, BPF_STMT(BPF_RET | BPF_A, 0)};
  CHECK(!always_allows(unknown, kSend));
}

TEST_CASE("a filter that asks another process is known") {
  CHECK(!asks_another(Filter{kNumber, is(__NR_ptrace, 0, 1), kKill, kAllow}));
  CHECK(asks_another(Filter{kNumber, is(__NR_ptrace, 0, 1),
                            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF), kAllow}));
  CHECK(asks_another(Filter{kNumber, BPF_STMT(BPF_RET | BPF_A, 0)}));
}

TEST_CASE("a filter with no end, or with too many ways, forbids") {
  CHECK(!always_allows(Filter{kNumber}, kSend));
  CHECK(!always_allows(Filter{}, kSend));
  CHECK(!always_allows(Filter{BPF_STMT(BPF_JMP | BPF_JA, 100), kAllow}, kSend));
  Filter maze;  // 2 to the power of 60 ways
  for (int i = 0; i < 60; ++i) {
    maze.insert(maze.end(), {kFirst, is(7, 0, 1), BPF_STMT(BPF_LD | BPF_IMM, 1),
                             BPF_STMT(BPF_MISC | BPF_TAX, 0)});
  }
  maze.push_back(kAllow);
  CHECK(!always_allows(maze, kSend));
}

}  // namespace ssi::deputy
