#include "migrate/criu/criu_limits.h"

#include <linux/capability.h>
#include <sys/prctl.h>

namespace ssi::migrate {

bool criu_needs_limits_library() { return ::prctl(PR_CAPBSET_READ, CAP_SYS_RESOURCE) != 1; }

}  // namespace ssi::migrate
