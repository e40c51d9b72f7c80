#include "tests/lab/init/supervisor.h"

#include <doctest/doctest.h>

#include <csignal>
#include <utility>

namespace ssi::lab {

namespace {

using namespace std::chrono_literals;

class CountingLauncher : public Launcher {
 public:
  Result<pid_t> launch(const ServiceSpec& spec) override {
    launched.push_back(spec.name);
    return next_pid++;
  }
  void signal(pid_t pid, int signal) override { signals.emplace_back(pid, signal); }

  std::vector<std::string> launched;
  std::vector<std::pair<pid_t, int>> signals;
  pid_t next_pid = 10;
};

std::vector<ServiceSpec> two_services() {
  return {*parse_service("corosync notify /var/log/corosync.log /usr/sbin/corosync -f"),
          *parse_service("ssid simple /var/log/ssid.log /usr/sbin/ssid")};
}

}  // namespace

TEST_CASE("the second service starts when the first is ready") {
  CountingLauncher launcher;
  Supervisor supervisor(two_services(), launcher);
  const TimePoint now{};
  supervisor.advance(now);
  CHECK(launcher.launched == std::vector<std::string>{"corosync"});
  supervisor.on_ready(10);
  supervisor.advance(now);
  CHECK(launcher.launched == std::vector<std::string>{"corosync", "ssid"});
  CHECK(supervisor.status()[1] == "ready");
}

TEST_CASE("a service that never gets ready holds the next one up for a while only") {
  CountingLauncher launcher;
  Supervisor supervisor(two_services(), launcher);
  TimePoint now{};
  supervisor.advance(now);
  REQUIRE(supervisor.next_deadline());
  now = *supervisor.next_deadline();
  supervisor.advance(now);
  supervisor.advance(now);
  CHECK(launcher.launched.size() == 2);
}

TEST_CASE("a service that dies is started again, after the delay") {
  CountingLauncher launcher;
  Supervisor supervisor(two_services(), launcher);
  TimePoint now{};
  supervisor.advance(now);
  supervisor.on_ready(10);
  supervisor.advance(now);
  supervisor.on_exit(11, now);
  supervisor.advance(now);
  CHECK(launcher.launched.size() == 2);
  now += Supervisor::kRestartDelay;
  supervisor.advance(now);
  CHECK(launcher.launched.size() == 3);
  CHECK(launcher.launched.back() == "ssid");
}

TEST_CASE("a stopped service stays down until it is started") {
  CountingLauncher launcher;
  Supervisor supervisor(two_services(), launcher);
  TimePoint now{};
  supervisor.advance(now);
  supervisor.on_ready(10);
  supervisor.advance(now);
  REQUIRE(supervisor.command("stop", "ssid", 0, now));
  CHECK(launcher.signals.front() == std::pair<pid_t, int>{11, SIGTERM});
  supervisor.on_exit(11, now);
  now += 1h;
  supervisor.advance(now);
  CHECK(launcher.launched.size() == 2);
  CHECK(supervisor.status()[5] == "stopped");
  REQUIRE(supervisor.command("start", "ssid", 0, now));
  supervisor.advance(now);
  CHECK(launcher.launched.size() == 3);
}

TEST_CASE("a service that ignores SIGTERM is killed") {
  CountingLauncher launcher;
  Supervisor supervisor(two_services(), launcher);
  TimePoint now{};
  supervisor.advance(now);
  REQUIRE(supervisor.command("restart", "corosync", 0, now));
  now += Supervisor::kStopTimeout;
  supervisor.advance(now);
  CHECK(launcher.signals.back() == std::pair<pid_t, int>{10, SIGKILL});
  supervisor.on_exit(10, now);
  supervisor.advance(now);
  CHECK(launcher.launched == std::vector<std::string>{"corosync", "corosync"});
}

TEST_CASE("wrong commands are refused") {
  CountingLauncher launcher;
  Supervisor supervisor(two_services(), launcher);
  CHECK(!supervisor.command("stop", "nfsd", 0, TimePoint{}));
  CHECK(!supervisor.command("dance", "ssid", 0, TimePoint{}));
  CHECK(!supervisor.command("kill", "ssid", SIGKILL, TimePoint{}));
  CHECK(!parse_service("ssid notify /log"));
  CHECK(!parse_service("ssid often /log /usr/sbin/ssid"));
}

}  // namespace ssi::lab
