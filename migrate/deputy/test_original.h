// For the tests of this room: a process of ours that becomes a deputy, and what is told to it then.
#pragma once

#include <doctest/doctest.h>
#include <signal.h>

#include <string>
#include <vector>

#include "migrate/deputy/conversion.h"
#include "migrate/deputy/deputy_protocol.h"
#include "migrate/deputy/proc_text.h"
#include "migrate/deputy/test_support.h"

namespace ssi::deputy::testing {

inline std::string why(const Result<>& result) { return result ? "" : result.error().message(); }

// A process in a frozen cgroup, and what it takes to make it a deputy.
struct Original {
  TestDir files;
  Counters counters{files.path("counters")};
  TestHost host{files.path("deputy.sock")};
  TestCgroup cgroup;  // after the files, before the family: its destructor lets frozen ones die
  Family family;

  explicit Original(int threads = 1, const char* how = "busy", std::vector<std::string> before = {})
      : family(command(std::move(before), threads, how)) {
    CHECK(counters.wait_counting(threads));
  }
  explicit Original(const std::vector<std::string>& words) : family(words) {}

  std::vector<std::string> command(std::vector<std::string> words, int threads, const char* how) {
    words.insert(words.end(), {program("deputy_test_victim"), files.path("counters"),
                               std::to_string(threads), how});
    return words;
  }

  void hold() const {
    cgroup.put("cgroup.procs", std::to_string(family.child()));
    cgroup.freeze();
  }

  ConversionPlan plan() const {
    return {.pid = family.child(),
            .start_time_ticks = start_time_ticks(family.child()).value_or(0),
            .cgroup_dir = cgroup.dir(),
            .stub_path = program("ssid-deputy"),
            .socket_path = files.path("deputy.sock"),
            .epoch = {7}};
  }

  std::string proc(const char* file) const {
    return read_proc_file(family.child(), file).value_or("gone");
  }
  void send(int signo) const { ::kill(family.child(), signo); }
  void convert() {
    const auto result = become_deputy(plan());
    REQUIRE_MESSAGE(result.ok(), why(result));
  }
  void convert_and_meet() {
    convert();
    cgroup.thaw();
    REQUIRE(host.accept());
  }
  std::string end_with(const ToDeputy& message) {
    REQUIRE(host.tell(message));
    return family.heard();
  }
};

inline Exit exit_message(int status) {
  Exit message;
  message.status = status;
  return message;
}
inline Die die_message(int signo) {
  Die message;
  message.signo = signo;
  return message;
}
inline Stop stop_message(int signo) {
  Stop message;
  message.signo = signo;
  return message;
}

}  // namespace ssi::deputy::testing
