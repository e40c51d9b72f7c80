// For the tests of this room: real processes, real cgroups, a real parent. Everything cleans up
// after itself.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "migrate/deputy/deputy_host.h"
#include "ssid/base/unique_fd.h"

namespace ssi::deputy::testing {

// A new cgroup v2 directory. On destruction kills what is left in it and removes it.
class TestCgroup {
 public:
  TestCgroup();
  ~TestCgroup();
  TestCgroup(const TestCgroup&) = delete;
  TestCgroup& operator=(const TestCgroup&) = delete;
  const std::string& dir() const { return dir_; }
  void put(const char* file, const std::string& text) const;
  std::string get(const char* file) const;
  void freeze() const;  // returns when frozen
  void thaw() const { put("cgroup.freeze", "0"); }

 private:
  std::string dir_;
};

// A directory of its own below the system's temporary one.
class TestDir {
 public:
  TestDir();
  ~TestDir();
  TestDir(const TestDir&) = delete;
  TestDir& operator=(const TestDir&) = delete;
  std::string path(const char* name) const { return dir_ + "/" + name; }

 private:
  std::string dir_;
};

// A program started by testdata/parent.cc.
class Family {
 public:
  explicit Family(const std::vector<std::string>& command);
  ~Family();
  Family(const Family&) = delete;
  Family& operator=(const Family&) = delete;
  pid_t parent() const { return parent_; }
  pid_t child() const { return child_; }
  // The next thing that wait told the parent; empty if there is none within the time.
  std::string heard(int timeout_ms = 5000);

 private:
  UniqueFd output_;
  std::string text_;
  pid_t parent_ = -1;
  pid_t child_ = -1;
};

// The counters of testdata/victim.cc.
class Counters {
 public:
  explicit Counters(const std::string& path);
  ~Counters();
  Counters(const Counters&) = delete;
  Counters& operator=(const Counters&) = delete;
  std::vector<std::uint64_t> all() const;
  bool wait_counting(int threads) const;

 private:
  volatile std::uint64_t* shared_;
};

// ssid's side of one deputy.
class TestHost {
 public:
  explicit TestHost(const std::string& path);
  bool accept(int timeout_ms = 5000);
  void hang_up() { connection_.reset(); }
  std::optional<FromDeputy> next(int timeout_ms = 5000);
  std::optional<Signal> next_signal(int timeout_ms = 5000);  // acked
  bool tell(const ToDeputy& message);
  int connection() const { return *connection_; }
  // It stays open, and the next one is accepted beside it.
  UniqueFd take_connection() { return std::move(connection_); }
  Hello hello() const { return hello_; }

 private:
  UniqueFd listener_;
  UniqueFd connection_;
  Hello hello_;
};

std::string program(const char* name);  // of this build
std::string read_file(const std::string& path);
bool wait_readable(int fd, int timeout_ms);
// Looks again and again until it is so; false after 5 s.
template <typename Predicate>
bool eventually(Predicate predicate);
void short_pause();

template <typename Predicate>
bool eventually(Predicate predicate) {
  for (int i = 0; i < 5000; ++i) {
    if (predicate()) return true;
    short_pause();
  }
  return false;
}

}  // namespace ssi::deputy::testing
