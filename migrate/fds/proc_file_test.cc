#include "migrate/fds/proc_file.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <string>

#include "ssid/base/unique_fd.h"

namespace ssi::fds {

TEST_CASE("files about one process are known by their names") {
  for (const char* path : {"/proc/812", "/proc/812/status", "/proc/812/maps", "/proc/812/fd",
                           "/proc/812/task", "/proc/812/task/812", "/proc/812/task/812/stat"}) {
    const auto file = parse_proc_file(path, O_RDONLY, 0);
    CHECK_MESSAGE(file.pid == 812, path);
    CHECK_MESSAGE(!proc_file_why_not(file, {812}), path);
  }
  CHECK(parse_proc_file("/proc/812/status", O_RDONLY, 1).begun);
  CHECK(!parse_proc_file("/proc/812/fd", O_RDONLY, 3).begun);
  CHECK(!parse_proc_file("/proc/812/cmdline", O_RDONLY, 1).begun);
  CHECK(parse_proc_file("/proc/1/cmdline", O_RDONLY, 1).begun);  // another one's there
}

TEST_CASE("files about the machine are known by their names") {
  for (const char* path :
       {"/proc", "/proc/stat", "/proc/meminfo", "/proc/cmdline", "/proc/pressure/cpu",
        "/proc/sys/fs/nr_open", "/proc/sys/vm/overcommit_memory"}) {
    const auto file = parse_proc_file(path, O_RDONLY, 0);
    CHECK_MESSAGE(file.about == ProcFile::About::kMachine, path);
    CHECK_MESSAGE(!proc_file_why_not(file, {812}), path);
  }
  CHECK(parse_proc_file("/proc/stat", O_RDONLY, 1).begun);
  CHECK(parse_proc_file("/proc/sys/fs/nr_open", O_RDONLY, 8).begun);
  CHECK(!parse_proc_file("/proc", O_RDONLY, 300).begun);
  CHECK(parse_proc_file("/proc/cmdline", O_RDONLY, 1).begun);
}

TEST_CASE("what is a mixture, or of this node only, is none") {
  for (const char* path :
       {"/proc/", "/proc/self/status", "/proc/812/mounts", "/proc/kmsg",
        "/proc/sys/net/core/somaxconn", "/proc/812/net/tcp", "/proc/812/cgroup",
        "/proc/812/attr/current", "/proc/812/mem", "/proc/812x/status", "/proc/-1/status",
        "/proc/0/status", "/proc/812/task/x/stat", "/proc/812/status (deleted)", "/sys/812/status",
        "/proc/99999999999/status", "status"}) {
    CHECK_MESSAGE(!parse_proc_file(path, O_RDONLY, 0).moves_by_name(), path);
  }
}

TEST_CASE("the directory of a process that has ended is known by its name") {
  CHECK(ended_process("/proc/812") == 812);
  for (const char* path : {"/proc", "/proc/812/fd", "/proc/x", "/sys/812", "/tmp/proc/812"}) {
    CHECK_MESSAGE(ended_process(path) == 0, path);
  }
}

TEST_CASE("why a file of /proc stays") {
  const auto why_not = [](const char* path, std::uint32_t flags = O_RDONLY,
                          std::uint64_t position = 0) {
    return proc_file_why_not(parse_proc_file(path, flags, position), {812, 813}).value_or("");
  };
  CHECK(why_not("/proc/2/status") == "about process 2, which stays");
  CHECK(why_not("/proc/1/status") == "");
  CHECK(why_not("/proc/1/environ", O_RDONLY, 5) == "that it has begun to read");
  CHECK(why_not("/proc/812/task/815/status") == "about one thread");
  CHECK(why_not("/proc/812/comm", O_RDWR) == "that it may write to");
  CHECK(why_not("/proc/sys/vm/swappiness", O_RDWR) == "that it may write to");
  CHECK(why_not("/proc/813/maps", O_RDONLY, 17) == "that it has begun to read");
  CHECK(why_not("/proc/stat", O_RDONLY, 17) == "that it has begun to read");
  CHECK(why_not("/proc/813/maps") == "");
}

TEST_CASE("mappings are read on at the same byte, behind none that is called otherwise there") {
  const std::string first = "55d0c0000000-55d0c0021000 rw-p 00000000 00:00 0          [heap]\n";
  const std::string memory =
      "7f0000000000-7f0000001000 rw-s 00000000 00:01 33         /memfd:x (deleted)\n";
  const std::string deleted =
      "7f0000001000-7f0000002000 r--p 00000000 fd:01 34         /tmp/lib.so (deleted)\n";
  const std::string bare = "7f0000002000-7f0000003000 rw-p 00000000 00:00 0 \n";
  const std::string maps = bare + first + memory + deleted + bare;
  const std::size_t device = bare.find("00:00"), inode_end = bare.size() - 2;
  for (std::size_t i = 0; i <= bare.size(); ++i) {
    CHECK_MESSAGE(goes_on_there(maps, i) == (i <= device || i >= inode_end), i);
  }
  std::uint64_t position = bare.size() + first.size();
  CHECK(goes_on_there(maps, position));
  CHECK(goes_on_there(maps, position += memory.size()));
  CHECK_FALSE(goes_on_there(maps, position + 1));
  CHECK_FALSE(goes_on_there(maps, position += deleted.size()));
  CHECK_FALSE(goes_on_there(maps, maps.size()));
  CHECK_FALSE(goes_on_there(bare, bare.size() + 1));
  CHECK(goes_on_there(bare, bare.size()));
  CHECK_FALSE(goes_on_there("\n\n", 3));
}

TEST_CASE("what was read to its end is at its end there, what does not change is where it was") {
  const auto beyond_all = std::uint64_t{1} << 30;
  CHECK(position_there("/proc/stat", 0) == 0);
  CHECK(position_there("/proc/stat", 100) > beyond_all);
  CHECK(position_there("/proc/812/status", 100) > beyond_all);
  CHECK(position_there("/proc/812/environ", 100) == 100);
  CHECK(position_there("/proc", 300) == 300);
  CHECK(position_there("/tmp/proc/stat", 100) == 100);
  CHECK(position_there("/proc/812/maps", 100) == 100);
}

TEST_CASE("a file is asked for its end, and who reads it does not notice") {
  for (const char* path : {"/proc/stat", "/proc/self/maps", "/proc/sys/kernel/osrelease",
                           "/proc/sys/fs/nr_open", "/proc/self/oom_score_adj", "/proc/cpuinfo"}) {
    CAPTURE(path);
    const UniqueFd asked(open(path, O_RDONLY | O_CLOEXEC));
    REQUIRE(asked);
    const auto at_end = [&] { return is_at_its_end(getpid(), *asked).value(); };
    CHECK(!at_end());
    CHECK(!at_end());
    char piece[1 << 16];
    std::string all;
    for (ssize_t got = 1; got > 0;) {
      got = read(*asked, piece, sizeof piece);
      REQUIRE(got >= 0);
      all.append(piece, static_cast<std::size_t>(got));
      (void)at_end();
      CHECK(lseek(*asked, 0, SEEK_CUR) == static_cast<off_t>(all.size()));
    }
    CHECK(all.ends_with('\n'));
    CHECK(at_end());
    const auto there = static_cast<off_t>(position_there("/proc/stat", 1));
    CHECK(lseek(*asked, there, SEEK_SET) == there);
    CHECK(at_end());
    CHECK(lseek(*asked, 0, SEEK_SET) == 0);
    CHECK(!at_end());
  }
}

TEST_CASE("who reads in pieces gets the same, asked in between or not") {
  const auto read_maps = [](bool ask) {
    const UniqueFd maps(open("/proc/self/maps", O_RDONLY | O_CLOEXEC));
    std::string all;
    char piece[1000];
    for (ssize_t got = 1; got > 0;) {
      got = read(*maps, piece, sizeof piece);
      REQUIRE(got >= 0);
      all.append(piece, static_cast<std::size_t>(got));
      if (ask) CHECK(is_at_its_end(getpid(), *maps).value() == all.ends_with("[vsyscall]\n"));
    }
    return all;
  };
  (void)read_maps(false);  // so that no more memory is mapped
  const std::string asked = read_maps(true);
  CHECK(asked.size() > 1000);
  CHECK(asked == read_maps(false));
}

}  // namespace ssi::fds
