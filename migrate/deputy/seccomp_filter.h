// What a filter for system calls (seccomp) does to a call. Pure.
#pragma once

#include <linux/filter.h>

#include <span>

#include "migrate/deputy/deputy_calls.h"

namespace ssi::deputy {

// Whether the filter lets the call through, whatever is not said of its arguments. All paths are
// followed that it may take; one that is too long for that is taken to forbid.
bool always_allows(std::span<const sock_filter> filter, const DeputyCall& call);

// Whether it may leave a call to another process to decide (SECCOMP_RET_USER_NOTIF). criu restores
// such a filter without that process.
bool asks_another(std::span<const sock_filter> filter);

}  // namespace ssi::deputy
