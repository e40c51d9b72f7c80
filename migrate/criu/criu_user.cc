#include "migrate/criu/criu_user.h"

#include <linux/capability.h>
#include <sys/prctl.h>

#include <fstream>
#include <sstream>
#include <string>

namespace ssi::migrate {

CriuUser criu_user_for(pid_t pid) {
  CriuUser user;
  if (::prctl(PR_CAPBSET_READ, CAP_SYS_RESOURCE) == 1) return user;
  std::ifstream status("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(status, line);) {
    std::istringstream words(line.substr(line.find(':') + 1));
    if (line.starts_with("Uid:")) words >> user.uid;
    if (line.starts_with("Gid:")) words >> user.gid;
  }
  return user;
}

}  // namespace ssi::migrate
