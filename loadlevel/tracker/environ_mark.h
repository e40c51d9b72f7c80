// The mark that `loadlevel run` leaves in the environment, which descendants inherit. It answers
// one question only: does an orphan, whose parents ended before they were ever seen, descend from
// something enabled? A user who sets it by hand enables nothing but processes of his own, which he
// may do anyway.
#pragma once

#include <sys/types.h>

#include <string>

#include "ssid/base/loadlevel_mark.h"

namespace ssi {

// Looks for the mark in PROC_ROOT/PID/environ (the first 128 KiB). False if it can't be read.
bool has_environ_mark(const std::string& proc_root, pid_t pid);

}  // namespace ssi
