#include "ssid/daemon/stop_reports.h"

#include <doctest/doctest.h>

#include <future>
#include <string>

using namespace ssi;

namespace {

// A guest whose output goes home when the test lets it.
struct Fixture {
  boost::asio::io_context io;
  std::promise<void> gate;
  std::shared_future<void> open{gate.get_future()};
  std::string told;
  StopReports reports{io,
                      {.flush = [this](const migrate::StreamRef&) { open.wait(); },
                       .tell_stopped =
                           [this](const GuestRecord& r, int signo) {
                             told += "stopped " + std::to_string(r.ticket.pid.pid) + " by " +
                                     std::to_string(signo) + ". ";
                           },
                       .tell_continued =
                           [this](const GuestRecord& r) {
                             told += "continued " + std::to_string(r.ticket.pid.pid) + ". ";
                           }}};

  static GuestRecord guest(pid_t pid, bool terminal) {
    GuestRecord record;
    record.ticket.pid = {NodeId{1}, pid};
    record.streams.push_back({.id = 7, .write_end = true, .terminal = terminal ? 7u : 0u});
    return record;
  }
  void let_go() {
    auto work = boost::asio::make_work_guard(io);
    gate.set_value();
    io.run_for(std::chrono::milliseconds(200));
  }
};

}  // namespace

TEST_CASE_FIXTURE(Fixture,
                  "a stop is told when the output is home, and at once without a terminal") {
  reports.stopped(guest(100, true), 20);
  reports.stopped(guest(200, false), 19);
  CHECK(told == "stopped 200 by 19. ");
  let_go();
  CHECK(told == "stopped 200 by 19. stopped 100 by 20. ");
  reports.continued(guest(100, true));
  CHECK(told == "stopped 200 by 19. stopped 100 by 20. continued 100. ");
}

TEST_CASE_FIXTURE(Fixture, "one that goes on before its stop could be told was never stopped") {
  reports.stopped(guest(100, true), 20);
  reports.continued(guest(100, true));
  let_go();
  CHECK(told.empty());
}

TEST_CASE_FIXTURE(Fixture, "stopped, continued and stopped again: it is stopped") {
  reports.stopped(guest(100, true), 20);
  reports.continued(guest(100, true));
  reports.stopped(guest(100, true), 20);
  let_go();
  CHECK(told == "stopped 100 by 20. ");
}
