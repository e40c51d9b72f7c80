#include "loadlevel/metrics/proc_text.h"

#include <doctest/doctest.h>

#include <random>
#include <string>

using namespace ssi;

namespace {
// Recorded on Linux 6.18.
constexpr const char* kStat =
    "10285 (cat) R 10280 10281 7316 0 -1 4194304 101 0 0 0 12 30 0 0 20 0 4 0 414271 3133440 366 "
    "18446744073709551615 94328792084480 94328792104361 140734377698864 0 0 0 0 0 0 0 0 0 17 0 0 0 "
    "0 0 0 "
    "94328792120368 94328792121984 94329535803392 140734377704071 140734377704091 140734377704091 "
    "140734377705451 0\n";
constexpr const char* kKernelThread =
    "2 (kthreadd) S 0 0 0 0 -1 2129984 0 0 0 0 0 1 0 0 20 0 1 0 0 0 0 18446744073709551615 0 0 0 0 "
    "0 0 0 "
    "2147483647 0 0 0 0 0 1 0 0 0 0 0 0 0 0 0 0 0 0 0\n";
constexpr const char* kMountInfo =
    "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n"
    "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:3 - cgroup cgroup rw,memory\n"
    "41 31 0:38 /lab /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";
constexpr const char* kPressure =
    "some avg10=1.75 avg60=0.20 avg300=0.06 total=7263728\nfull avg10=0.50 avg60=0.00 avg300=0.00 "
    "total=0\n";
}  // namespace

TEST_CASE("a recorded stat line is read field by field") {
  const auto s = proc::parse_stat(kStat);
  REQUIRE(s);
  CHECK(s->pid == 10285);
  CHECK(s->comm == "cat");
  CHECK(s->state == 'R');
  CHECK(s->ppid == 10280);
  CHECK(s->process_group == 10281);
  CHECK(s->session == 7316);
  CHECK(s->tty == 0);
  CHECK(s->vsz_bytes == 3133440);
  CHECK(s->utime_ticks == 12);
  CHECK(s->stime_ticks == 30);
  CHECK(s->threads == 4);
  CHECK(s->start_ticks == 414271);
  CHECK(s->rss_pages == 366);
  CHECK_FALSE(s->kernel_thread());
  CHECK(proc::parse_stat(kKernelThread)->kernel_thread());
}

TEST_CASE("a name with brackets, blanks and newlines does not shift the fields") {
  std::string text(kStat);
  text.replace(text.find("(cat)"), 5, "(a) R 1 (b\n)) ");
  const auto s = proc::parse_stat(text);
  REQUIRE(s);
  CHECK(s->comm == "a) R 1 (b\n)");
  CHECK(s->ppid == 10280);
  CHECK(s->start_ticks == 414271);
}

TEST_CASE("a terminal's number has the name of its device") {
  std::string text(kStat);
  text.replace(text.find(" 7316 0 "), 8, " 7316 34819 ");
  CHECK(proc::parse_stat(text)->tty == 34819);
  CHECK(proc::tty_name(34819) == "pts/3");
  CHECK(proc::tty_name(34816 + (1 << 20)) == "pts/256");
  CHECK(proc::tty_name(1025) == "tty1");
  CHECK(proc::tty_name(1024 + 65) == "ttyS1");
  CHECK(proc::tty_name(1281) == "console");
  CHECK(proc::tty_name(229 << 8) == "229:0");
  CHECK(proc::tty_name(0).empty());
}

TEST_CASE("executing another program changes the image print, running on does not") {
  const auto before = proc::parse_stat(kStat);
  std::string ran(kStat), executed(kStat);
  ran.replace(ran.find(" 12 30 "), 7, " 99 31 ");
  executed.replace(executed.find("140734377698864"), 15, "140731111111111");
  CHECK(proc::parse_stat(ran)->image_print == before->image_print);
  CHECK(proc::parse_stat(executed)->image_print != before->image_print);
}

