// The mark of a process that is enabled, which the kernel gives to all that it starts: in the last
// digits of its timer slack (prctl(2), PR_SET_TIMERSLACK; 50,000 ns if nobody has set it), 417.
// A child has it before its first instruction, however it was made (fork, vfork, posix_spawn,
// clone, by static programs) and whatever it executes; a process that has lost its parents has it
// still. It costs nothing, and a timer less than a microsecond.
//
// A user who sets it by hand enables nothing but processes of his own, which he may do anyway. A
// program that sets its slack itself, or is scheduled in real time (which has none), is without it:
// what that starts is found by its parent.
//
// Rejected: a library in every program (LD_PRELOAD), which tells of each fork: static programs
// don't have it, programs with gcc's address sanitizer don't start with it, and it costs each
// program that is started 3% of that.
#pragma once

#include <sys/types.h>

#include <cstdint>

namespace ssi {

constexpr bool is_marked(std::uint64_t slack_ns) { return slack_ns % 1000 == 417; }
constexpr std::uint64_t with_mark(std::uint64_t slack_ns, bool on) {
  return slack_ns - slack_ns % 1000 + (on ? 417 : 0);
}

// Any thread; with CAP_SYS_NICE. False if it is gone.
bool has_inherited_mark(pid_t pid);
// All its threads. A new one that a thread starts meanwhile gets it, too.
void set_inherited_mark(pid_t pid, bool on);

}  // namespace ssi
