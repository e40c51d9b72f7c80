#include "migrate/criu/criu_library.h"

#include <linux/capability.h>
#include <sys/prctl.h>

namespace ssi::migrate {

bool criu_needs_limits() { return ::prctl(PR_CAPBSET_READ, CAP_SYS_RESOURCE) != 1; }

}  // namespace ssi::migrate
