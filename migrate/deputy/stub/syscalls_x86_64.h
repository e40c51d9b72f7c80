// System calls of the deputy stub, which has no libc. x86-64 only.
#pragma once

#include "migrate/deputy/deputy_calls.h"

namespace ssi::deputy::sys {

void call_is_not_listed();  // in deputy_calls.h

// The number of a call that a filter was asked about.
struct Number {
  // NOLINTNEXTLINE: a plain number is what is written.
  consteval Number(long number) : value(number) {
    if (!is_deputy_call(number)) call_is_not_listed();
  }
  long value;
};

// A negative value above -4096 is -errno, as the kernel gives it.
inline long call(Number number, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0) {
  long result;
  register long r10 asm("r10") = d;
  register long r8 asm("r8") = e;
  asm volatile("syscall"
               : "=a"(result)
               : "a"(number.value), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
               : "rcx", "r11", "memory");
  return result;
}

template <typename T>
inline long arg(T* pointer) {
  return reinterpret_cast<long>(pointer);
}

}  // namespace ssi::deputy::sys

// The kernel enters with argc, argv and envp on the stack. That may not grow if the original had a
// small RLIMIT_STACK, so the stub runs on one of its own.
extern "C" {
alignas(16) inline char deputy_stack[16384] __attribute__((used));
}
asm(".text\n"
    ".globl _start\n"
    ".type _start,@function\n"
    "_start:\n"
    "  xorl %ebp, %ebp\n"
    "  movq %rsp, %rdi\n"
    "  leaq deputy_stack+16384(%rip), %rsp\n"
    "  call deputy_start\n"
    "  ud2\n");
