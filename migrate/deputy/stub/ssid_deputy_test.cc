// What a deputy does once it is one: signals, stops, its end, and an ssid that goes and comes back.
#include <doctest/doctest.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <variant>

#include "migrate/deputy/deputy_host.h"
#include "migrate/deputy/stop_watcher.h"
#include "migrate/deputy/test_original.h"

namespace ssi::deputy {

using namespace testing;

TEST_CASE("deputy dies of the guest's signal and writes no core") {
  for (int signo : {SIGKILL, SIGTERM, SIGSEGV, SIGABRT, SIGUSR1, SIGALRM, SIGRTMIN + 3}) {
    CAPTURE(signo);
    Original original;
    original.hold();
    original.convert_and_meet();
    CHECK(original.end_with(die_message(signo)) == "killed " + std::to_string(signo));
  }
}

TEST_CASE("signals come in order, with code, value and sender; those of the frozen time too") {
  Original original;
  original.hold();
  original.send(SIGUSR1);
  original.convert();
  original.send(SIGTERM);
  original.cgroup.thaw();
  REQUIRE(original.host.accept());
  int seen = 0;
  for (int i = 0; i < 2; ++i) {
    const auto signal = original.host.next_signal();
    REQUIRE(signal);
    CHECK(signal->sender_pid == getpid());
    CHECK(signal->sender_uid == getuid());
    CHECK(signal->code == SI_USER);
    seen |= 1 << signal->signo;
  }
  CHECK(seen == ((1 << SIGUSR1) | (1 << SIGTERM)));
  for (int i = 0; i < 100; ++i) {
    sigqueue(original.family.child(), SIGRTMIN + 1, {.sival_int = i});
  }
  for (int i = 0; i < 100; ++i) {
    const auto signal = original.host.next_signal();
    REQUIRE(signal);
    CHECK(signal->signo == SIGRTMIN + 1);
    CHECK(static_cast<int>(signal->value) == i);
    CHECK(signal->code == SI_QUEUE);
    CHECK(signal->sequence == static_cast<std::uint64_t>(i) + 3);
  }
  CHECK(original.family.heard(0).empty());
}

TEST_CASE("ssid is restarted: deputy connects again and sends what was not acked") {
  Original original;
  original.hold();
  original.convert_and_meet();
  original.send(SIGUSR1);
  REQUIRE(original.host.next());  // read, not acked
  original.host.hang_up();
  original.send(SIGUSR2);
  REQUIRE(original.host.accept());
  auto signal = original.host.next_signal();
  REQUIRE(signal);
  CHECK(signal->signo == SIGUSR1);
  CHECK(signal->sequence == 1);
  signal = original.host.next_signal();
  REQUIRE(signal);
  CHECK(signal->signo == SIGUSR2);
  CHECK(signal->sequence == 2);
  CHECK(original.end_with(exit_message(1)) == "exited 1");
}

TEST_CASE("garbage to the deputy: it hangs up and lives") {
  Original original;
  original.hold();
  original.convert_and_meet();
  const std::string garbage(300, 'x');
  for (std::size_t size : {1UL, 7UL, 8UL, 16UL, 64UL, 300UL}) {
    REQUIRE(::send(original.host.connection(), garbage.data(), size, 0) > 0);
    CHECK(!original.host.next());
    REQUIRE(original.host.accept());
  }
  CHECK(original.end_with(exit_message(5)) == "exited 5");
}

TEST_CASE("guest is stopped: parent sees the same stop, and the continue") {
  Original original;
  original.hold();
  original.convert_and_meet();
  for (int signo : {SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU}) {
    CAPTURE(signo);
    REQUIRE(original.host.tell(stop_message(signo)));
    CHECK(original.family.heard() == "stopped " + std::to_string(signo));
    original.send(SIGCONT);
    CHECK(original.family.heard() == "continued");
    const auto ended = original.host.next();
    REQUIRE(ended);
    REQUIRE(std::holds_alternative<StopEnded>(*ended));
    CHECK(std::get<StopEnded>(*ended).was_stopped == 1);
    const auto signal = original.host.next_signal();
    REQUIRE(signal);
    CHECK(signal->signo == SIGCONT);
  }
  REQUIRE(original.host.tell(stop_message(SIGSTOP)));
  CHECK(original.family.heard() == "stopped 19");
  auto peer = peer_of(original.host.connection());
  REQUIRE(peer.ok());
  REQUIRE(continue_deputy(*peer->pidfd).ok());
  CHECK(original.family.heard() == "continued");
  REQUIRE(original.host.next());  // StopEnded
  original.send(SIGUSR1);
  CHECK(original.host.next_signal()->signo == SIGUSR1);  // no SIGCONT before it
}

TEST_CASE("a watched deputy: stops are reported, its end reaches the parent at once") {
  StopWatcher watcher;
  Original original(4);
  original.hold();
  original.convert();
  REQUIRE(watcher.watch(original.family.child()).ok());
  original.cgroup.thaw();
  REQUIRE(original.host.accept());
  original.send(SIGSTOP);
  CHECK(original.family.heard() == "stopped 19");
  REQUIRE(wait_readable(watcher.event_fd(), 5000));
  CHECK(watcher.take().at(0).kind == StopReport::Kind::kStopped);
  original.send(SIGCONT);
  CHECK(original.family.heard() == "continued");
  CHECK(original.host.next_signal()->signo == SIGCONT);
  original.send(SIGTERM);
  CHECK(original.host.next_signal()->signo == SIGTERM);
  REQUIRE(original.host.tell(stop_message(SIGTSTP)));
  CHECK(original.family.heard() == "stopped 20");
  original.send(SIGCONT);
  CHECK(original.family.heard() == "continued");
  REQUIRE(original.host.next());  // StopEnded
  CHECK(original.host.next_signal()->signo == SIGCONT);
  CHECK(original.end_with(die_message(SIGABRT)) == "killed 6");
}

}  // namespace ssi::deputy
