// With CAP_SYS_ADMIN.
#include "loadlevel/list/exec_watch.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

using namespace ssi;

namespace {

struct Programs {
  std::string dir;
  Programs() {
    char name[] = "/tmp/exec_watch_XXXXXX";
    REQUIRE(::mkdtemp(name));
    dir = name;
    for (const char* copy : {"/on", "/off"}) std::filesystem::copy_file("/bin/true", dir + copy);
    std::filesystem::create_symlink("on", dir + "/link");
  }
  ~Programs() { std::filesystem::remove_all(dir); }
  pid_t run(const std::string& program) const {
    const pid_t pid = ::fork();
    if (pid == 0) {
      ::execl((dir + program).c_str(), "x", nullptr);
      ::_exit(127);
    }
    ::waitpid(pid, nullptr, 0);
    return pid;
  }
};

}  // namespace

TEST_CASE("tells who starts a program that is watched, by any of its names, and of no other") {
  const Programs programs;
  auto watch = ExecWatch::open();
  REQUIRE(watch);
  watch->watch({programs.dir + "/on", programs.dir + "/not there"});
  programs.run("/off");
  const pid_t first = programs.run("/on"), second = programs.run("/link");
  pollfd ready{watch->fd(), POLLIN, 0};
  CHECK(::poll(&ready, 1, 0) == 1);
  const std::string exe = programs.dir + "/on";
  CHECK(watch->take() == std::vector<ExecWatch::Started>{{first, exe}, {second, exe}});
  CHECK(watch->take().empty());
  watch->watch({programs.dir + "/off"});
  programs.run("/on");
  CHECK(watch->take().empty());
  CHECK(watch->take() == std::vector<ExecWatch::Started>{});
  const pid_t other = programs.run("/off");
  CHECK(watch->take().front().pid == other);
}

TEST_CASE("to read it is no start") {
  const Programs programs;
  auto watch = ExecWatch::open();
  REQUIRE(watch);
  watch->watch({programs.dir + "/on"});
  CHECK(UniqueFd(::open((programs.dir + "/on").c_str(), O_RDONLY | O_CLOEXEC)));
  CHECK(watch->take().empty());
}
