#include "ssid/base/fault.h"

#include <doctest/doctest.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <sstream>
#include <thread>

#include "ssid/base/log.h"

namespace ssi {
namespace {

using Kind = FaultLine::Kind;

// A faults file of its own, armed; disarmed and removed at the end. The log is kept quiet.
struct FaultFile {
  std::string path = "/tmp/ssid-faults-XXXXXX";
  FaultFile() {
    const int fd = ::mkstemp(path.data());
    REQUIRE(fd >= 0);
    ::close(fd);
    faults_arm(path);
    set_log_sink([](LogLevel, std::string_view) {});
  }
  ~FaultFile() {
    faults_disarm();
    set_log_sink({});
    ::unlink(path.c_str());
  }
  void write(const std::string& text) { std::ofstream(path, std::ios::trunc) << text; }
  std::string read() {
    std::ostringstream text;
    text << std::ifstream(path).rdbuf();
    return text.str();
  }
};

}  // namespace

TEST_CASE("the first line about a point is used up, the others stay") {
  auto line = take_fault_line("a.b kill\nc.d error\n a.b  error \n", "a.b", 7);
  CHECK(line.kind == Kind::kKill);
  CHECK(line.text_after == "c.d error\n a.b  error \n");
  line = take_fault_line(line.text_after, "a.b", 7);
  CHECK(line.kind == Kind::kError);
  CHECK(line.text_after == "c.d error\n");
  CHECK(take_fault_line(line.text_after, "a.b", 7).kind == Kind::kNone);
}

TEST_CASE("always keeps a line, a pause marks it, a marked line and nonsense do nothing") {
  CHECK(take_fault_line("p kill-criu always", "p", 7).text_after == "p kill-criu always\n");
  CHECK(take_fault_line("p pause\n", "p", 7).text_after == "p paused 7\n");
  CHECK(take_fault_line("p paused 7\n", "p", 8).kind == Kind::kNone);
  CHECK(take_fault_line("p\np dance\npp kill\n# p kill\n\n", "p", 7).kind == Kind::kNone);
}

TEST_CASE("a point without a line does nothing, one with a line acts once") {
  CHECK(SSI_FAULT("t.point") == FaultAction::kNone);  // not armed
  FaultFile file;
  CHECK(SSI_FAULT("t.point") == FaultAction::kNone);
  file.write("t.point error\nt.point kill-criu\n");
  CHECK(SSI_FAULT("t.other") == FaultAction::kNone);
  CHECK(SSI_FAULT("t.point") == FaultAction::kError);
  CHECK(SSI_FAULT("t.point") == FaultAction::kKillCriu);
  CHECK(SSI_FAULT("t.point") == FaultAction::kNone);
  CHECK(file.read().empty());
}

TEST_CASE("a file that others can write is ignored") {
  FaultFile file;
  file.write("t.point error\n");
  ::chmod(file.path.c_str(), 0666);
  CHECK(SSI_FAULT("t.point") == FaultAction::kNone);
}

TEST_CASE("kill kills this process with SIGKILL, once") {
  FaultFile file;
  file.write("t.point kill\n");
  const pid_t pid = ::fork();
  if (pid == 0) {
    (void)SSI_FAULT("t.point");
    ::_exit(0);
  }
  int status = 0;
  REQUIRE(::waitpid(pid, &status, 0) == pid);
  CHECK(WIFSIGNALED(status));
  CHECK(WTERMSIG(status) == SIGKILL);
  CHECK(file.read().empty());
}

TEST_CASE("pause waits until its line is taken away") {
  FaultFile file;
  file.write("t.point pause\n");
  std::atomic<bool> passed{false};
  std::thread thread([&] {
    (void)SSI_FAULT("t.point");
    passed = true;
  });
  const std::string marked = "t.point paused " + std::to_string(::getpid()) + "\n";
  for (int i = 0; i < 2000 && file.read() != marked; ++i) ::poll(nullptr, 0, 1);
  CHECK(file.read() == marked);
  CHECK(!passed);
  file.write("");
  thread.join();
  CHECK(passed);
}

}  // namespace ssi
