#include "ssid/base/proc_status.h"

#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <future>
#include <thread>

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

TEST_CASE("the children of a process, of its threads too") {
  const auto start = [] {
    const pid_t child = ::fork();
    if (child == 0) {
      ::pause();
      ::_exit(0);
    }
    return child;
  };
  const pid_t first = start();
  pid_t second = -1;
  std::promise<void> started, end;
  std::thread other([&] {
    second = start();
    started.set_value();
    end.get_future().wait();
  });
  started.get_future().wait();
  auto children = children_of(::getpid());
  for (const pid_t child : {first, second}) {
    CHECK(std::ranges::count(children, child) == 1);
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
  }
  end.set_value();
  other.join();
  CHECK(children_of(999999999).empty());
}

TEST_CASE("the threads of a process") {
  std::promise<void> end;
  std::thread other([wait = end.get_future()] { wait.wait(); });
  const auto threads = threads_of(::getpid());
  end.set_value();
  other.join();
  CHECK(threads.size() >= 2);
  CHECK(std::ranges::count(threads, ::getpid()) == 1);
  CHECK(threads_of(999999999).empty());
}
