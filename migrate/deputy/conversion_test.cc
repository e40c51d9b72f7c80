#include "migrate/deputy/conversion.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <random>
#include <string>
#include <vector>

#include "migrate/deputy/deputy_host.h"
#include "migrate/deputy/filter_check.h"
#include "migrate/deputy/proc_text.h"
#include "migrate/deputy/test_original.h"

namespace ssi::deputy {

using namespace testing;

TEST_CASE(
    "original becomes the deputy: same PID, parent, comm, command line; parent hears nothing") {
  Original original;
  const std::string cmdline = original.proc("cmdline");
  original.hold();
  const auto before = original.counters.all();
  const auto status_before = original.proc("status");
  original.convert();
  CHECK(original.cgroup.get("cgroup.events").find("frozen 1") != std::string::npos);
  original.cgroup.thaw();
  REQUIRE(original.host.accept());
  CHECK(original.host.hello().epoch == 7);
  CHECK(original.host.hello().home_pid == original.family.child());
  const auto peer = peer_of(original.host.connection());
  REQUIRE(peer.ok());
  CHECK(peer->pid == original.family.child());
  CHECK(original.proc("comm") == "deputy_test_vic\n");
  CHECK(original.proc("cmdline") == cmdline);
  CHECK(original.proc("stat").find(" " + std::to_string(original.family.parent()) + " ") !=
        std::string::npos);
  CHECK(original.counters.all() == before);
  CHECK(original.family.heard(0).empty());
  CHECK(original.end_with(exit_message(37)) == "exited 37");
  CHECK(original.family.heard() == "sigchld 1");
}

TEST_CASE("32 threads: none of them runs again") {
  for (const char* how : {"busy", "sleep", "sigsuspend"}) {
    CAPTURE(how);
    Original original(32, how);
    original.hold();
    const auto before = original.counters.all();
    original.convert_and_meet();
    CHECK(thread_ids(original.family.child()).value_or({}).size() == 1);
    CHECK(original.counters.all() == before);
    CHECK(original.family.heard(0).empty());
    CHECK(original.end_with(exit_message(0)) == "exited 0");
    CHECK(original.family.heard() == "sigchld 1");
  }
}

TEST_CASE("deputy holds no descriptor of the original") {
  Original original;
  original.hold();
  original.convert_and_meet();
  const std::string fds = "/proc/" + std::to_string(original.family.child()) + "/fd/";
  std::string found;
  for (int fd = 0; fd < 16; ++fd) {
    char target[256] = {};
    if (readlink((fds + std::to_string(fd)).c_str(), target, sizeof target - 1) > 0) {
      found += std::string(target) + " ";
    }
  }
  CHECK(found.find("socket:") != std::string::npos);
  CHECK(found.find("signalfd") != std::string::npos);
  CHECK(std::count(found.begin(), found.end(), ' ') == 2);
}

TEST_CASE("sleep(1) and python3 become deputies") {
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{"/bin/sleep", "1000"},
        std::vector<std::string>{"/usr/bin/python3", "-c",
                                 "import time\nwhile True: time.sleep(0.001)"}}) {
    if (::access(words[0].c_str(), X_OK) != 0) continue;
    Original original(words);
    short_pause();
    original.hold();
    original.convert_and_meet();
    CHECK(original.end_with(exit_message(3)) == "exited 3");
  }
}

TEST_CASE("signals that were dumped with the guest are dropped, once") {
  Original original;
  original.hold();
  original.send(SIGUSR1);
  sigqueue(original.family.child(), SIGRTMIN + 1, {.sival_int = 1});
  const auto queued = queued_signals(original.family.child());
  REQUIRE(queued.ok());
  CHECK(*queued == std::vector<int>{SIGUSR1, SIGRTMIN + 1});
  sigqueue(original.family.child(), SIGRTMIN + 1, {.sival_int = 2});
  ConversionPlan plan = original.plan();
  plan.carried_signals = *queued;
  plan.carried_signals.push_back(SIGUSR2);  // not in the queue any more
  const auto result = become_deputy(plan);
  REQUIRE_MESSAGE(result.ok(), why(result));
  original.cgroup.thaw();
  REQUIRE(original.host.accept());
  auto signal = original.host.next_signal();
  REQUIRE(signal);
  CHECK(signal->signo == SIGRTMIN + 1);
  CHECK(static_cast<int>(signal->value) == 2);
  for (int signo : {SIGUSR1, SIGUSR2}) {
    original.send(signo);
    signal = original.host.next_signal();
    REQUIRE(signal);
    CHECK(signal->signo == signo);
  }
}

