#include "migrate/criu/criu_user.h"

#include <linux/capability.h>
#include <sys/prctl.h>

#include <sstream>

#include "ssid/base/proc_status.h"

namespace ssi::migrate {

bool criu_may_be_root() { return ::prctl(PR_CAPBSET_READ, CAP_SYS_RESOURCE) == 1; }

CriuUser criu_user_for(pid_t pid) {
  CriuUser user;
  if (criu_may_be_root()) return user;
  std::istringstream(proc_status_line(pid, "Uid")) >> user.uid;
  std::istringstream(proc_status_line(pid, "Gid")) >> user.gid;
  return user;
}

}  // namespace ssi::migrate
