// A directory laid out like /proc, for the tests of this room. Removed with the object.
#pragma once

#include <stdlib.h>
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>

#include "ssid/base/check.h"

namespace ssi {

class FakeProc {
 public:
  struct Process {
    int pid = 100;
    int ppid = 1;
    std::string comm = "job";
    char state = 'S';
    std::uint64_t start_ticks = 1000;
    std::uint64_t cpu_ticks = 0;
    std::uint64_t wait_ms = 0;
    int threads = 1;
    std::uint64_t flags = 0x400000;
    std::uint64_t stack = 140734377698864;
    std::string exe = "/usr/bin/job";
    unsigned uid = 1000;
    std::uint64_t rss_pages = 256;
  };

  FakeProc() {
    char name[] = "/tmp/fake_proc_XXXXXX";
    SSI_CHECK(::mkdtemp(name) != nullptr);
    root_ = name;
    uptime(20);
    file("meminfo", "MemTotal:       16000000 kB\nMemFree: 1 kB\nMemAvailable:    8000000 kB\n");
    file("cpuinfo", "processor : 0\ncpu MHz\t\t: 2596.142\n");
  }
  ~FakeProc() {
    std::error_code ignored;
    std::filesystem::remove_all(root_, ignored);
  }
  FakeProc(const FakeProc&) = delete;
  FakeProc& operator=(const FakeProc&) = delete;

  const std::string& root() const { return root_; }
  std::string path(const std::string& name) const { return root_ + "/" + name; }

  void file(const std::string& name, const std::string& text) {
    std::filesystem::create_directories(std::filesystem::path(path(name)).parent_path());
    std::ofstream(path(name), std::ios::trunc) << text;
  }
  void uptime(double seconds) { file("uptime", std::to_string(seconds) + " 1.0\n"); }

  void put(const Process& p) {
    const std::string dir = std::to_string(p.pid);
    file(dir + "/stat",
         dir + " (" + p.comm + ") " + p.state + " " + std::to_string(p.ppid) + " " + dir + " " +
             dir + " 0 -1 " + std::to_string(p.flags) + " 101 0 0 0 " +
             std::to_string(p.cpu_ticks) + " 0 0 0 20 0 " + std::to_string(p.threads) + " 0 " +
             std::to_string(p.start_ticks) + " 3133440 " + std::to_string(p.rss_pages) +
             " 18446744073709551615 94328792084480 " + "94328792104361 " + std::to_string(p.stack) +
             " 0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0 94328792120368 94328792121984 94329535803392 " +
             "140734377704071 140734377704091 140734377704091 140734377705451 0\n");
    file(dir + "/schedstat", std::to_string(p.cpu_ticks * 10'000'000) + " " +
                                 std::to_string(p.wait_ms * 1'000'000) + " 2\n");
    file(dir + "/status", "Name:\t" + p.comm + "\nUid:\t" + std::to_string(p.uid) + "\t0\t0\t0\n");
    std::error_code ignored;
    std::filesystem::remove(path(dir + "/exe"), ignored);
    std::filesystem::create_symlink(p.exe, path(dir + "/exe"), ignored);
  }
  void thread(int pid, int tid, std::uint64_t run_ms, std::uint64_t wait_ms) {
    file(std::to_string(pid) + "/task/" + std::to_string(tid) + "/schedstat",
         std::to_string(run_ms * 1'000'000) + " " + std::to_string(wait_ms * 1'000'000) + " 2\n");
  }
  void remove(int pid) {
    std::error_code ignored;
    std::filesystem::remove_all(path(std::to_string(pid)), ignored);
  }

 private:
  std::string root_;
};

}  // namespace ssi
