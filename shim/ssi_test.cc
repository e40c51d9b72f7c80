// libssi where there is no cluster. What it says to one: tests/system/libssi_test.py.
#include "shim/ssi.h"

#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "shim/ssi_abi.h"

namespace {

// How many descriptors pin this process.
int pins_seen() {
  int seen = 0;
  std::error_code gone;
  for (const auto& fd : std::filesystem::directory_iterator("/proc/self/fd")) {
    const std::string target = std::filesystem::read_symlink(fd.path(), gone);
    if (target == "/memfd:" + std::string(ssi::kPinName) + " (deleted)") ++seen;
  }
  return seen;
}

}  // namespace

TEST_CASE("pinned until as many unpins; there is one descriptor for all, out of the way") {
  CHECK(pins_seen() == 0);
  CHECK(ssi_pin() == 0);
  CHECK(ssi_pin() == 0);
  CHECK(pins_seen() == 1);
  const int next = ::dup(0);
  CHECK(next < 200);
  ::close(next);
  CHECK(ssi_unpin() == 0);
  CHECK(pins_seen() == 1);
  CHECK(ssi_unpin() == 0);
  CHECK(pins_seen() == 0);
  errno = 0;
  CHECK((ssi_unpin() == -1 && errno == EINVAL));
}

TEST_CASE("neither a child nor what is executed is pinned; the child may be by itself") {
  REQUIRE(ssi_pin() == 0);
  const pid_t child = ::fork();
  if (child == 0) {
    const bool free = pins_seen() == 0 && ssi_unpin() == -1;
    ::_exit(free && ssi_pin() == 0 && pins_seen() == 1 ? 0 : 1);
  }
  int status = -1;
  ::waitpid(child, &status, 0);
  CHECK(status == 0);
  CHECK(std::system("! ls -l /proc/self/fd | grep -q ssi:pin") == 0);
  CHECK(pins_seen() == 1);
  CHECK(ssi_unpin() == 0);
}

TEST_CASE("by many threads, while others fork") {
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([] {
      for (int n = 0; n < 2000; ++n) {
        if (ssi_pin() != 0 || ssi_unpin() != 0) std::abort();
      }
    });
  }
  for (int i = 0; i < 50; ++i) {
    const pid_t child = ::fork();
    if (child == 0) ::_exit(ssi_pin() == 0 && ssi_unpin() == 0 ? 0 : 1);
    int status = -1;
    ::waitpid(child, &status, 0);
    CHECK(status == 0);
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(pins_seen() == 0);
}

TEST_CASE("without a cluster the others say so") {
  if (std::filesystem::exists("/cluster/proc")) return;
  errno = 0;
  CHECK((ssi_where() == -1 && errno == ENOENT));
  errno = 0;
  CHECK((ssi_loadlevel(1) == -1 && errno == ENOENT));
}