TEST_CASE("the other files") {
  CHECK(proc::parse_schedstat("774269 45718 2\n")->wait_ns == 45718);
  CHECK(proc::parse_schedstat("774269 45718 2\n")->run_ns == 774269);
  CHECK_FALSE(proc::parse_schedstat("774269"));
  CHECK(*proc::parse_status_uid("Name:\tx\nUmask:\t0022\nUid:\t1000\t0\t0\t0\nGid:\t5\n") == 1000);
  const auto memory = proc::parse_meminfo(
      "MemTotal:       24684084 kB\nMemFree:        24473324 kB\n"
      "MemAvailable:   24407304 kB\nBuffers:            1620 kB\n");
  REQUIRE(memory);
  CHECK(memory->total_bytes == 24684084ULL * 1024);
  CHECK(memory->available_bytes == 24407304ULL * 1024);
  CHECK_FALSE(proc::parse_meminfo("MemTotal: 5 kB\n"));
  CHECK(*proc::parse_cpuinfo_mhz("cpu MHz\t\t: 800.1\n\ncpu MHz\t\t: 2596.142\n") ==
        doctest::Approx(2596.142));
  CHECK_FALSE(proc::parse_cpuinfo_mhz("model name : x\n"));
  CHECK(*proc::parse_number("123\n") == 123);
  CHECK_FALSE(proc::parse_number("max\n"));
  CHECK(*proc::parse_named_number("anon 5\ninactive_file 77\n", "inactive_file") == 77);
  CHECK(proc::parse_pressure(kPressure)->some_avg10 == doctest::Approx(1.75));
  CHECK(proc::parse_pressure(kPressure)->full_avg10 == doctest::Approx(0.5));
  CHECK(*proc::parse_cgroup_v2_path("9:name=systemd:/\n0::/system.slice/ssid.service\n") ==
        "/system.slice/ssid.service");
  CHECK_FALSE(proc::parse_cgroup_v2_path("9:name=systemd:/\n"));
  const auto mount = proc::parse_cgroup_v2_mount(kMountInfo);
  REQUIRE(mount);
  CHECK(mount->root == "/lab");
  CHECK(mount->mount_point == "/sys/fs/cgroup/unified");
}

TEST_CASE(
    "garbage is refused or read, never a crash; repeat: loadlevel_metrics_tests -tc='garbage*'") {
  std::mt19937_64 random(20240607);
  const std::string seeds[] = {kStat,
                               kKernelThread,
                               kMountInfo,
                               kPressure,
                               "774269 45718 2\n",
                               "Uid:\t1000\t0\t0\t0\n",
                               "MemTotal: 1 kB\nMemAvailable: 1 kB\n",
                               "0::/a\n",
                               "cpu MHz : 1.5\n"};
  const std::string_view pieces[] = {
      "(",  ")",         " ",      "\n",    "-",      "99999999999999999999999", " - ", "0::/",
      "\0", "avg10=nan", "avg10=", "1e400", "cgroup2"};
  for (int round = 0; round < 20000; ++round) {
    std::string text = seeds[random() % std::size(seeds)];
    for (std::size_t edits = random() % 6; edits > 0; --edits) {
      const std::size_t at = text.empty() ? 0 : random() % text.size();
      switch (random() % 4) {
        case 0:
          text.resize(at);
          break;
        case 1:
          text.insert(at, pieces[random() % std::size(pieces)]);
          break;
        case 2:
          if (!text.empty()) text[at] = static_cast<char>(random());
          break;
        default:
          text.erase(at, random() % 9);
          break;
      }
    }
    if (const auto s = proc::parse_stat(text)) {
      CHECK(s->pid > 0);
      CHECK(s->threads >= 0);
    }
    (void)proc::parse_schedstat(text);
    (void)proc::parse_status_uid(text);
    (void)proc::parse_meminfo(text);
    (void)proc::parse_cpuinfo_mhz(text);
    (void)proc::parse_number(text);
    if (const auto p = proc::parse_pressure(text))
      CHECK((p->some_avg10 >= 0 && p->some_avg10 <= 100));
    (void)proc::parse_cgroup_v2_path(text);
    (void)proc::parse_cgroup_v2_mount(text);
  }
}
