// Who a dumping criu is: root; and where root lacks CAP_SYS_RESOURCE (in a container), with the
// *real* uid and gid of the process that it dumps: the kernel tells the limits of a process of
// another user to nobody else.
#pragma once

#include <sys/types.h>

namespace ssi::migrate {

// That a file is the same one, home's store knows. By default criu opens each to look for a
// build-id, which would break a lease, and waits for it to be given up by a process that is frozen.
inline constexpr const char* kCriuValidation = "--file-validation=filesize";

struct CriuUser {
  uid_t uid = 0;
  gid_t gid = 0;
  bool is_root() const { return uid == 0 && gid == 0; }
};

// Whether one criu can look at processes of several users.
bool criu_may_be_root();
// For a process of this node's /proc; root if there is nothing to do, or it is gone. Any thread.
CriuUser criu_user_for(pid_t pid);

}  // namespace ssi::migrate
