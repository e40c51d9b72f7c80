#include "ssid/base/proc_status.h"

#include <doctest/doctest.h>
#include <unistd.h>

using namespace ssi;

TEST_CASE("lines of a process's status") {
  CHECK(proc_status_line(::getpid(), "Tgid") == "\t" + std::to_string(::getpid()));
  CHECK(proc_status_line(::getpid(), "Tg").empty());
  CHECK(proc_status_line(::getpid(), "NoSuchLine").empty());
  CHECK(proc_status_line(999999999, "Tgid").empty());
}

TEST_CASE("the PID that a process sees itself") {
  CHECK(innermost_pid(::getpid()) == ::getpid());
  CHECK(innermost_pid(999999999) == 0);
}