TEST_CASE("under filters that let through only what a deputy calls, it becomes one and lives") {
  for (const int threads : {1, 3}) {
    Original original(threads, "filtered");
    CHECK(check_filters(original.family.child(), false));
    original.hold();
    const auto before = original.counters.all();
    CHECK(check_filters(original.family.child(), false));
    CHECK(original.counters.all() == before);
    original.convert_and_meet();
    original.cgroup.freeze();  // the system call in which it waits is begun anew
    original.cgroup.thaw();
    original.send(SIGUSR1);
    CHECK(original.host.next_signal()->signo == SIGUSR1);
    REQUIRE(original.host.tell(stop_message(SIGTSTP)));
    CHECK(original.family.heard() == "stopped " + std::to_string(SIGTSTP));
    original.send(SIGCONT);
    CHECK(original.family.heard() == "continued");
    REQUIRE(original.host.next());  // StopEnded
    original.host.hang_up();
    REQUIRE(original.host.accept());
    CHECK(original.proc("status").find("\nSeccomp:\t2\n") != std::string::npos);
    CHECK(original.end_with(die_message(SIGTERM)) == "killed " + std::to_string(SIGTERM));
  }
}

TEST_CASE("a stopped original stays stopped as deputy") {
  Original original(3);
  original.send(SIGSTOP);
  CHECK(original.family.heard() == "stopped 19");
  original.hold();
  const auto before = original.counters.all();
  original.convert();
  original.cgroup.thaw();
  CHECK(!original.host.accept(50));
  CHECK(original.family.heard(0).empty());
  original.send(SIGCONT);
  CHECK(original.family.heard() == "continued");
  REQUIRE(original.host.accept());
  CHECK(original.host.next_signal()->signo == SIGCONT);
  CHECK(original.counters.all() == before);
  CHECK(original.end_with(exit_message(0)) == "exited 0");
}

TEST_CASE("SIGSTOP in the frozen time stops the deputy") {
  Original original(3);
  original.hold();
  const auto before = original.counters.all();
  original.send(SIGSTOP);
  original.convert();
  CHECK(original.family.heard(0).empty());
  original.cgroup.thaw();
  CHECK(original.family.heard() == "stopped 19");
  original.send(SIGCONT);
  CHECK(original.family.heard() == "continued");
  REQUIRE(original.host.accept());
  CHECK(original.host.next_signal()->signo == SIGCONT);
  CHECK(original.counters.all() == before);
}

TEST_CASE("an alarm of the original does not come twice") {
  Original original(
      std::vector<std::string>{"/usr/bin/python3", "-c",
                               "import signal,time\nsignal.signal(signal.SIGALRM, lambda *a: 0)\n"
                               "signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)\n"
                               "while True: time.sleep(1)"});
  eventually([&] {
    return original.proc("timers") != "gone" &&
           original.proc("status").find("SigCgt:\t0000000000002") != std::string::npos;
  });
  original.hold();
  eventually([&] { return !queued_signals(original.family.child()).value_or({}).empty(); });
  original.convert_and_meet();
  CHECK(!original.host.next_signal(100));
  original.send(SIGALRM);
  CHECK(original.host.next_signal()->signo == SIGALRM);
}

TEST_CASE("a stub that can't be executed: the original is left frozen and goes on when thawed") {
  for (const char* how : {"busy", "sleep", "sigsuspend"}) {
    CAPTURE(how);
    Original original(32, how);
    original.hold();
    const auto before = original.counters.all();
    ConversionPlan plan = original.plan();
    plan.stub_path = "/nonexistent/stub";
    const auto result = become_deputy(plan);
    REQUIRE(!result.ok());
    CHECK(result.error().message().find("No such file or directory") != std::string::npos);
    CHECK(original.cgroup.get("cgroup.freeze") == "1\n");
    original.cgroup.freeze();
    CHECK(original.counters.all() == before);
    original.cgroup.thaw();
    if (std::string(how) == "sigsuspend") {
      original.send(SIGUSR1);
      CHECK(eventually([&] { return original.counters.all()[64] == 1; }));
    } else {
      CHECK(eventually([&] {
        const auto now = original.counters.all();
        for (std::size_t i = 0; i < 32; ++i) {
          if (now[i] <= before[i]) return false;
        }
        return true;
      }));
    }
    original.hold();  // and a second try works
    original.convert_and_meet();
    CHECK(original.end_with(exit_message(9)) == "exited 9");
  }
}

