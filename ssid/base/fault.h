// Named fault points: places where a test may kill, stop or fail this process, to show that the
// cluster gets over it. Inert unless the daemon was started with --faults.
//
//   if (SSI_FAULT("migrate.after_dump") == FaultAction::kError) return Error("injected");
//
// A daemon started with `--faults` calls faults_arm("/run/ssid/faults"); from then on each point
// that is passed reads that file (it need not exist). It must be a plain file of our own user that
// nobody else can write, or it is ignored. One line per fault, written with `>>`:
//
//   migrate.after_dump kill          SIGKILL to this process
//   migrate.after_dump error         the call site fails as if the step had failed
//   migrate.after_dump kill-criu     the call site kills the criu it is using
//   migrate.after_dump pause         waits here until the line is taken out of the file
//
// A line is used up by the first passage (it is taken out before it acts), unless `always` follows.
// A pause is different: while a thread waits at it, its line reads `NAME paused PID`; so a test
// sees that the point was reached, does its evil, and removes the line. Lines are changed under
// flock(2).
//
// Thread-safe; several daemons may share the file. Cost while unarmed: one relaxed atomic load.
#pragma once

#include <atomic>
#include <string>
#include <string_view>

#include "ssid/base/result.h"

namespace ssi {

// What is left for the call site to do; kill and pause have happened inside.
enum class FaultAction { kNone, kError, kKillCriu };

// Once, at the start of a daemon. Process-wide: a fault ends a process, not an object in it.
void faults_arm(std::string path);
void faults_disarm();

extern std::atomic<bool> faults_armed;
FaultAction fault_passed(std::string_view name);

// Pure: what the first line about `name` asks for, and the file's text once it is used up.
struct FaultLine {
  enum class Kind { kNone, kKill, kPause, kPaused, kError, kKillCriu };
  Kind kind = Kind::kNone;
  std::string text_after;
};
FaultLine take_fault_line(std::string_view text, std::string_view name, int own_pid);

}  // namespace ssi

#define SSI_FAULT(name)                                                            \
  (::ssi::faults_armed.load(std::memory_order_relaxed) ? ::ssi::fault_passed(name) \
                                                       : ::ssi::FaultAction::kNone)
