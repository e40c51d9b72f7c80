// Which process a unit begins with: the topmost one that shares memory with those below it. What is
// asked of any of them concerns all. Any thread; what it looks at may end at any time.
#pragma once

#include <sys/types.h>

#include <functional>

namespace ssi::check {

// `pid` itself, if it shares no memory with its parent. To a parent that is another user's it goes
// only if `may_be_anothers` says so of that: a user is not to move what is not his.
pid_t unit_root(pid_t pid, const std::function<bool(pid_t parent)>& may_be_anothers);

// Whether it shares memory with one of its children, so that it can't leave them.
bool shares_memory_below(pid_t pid);

}  // namespace ssi::check