TEST_CASE("wrong input is refused and nothing is touched") {
  Original original;
  CHECK(!become_deputy(original.plan()).ok());  // not in the cgroup
  original.cgroup.put("cgroup.procs", std::to_string(original.family.child()));
  CHECK(!become_deputy(original.plan()).ok());  // not frozen
  original.hold();
  ConversionPlan plan = original.plan();
  ++plan.start_time_ticks;
  CHECK(become_deputy(plan).error().code() == ErrorCode::kGone);
  plan = original.plan();
  plan.cgroup_dir += "-not";
  CHECK(!become_deputy(plan).ok());
  original.cgroup.thaw();
  const auto before = original.counters.all()[0];
  CHECK(eventually([&] { return original.counters.all()[0] > before; }));
}

TEST_CASE("killed while frozen: gone, and the parent sees the true cause") {
  Original original(8);
  original.hold();
  const ConversionPlan plan = original.plan();
  original.send(SIGKILL);
  CHECK(original.family.heard() == "killed 9");
  CHECK(become_deputy(plan).error().code() == ErrorCode::kGone);
}

TEST_CASE(
    "SIGTERM to a frozen original without a handler: the kernel ends it, the parent sees SIGTERM") {
  Original original(8);
  original.hold();
  const ConversionPlan plan = original.plan();
  original.send(SIGTERM);
  CHECK(original.family.heard() == "killed 15");
  CHECK(become_deputy(plan).error().code() == ErrorCode::kGone);
}

TEST_CASE("a process of another user becomes a deputy with that user's credentials") {
  const std::string copy = program("ssid-deputy");
  Original original(2, "busy",
                    {"/usr/bin/setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"});
  // The build directory may be closed to others.
  const std::string stub = original.files.path("stub");
  { std::ofstream(stub) << read_file(copy); }
  chmod(stub.c_str(), 0755);
  original.hold();
  ConversionPlan plan = original.plan();
  plan.stub_path = stub;
  const auto result = become_deputy(plan);
  REQUIRE_MESSAGE(result.ok(), why(result));
  original.cgroup.thaw();
  REQUIRE(original.host.accept());
  CHECK(peer_of(original.host.connection())->uid == 65534);
  CHECK(original.end_with(exit_message(4)) == "exited 4");
}

TEST_CASE(
    "hard to start programs in: no descriptors, little memory, small stack, no new privileges") {
  Original original(4, "sleep", {"/usr/bin/setpriv", "--no-new-privs"});
  const auto limit = [&](__rlimit_resource what, rlim_t soft) {
    rlimit old{};
    REQUIRE(prlimit(original.family.child(), what, nullptr, &old) == 0);
    const rlimit now{soft, old.rlim_max};
    REQUIRE(prlimit(original.family.child(), what, &now, nullptr) == 0);
  };
  limit(RLIMIT_NOFILE, 0);
  limit(RLIMIT_AS, 1024 * 1024);
  limit(RLIMIT_STACK, 256 * 1024);
  limit(RLIMIT_DATA, 64 * 1024);
  original.hold();
  original.convert_and_meet();
  CHECK(original.end_with(exit_message(6)) == "exited 6");
}

TEST_CASE("a long command line and odd names stay as they were") {
  const std::string odd = "a b\nc\xff";
  Original original(std::vector<std::string>{"/usr/bin/python3", "-c",
                                             "import time,sys\n"
                                             "open('/proc/self/comm','w').write('x) (y\\tz')\n"
                                             "while True: time.sleep(0.01)",
                                             odd, "", std::string(20000, 'l'), ""});
  REQUIRE(eventually([&] { return original.proc("comm") == "x) (y\tz\n"; }));
  const std::string cmdline = original.proc("cmdline");
  REQUIRE(cmdline.size() > 20000);
  original.hold();
  original.convert_and_meet();
  CHECK(original.proc("cmdline") == cmdline);
  CHECK(original.proc("comm") == "x) (y\tz\n");
}

