// What criu asks a view, in one that the kernel has really mounted. As root, with /dev/fuse.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "fs/view/test_view.h"

using namespace ssi;
using namespace ssi::fs;

namespace {

// A shell that looks like criu: its program has that path.
struct Fixture {
  TempDir home_dir, mounted, programs;
  Home home{home_dir.path};
  DigestCache digests;
  std::unique_ptr<View> view;
  std::string criu = programs.path + "/criu/ld.so";

  Fixture() {
    std::ofstream(home_dir.path + "/f") << "first\n";
    std::filesystem::create_directory(programs.path + "/criu");
    std::filesystem::copy_file("/bin/dash", criu);
    auto made = mount_view(mounted.path, home, digests);
    REQUIRE(made);
    view = std::move(*made);
  }
  ~Fixture() { view->unmount(true); }

  std::string file() const { return mounted.path + "/f"; }
  // How often home was asked.
  std::uint64_t run(const std::string& program, const std::string& script) const {
    const std::uint64_t before = view->stats().remote.calls;
    const pid_t pid = ::fork();
    if (pid == 0) {
      ::execl(program.c_str(), "sh", "-euc", script.c_str(), nullptr);
      ::_exit(127);
    }
    int status = -1;
    ::waitpid(pid, &status, 0);
    CHECK(status == 0);
    return view->stats().remote.calls - before;
  }
};

}  // namespace

TEST_CASE_FIXTURE(Fixture, "criu opens what is open already without home, anybody else with it") {
  const std::string often = "for i in 1 2 3 4 5 6 7 8 9 10; do exec 3<" + file() + "; done";
  const UniqueFd open(::open(file().c_str(), O_RDONLY | O_CLOEXEC));
  REQUIRE(open);
  CHECK(run("/bin/dash", often) >= 10);
  CHECK(run(criu, often) < 5);
}

TEST_CASE_FIXTURE(Fixture, "what criu has opened so can be read, also when its name is gone") {
  const UniqueFd open(::open(file().c_str(), O_RDONLY | O_CLOEXEC));
  REQUIRE(open);
  run(criu, "read line <" + file() + "; [ $line = first ]");
  run(criu, "exec 3<" + file() + "; rm " + home_dir.path + "/f; read line <&3; [ $line = first ]");
}

TEST_CASE_FIXTURE(Fixture, "what criu writes, or wants to be home's, is home's") {
  const UniqueFd open(::open(file().c_str(), O_RDONLY | O_CLOEXEC));
  REQUIRE(open);
  run(criu, "echo second >" + file() + "; echo third >>" + file());
  std::ifstream text(home_dir.path + "/f");
  std::string all;
  std::getline(text, all, '\0');
  CHECK(all == "second\nthird\n");
}
