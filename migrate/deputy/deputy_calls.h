// Every system call that a process makes on its way to being a deputy, and as one. A filter of the
// original's (seccomp) is in force over the execve and can't be taken off: it has to let all of
// these through (filter_check.h). The stub can't make a call that is not listed here
// (stub/syscalls_x86_64.h). Included by the stub, so without any library.
#pragma once

#include <asm/unistd.h>
#include <linux/prctl.h>

namespace ssi::deputy {

inline constexpr long kAnyArgument = -1;

struct DeputyCall {
  long number;
  const char* name;
  long first = kAnyArgument;  // its first argument, if that is always the same
};

inline constexpr DeputyCall kThreadExit{__NR_exit, "exit"};  // of all threads but the first
inline constexpr DeputyCall kDeputyCalls[] = {
    {__NR_execve, "execve"},
    {__NR_pause, "pause"},
    {__NR_restart_syscall, "restart_syscall"},  // poll, after a stop or a freeze
    {__NR_chdir, "chdir"},
    {__NR_close, "close"},
    {__NR_close_range, "close_range"},
    {__NR_connect, "connect"},
    {__NR_exit_group, "exit_group"},
    {__NR_getrlimit, "getrlimit"},
    {__NR_kill, "kill"},
    {__NR_nanosleep, "nanosleep"},
    {__NR_poll, "poll"},
    {__NR_prctl, "prctl", PR_SET_NAME},
    {__NR_prctl, "prctl", PR_SET_DUMPABLE},
    {__NR_read, "read"},
    {__NR_recvfrom, "recvfrom"},
    {__NR_rt_sigaction, "rt_sigaction"},
    {__NR_rt_sigpending, "rt_sigpending"},
    {__NR_rt_sigprocmask, "rt_sigprocmask"},
    {__NR_sendto, "sendto"},
    {__NR_setitimer, "setitimer"},
    {__NR_setrlimit, "setrlimit"},
    {__NR_signalfd4, "signalfd4"},
    {__NR_socket, "socket", 1},  // AF_UNIX
    {__NR_wait4, "wait4"},
    {__NR_write, "write"},
};

// Of one that keeps record locks, on its way and later. An original under a filter that has some
// does not move.
inline constexpr DeputyCall kDeputyLockCalls[] = {
    {__NR_accept4, "accept4"},       {__NR_bind, "bind"},     {__NR_fcntl, "fcntl"},
    {__NR_getsockopt, "getsockopt"}, {__NR_listen, "listen"},
};

// Of one that forks a deputy for a child of its guest. One under a filter is not asked to.
inline constexpr DeputyCall kDeputyBirthCalls[] = {
    {__NR_capget, "capget"},         {__NR_capset, "capset"},       {__NR_clone3, "clone3"},
    {__NR_getsockopt, "getsockopt"}, {__NR_setgroups, "setgroups"}, {__NR_setpgid, "setpgid"},
    {__NR_setresgid, "setresgid"},   {__NR_setresuid, "setresuid"}, {__NR_setsid, "setsid"},
};

constexpr bool is_deputy_call(long number) {
  for (const DeputyCall& call : kDeputyBirthCalls) {
    if (call.number == number) return true;
  }
  for (const DeputyCall& call : kDeputyLockCalls) {
    if (call.number == number) return true;
  }
  for (const DeputyCall& call : kDeputyCalls) {
    if (call.number == number) return true;
  }
  return false;
}

}  // namespace ssi::deputy