TEST_CASE("traced by somebody else: refused, and left as it was") {
  Original original(2);
  const pid_t child = original.family.child();
  int ready[2];
  REQUIRE(pipe2(ready, O_CLOEXEC) == 0);
  const pid_t debugger = fork();
  if (debugger == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    ptrace(PTRACE_SEIZE, child, nullptr, nullptr);
    close(ready[1]);
    for (;;) pause();
  }
  close(ready[1]);
  char byte;
  (void)!read(ready[0], &byte, 1);
  close(ready[0]);
  original.hold();
  const auto before = original.counters.all();
  const auto result = become_deputy(original.plan());
  REQUIRE(!result.ok());
  CHECK(result.error().code() == ErrorCode::kRefused);
  CHECK(original.counters.all() == before);
  kill(debugger, SIGKILL);
  waitpid(debugger, nullptr, 0);
  original.convert_and_meet();
  CHECK(original.end_with(exit_message(0)) == "exited 0");
}

// As when ssid is killed in the middle of it: at whatever moment, the old program does not run, the
// parent hears nothing, and the next ssid can do it again.
TEST_CASE(
    "whoever converts is killed at any moment: nothing of the old program runs, and a retry "
    "works") {
  std::mt19937 random(20);
  int finished = 0, cut_short = 0, converted = 0;
  for (int round = 0; round < 100; ++round) {
    CAPTURE(round);
    Original original(round % 3 == 0 ? 16 : 2, round % 2 == 0 ? "busy" : "sleep");
    original.hold();
    const auto before = original.counters.all();
    const ConversionPlan plan = original.plan();
    const pid_t converter = fork();
    if (converter == 0) {
      (void)become_deputy(plan);
      _exit(0);
    }
    const auto until =
        std::chrono::steady_clock::now() + std::chrono::microseconds(random() % 6000);
    while (std::chrono::steady_clock::now() < until) {
    }
    kill(converter, SIGKILL);
    int status = 0;
    waitpid(converter, &status, 0);
    (WIFEXITED(status) ? finished : cut_short)++;
    // What a restarted ssid does: freeze (it may have been the moment of the thaw) and convert.
    original.cgroup.freeze();
    CHECK(original.counters.all() == before);
    converted += original.proc("environ").starts_with("SSID_DEPUTY") ? 1 : 0;
    original.convert();
    while (original.host.accept(0)) {  // a deputy that ran already and is no more
    }
    original.cgroup.thaw();
    REQUIRE(original.host.accept());
    CHECK(original.counters.all() == before);
    CHECK(original.family.heard(0).empty());
    CHECK(original.end_with(exit_message(8)) == "exited 8");
    CHECK(original.family.heard() == "sigchld 1");
  }
  MESSAGE("killed " << cut_short << ", came to its end " << finished << ", deputy already "
                    << converted);
}

TEST_CASE("200 conversions under a rain of signals") {
  for (int round = 0; round < 200; ++round) {
    CAPTURE(round);
    const int threads = round % 4 == 0 ? 32 : 1 + round % 3;
    const char* const ways[] = {"busy", "sleep", "sigsuspend"};
    Original original(threads, ways[round % 3]);
    original.send(SIGUSR1);
    original.hold();
    const auto before = original.counters.all();
    if (round % 2 == 1) original.send(SIGUSR2);
    original.convert();
    original.send(SIGTERM);
    original.cgroup.thaw();
    REQUIRE(original.host.accept());
    CHECK(original.counters.all() == before);
    bool terminated = false;
    while (const auto signal = original.host.next_signal(terminated ? 0 : 5000)) {
      terminated |= signal->signo == SIGTERM;
    }
    CHECK(terminated);
    CHECK(original.family.heard(0).empty());
    CHECK(original.end_with(exit_message(round % 256)) == "exited " + std::to_string(round % 256));
    CHECK(original.family.heard() == "sigchld 1");
  }
}

}  // namespace ssi::deputy
