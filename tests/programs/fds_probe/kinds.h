// The families of kinds, a file each: each adds its makers.
#pragma once

#include <signal.h>

#include "tests/programs/fds_probe/kind.h"

namespace fds_probe {

void add_file_kinds(Makers& makers);
void add_deleted_kinds(Makers& makers);
void add_path_handle_kinds(Makers& makers);
void add_kernel_file_kinds(Makers& makers);
// `finish` is not 0 once the program is to end.
void add_pipe_kinds(Makers& makers, const volatile sig_atomic_t& finish);
void add_lock_kinds(Makers& makers);
void add_memory_kinds(Makers& makers);
void add_event_kinds(Makers& makers);
void add_process_kinds(Makers& makers);
void add_terminal_kinds(Makers& makers);
void add_netlink_kinds(Makers& makers);

}  // namespace fds_probe
