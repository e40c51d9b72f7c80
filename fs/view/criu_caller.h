// Whether it is criu that asks a view: it asks much, and needs little of what home could tell.
#pragma once

#include <sys/types.h>

namespace ssi::fs {

// By the loader of its bundle (migrate/criu/criu_bundle.h). A guest whose program has that path is
// taken for it, and may read what somebody at home wrote a second ago. Any thread.
bool is_criu(pid_t thread);

}  // namespace ssi::fs
