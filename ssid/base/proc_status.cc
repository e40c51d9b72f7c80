#include "ssid/base/proc_status.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace ssi {

std::string proc_status_line(pid_t pid, std::string_view name) {
  std::ifstream status("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(name) && line.size() > name.size() && line[name.size()] == ':') {
      return line.substr(name.size() + 1);
    }
  }
  return {};
}

pid_t innermost_number(pid_t pid, std::string_view name) {
  std::istringstream numbers(proc_status_line(pid, name));
  pid_t last = 0;
  for (pid_t number; numbers >> number;) last = number;
  return last;
}

pid_t innermost_pid(pid_t pid) { return innermost_number(pid, "NSpid"); }

std::optional<ProcIds> proc_ids(pid_t pid, std::string_view name) {
  std::istringstream numbers(proc_status_line(pid, name));
  ProcIds ids{};
  if (numbers >> ids[0] >> ids[1] >> ids[2]) return ids;
  return std::nullopt;
}

std::vector<pid_t> children_of(pid_t pid) {
  std::vector<pid_t> children;
  const std::string tasks = "/proc/" + std::to_string(pid) + "/task/";
  for (const pid_t thread : threads_of(pid)) {
    std::ifstream listed(tasks + std::to_string(thread) + "/children");
    for (pid_t child; listed >> child;) children.push_back(child);
  }
  return children;
}

std::vector<pid_t> threads_of(pid_t pid) {
  std::vector<pid_t> threads;
  std::error_code ec;
  for (const auto& entry :
       std::filesystem::directory_iterator("/proc/" + std::to_string(pid) + "/task", ec)) {
    threads.push_back(std::atoi(entry.path().filename().c_str()));
  }
  return threads;
}

}  // namespace ssi
