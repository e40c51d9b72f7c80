#include "ssid/daemon/innermost_pid.h"

#include <fstream>
#include <sstream>
#include <string>

namespace ssi {

pid_t innermost_pid(pid_t pid) {
  std::ifstream status("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(status, line);) {
    if (!line.starts_with("NSpid:")) continue;
    std::istringstream numbers(line.substr(6));
    pid_t last = 0;
    while (numbers >> last) {
    }
    return last;
  }
  return 0;
}

}  // namespace ssi
