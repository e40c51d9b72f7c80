#include "migrate/fds/proc_file.h"

#include <doctest/doctest.h>
#include <fcntl.h>

namespace ssi::fds {

TEST_CASE("files about one process are known by their names") {
  for (const char* path : {"/proc/812", "/proc/812/status", "/proc/812/maps", "/proc/812/fd",
                           "/proc/812/task", "/proc/812/task/812", "/proc/812/task/812/stat"}) {
    const auto file = parse_proc_file(path, O_RDONLY, 0);
    CHECK_MESSAGE(file.pid == 812, path);
    CHECK_MESSAGE(!proc_file_why_not(file, {812}), path);
  }
  CHECK(parse_proc_file("/proc/812/status", O_RDONLY, 1).begun);
  CHECK(!parse_proc_file("/proc/812/fd", O_RDONLY, 3).begun);
  CHECK(!parse_proc_file("/proc/812/cmdline", O_RDONLY, 1).begun);
}

TEST_CASE("what tells of the machine is none") {
  for (const char* path :
       {"/proc", "/proc/", "/proc/stat", "/proc/self/status", "/proc/812/mounts",
        "/proc/812/net/tcp", "/proc/812/cgroup", "/proc/812/attr/current", "/proc/812/mem",
        "/proc/812x/status", "/proc/-1/status", "/proc/0/status", "/proc/812/task/x/stat",
        "/proc/812/status (deleted)", "/sys/812/status", "/proc/99999999999/status", "status"}) {
    CHECK_MESSAGE(parse_proc_file(path, O_RDONLY, 0).pid == 0, path);
  }
}

TEST_CASE("why a file about a process stays") {
  const auto why_not = [](const char* path, std::uint32_t flags = O_RDONLY,
                          std::uint64_t position = 0) {
    return proc_file_why_not(parse_proc_file(path, flags, position), {812, 813}).value_or("");
  };
  CHECK(why_not("/proc/1/status") == "about process 1, which stays");
  CHECK(why_not("/proc/812/task/815/status") == "about one thread");
  CHECK(why_not("/proc/812/comm", O_RDWR) == "that it may write to");
  CHECK(why_not("/proc/813/maps", O_RDONLY, 17) == "that it has begun to read");
  CHECK(why_not("/proc/813/maps") == "");
}

}  // namespace ssi::fds
