// For tests: a process to look at.
#pragma once

#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <functional>
#include <string>

#include "migrate/check/check.h"
#include "migrate/check/read_facts.h"

namespace ssi::check {

// A child of ours that has prepared itself as told and waits; without any descriptor but its own.
class Subject {
 public:
  explicit Subject(const std::function<void()>& prepare) {
    int ready[2];
    REQUIRE(pipe2(ready, O_CLOEXEC) == 0);
    pid_ = fork();
    if (pid_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      dup2(ready[1], 1000);
      close_range(0, 999, 0);
      close_range(1001, ~0U, 0);
      prepare();
      close(1000);
      for (;;) pause();
    }
    close(ready[1]);
    char byte;
    (void)!read(ready[0], &byte, 1);  // that, or end of file
    close(ready[0]);
  }
  ~Subject() { end(); }
  Subject(const Subject&) = delete;
  Subject& operator=(const Subject&) = delete;
  void end() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }
  pid_t pid() const { return pid_; }
  ProcessFacts facts() const {
    auto result = read_facts(pid_);
    REQUIRE_MESSAGE(result.ok(), (result.ok() ? "" : result.error().message()));
    return *result;
  }
  std::string reason() const {
    const auto refusal = check(facts(), {});
    return refusal ? refusal->reason() : "";
  }

 private:
  pid_t pid_ = -1;
};

inline std::string temporary_file() {
  std::string path = std::filesystem::temp_directory_path() / "ssid-check-XXXXXX";
  close(mkstemp(path.data()));
  return path;
}

}  // namespace ssi::check
