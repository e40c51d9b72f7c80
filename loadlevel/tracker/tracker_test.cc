#include "loadlevel/tracker/tracker.h"

#include <doctest/doctest.h>

#include <map>
#include <random>

using namespace ssi;
using namespace std::string_literals;

namespace {

// A node whose processes the test starts and ends.
struct Node {
  std::vector<ProcessSample> processes;
  ResolvedList list;
  Tracker tracker;
  std::uint64_t ticks = 100;

  explicit Node(TrackerOptions options = {}) : tracker(std::move(options)) {
    start(1, 0, "/sbin/init");
    update();
  }
  ProcessSample& start(pid_t pid, pid_t ppid, const std::string& exe = "/usr/bin/any") {
    ProcessSample p;
    p.key = {pid, ++ticks};
    p.ppid = ppid;
    p.exe = exe;
    processes.push_back(p);
    return processes.back();
  }
  ProcessSample& at(pid_t pid) {
    for (auto& p : processes) {
      if (p.key.pid == pid) return p;
    }
    FAIL("no such process");
    return processes.front();
  }
  void end(pid_t pid) {
    std::erase_if(processes, [&](auto& p) { return p.key.pid == pid; });
    for (auto& p : processes) {
      if (p.ppid == pid) p.ppid = 1;
    }
  }
  void on_list(const std::string& text) {
    list = ResolvedList(LoadLevelList::parse(text), [](const std::string& path) { return path; });
  }
  void update() { tracker.update(processes, list); }
  bool on(pid_t pid) { return tracker.enabled(at(pid).key); }
  std::string why(pid_t pid) { return tracker.reason(at(pid).key); }
};

}  // namespace

TEST_CASE("nobody said anything: nothing is enabled") {
  Node n;
  n.start(10, 1);
  n.start(11, 10);
  n.update();
  CHECK_FALSE(n.on(10));
  CHECK(n.why(11) == "not enabled");
  CHECK(n.tracker.enabled().empty());
}

TEST_CASE("children of an enabled process are enabled, those that were there too") {
  Node n;
  n.start(10, 1);
  n.start(11, 10);
  n.start(12, 11);
  n.start(20, 1);
  CHECK(n.tracker.enable(n.at(10), 1000).ok());
  CHECK(n.on(10));  // at once
  n.update();
  n.start(13, 12);
  n.update();
  CHECK(n.why(10) == "enabled by uid 1000");
  CHECK(n.why(11) == "inherited from 10");
  CHECK(n.why(12) == "inherited from 11");
  CHECK(n.on(13));
  CHECK_FALSE(n.on(20));
  CHECK(n.tracker.enabled().size() == 4);
}

TEST_CASE("a child with a smaller number than its parent is found as well") {
  Node n;
  n.start(5000, 1);
  n.tracker.enable(n.at(5000), 0).ok();
  n.start(300, 5000);
  n.start(200, 300);
  std::sort(n.processes.begin(), n.processes.end(), [](auto& a, auto& b) { return a.key < b.key; });
  n.update();
  CHECK(n.on(300));
  CHECK(n.on(200));
}

TEST_CASE("disabling a child concerns that child and what it starts from then on") {
  Node n;
  n.start(10, 1);
  n.start(11, 10);
  n.start(12, 10);
  n.start(15, 11);
  n.tracker.enable(n.at(10), 1000).ok();
  n.update();
  CHECK(n.tracker.disable(n.at(11), 1000).ok());
  n.start(16, 11);
  n.update();
  n.update();
  CHECK(n.why(11) == "disabled by uid 1000");
  CHECK(n.on(12));
  CHECK(n.on(15));  // was there
  CHECK_FALSE(n.on(16));
  CHECK(n.tracker.enable(n.at(11), 0).ok());
  n.update();
  CHECK(n.on(16));
}

TEST_CASE("a pinned process is not enabled, and is enabled by a user's word only") {
  Node n;
  n.start(10, 1, "/usr/bin/xz");
  n.start(11, 10);
  n.update();
  CHECK(n.tracker.pin(n.at(10), 1000).ok());
  n.on_list("/usr/bin/xz\n");
  n.update();
  CHECK_FALSE(n.on(10));
  CHECK(n.tracker.pinned(n.at(10).key));
  CHECK_FALSE(n.tracker.pinned(n.at(11).key));
  CHECK(n.why(10) == "pinned by uid 1000");
  CHECK(n.tracker.enable(n.at(10), 1000).ok());
  CHECK(n.on(10));
  CHECK_FALSE(n.tracker.pinned(n.at(10).key));
}

TEST_CASE("disabling the parent leaves the children it has as they are") {
  Node n;
  n.start(10, 1);
  n.start(11, 10);
  n.tracker.enable(n.at(10), 1000).ok();
  n.update();
  n.tracker.disable(n.at(10), 1000).ok();
  n.start(12, 10);
  n.update();
  CHECK_FALSE(n.on(10));
  CHECK(n.on(11));
  CHECK_FALSE(n.on(12));
}

TEST_CASE("exec into another program and the parent's end change nothing") {
  Node n;
  n.start(10, 1);
  n.start(11, 10);
  n.tracker.enable(n.at(10), 1000).ok();
  n.update();
  n.at(11).exe = "/usr/bin/other";
  n.end(10);
  n.update();
  CHECK(n.why(11) == "inherited from 10");
}

TEST_CASE("a listed program is enabled however it was started, with its descendants") {
  Node n;
  n.on_list("/usr/bin/make\n");
  n.start(10, 1, "/usr/bin/bash");
  n.start(11, 10, "/usr/bin/make");
  n.start(12, 11, "/usr/bin/gcc");
  n.update();
  CHECK_FALSE(n.on(10));
  CHECK(n.why(11) == "on the list: /usr/bin/make");
  CHECK(n.why(12) == "inherited from 11");
  n.at(10).exe = "/usr/bin/make";  // the shell becomes one
  n.update();
  CHECK(n.why(10) == "on the list: /usr/bin/make");
  n.at(10).exe = "/usr/bin/true";
  n.update();
  CHECK(n.on(10));
}

TEST_CASE("editing the list works on running processes, and a user's word outlasts it") {
  Node n;
  n.start(10, 1, "/usr/bin/xz");
  n.start(11, 1, "/usr/bin/xz");
  n.start(12, 10, "/usr/bin/cat");
  n.tracker.disable(n.at(11), 7).ok();
  n.update();
  CHECK_FALSE(n.on(10));
  n.on_list("/usr/bin/xz\n");
  n.update();
  CHECK(n.on(10));
  CHECK(n.on(12));
  CHECK_FALSE(n.on(11));
  n.on_list("");
  n.update();
  CHECK_FALSE(n.on(10));
  CHECK(n.on(12));
  n.start(13, 10);
  n.update();
  CHECK_FALSE(n.on(13));
}

TEST_CASE("never: the first process, ssid's own") {
  Node n;
  n.on_list("/sbin/init\n/usr/sbin/ssid\n");
  n.start(10, 1, "/usr/sbin/ssid").service = true;
  n.start(11, 10, "/usr/bin/guest");
  n.update();
  CHECK_FALSE(n.on(1));
  CHECK_FALSE(n.on(10));
  CHECK_FALSE(n.on(11));
  CHECK(n.tracker.enable(n.at(1), 0).error().code() == ErrorCode::kRefused);
  CHECK(n.tracker.enable(n.at(10), 0).error().message() == "process 10: belongs to ssid itself");
  n.start(12, 1);
  n.tracker.enable(n.at(12), 0).ok();
  n.update();
  n.at(12).service = true;  // it became a deputy
  n.at(12).exe = "/usr/lib/ssid/ssid-deputy";
  n.start(13, 12);
  n.update();
  CHECK_FALSE(n.on(12));
  CHECK_FALSE(n.on(13));
}

TEST_CASE("a reused number is another process; one that ended is forgotten") {
  Node n;
  n.start(10, 1);
  const auto old = n.at(10).key;
  n.tracker.enable(n.at(10), 0).ok();
  n.update();
  n.end(10);
  n.start(10, 1);
  n.start(11, 10);
  n.update();
  CHECK_FALSE(n.on(10));
  CHECK_FALSE(n.on(11));
  CHECK_FALSE(n.tracker.find(old));
}

TEST_CASE("enabled between two samples: not lost when the next one was taken before") {
  Node n;
  auto young = n.start(10, 1);
  n.end(10);
  n.tracker.enable(young, 0).ok();
  n.update();  // does not show it yet
  CHECK(n.tracker.enabled(young.key));
  n.update();
  CHECK_FALSE(n.tracker.enabled(young.key));
}

namespace {

// The kernel's part: who is marked, and that its children are.
struct Marks {
  std::map<pid_t, bool> of;
  std::vector<std::string> set;  // in that order
  int asked = 0;
  TrackerOptions options() {
    return {.marked =
                [this](ProcessKey key) {
                  ++asked;
                  return of[key.pid];
                },
            .mark =
                [this](ProcessKey key, bool on) {
                  of[key.pid] = on;
                  set.push_back(std::to_string(key.pid) + (on ? " on" : " off"));
                }};
  }
  void inherit(pid_t child, pid_t parent) { of[child] = of[parent]; }
};

}  // namespace

TEST_CASE("an orphan whose parents were never seen is enabled by its mark; each is asked once") {
  Marks marks;
  Node n(marks.options());
  n.start(10, 1);
  n.start(11, 1);
  n.start(12, 10);
  marks.of[11] = true;
  n.update();
  CHECK_FALSE(n.on(10));
  CHECK(n.why(11) == "inherited from a process that was enabled");
  CHECK(marks.asked == 3);
  n.update();
  CHECK(marks.asked == 3);
}

TEST_CASE("whoever is enabled, by whatever rule, is marked from then on; who is disabled is not") {
  Marks marks;
  Node n(marks.options());
  n.on_list("/usr/bin/xz\n");
  n.start(10, 1);
  n.start(11, 10);
  n.start(12, 1, "/usr/bin/xz");
  n.tracker.enable(n.at(10), 0).ok();
  n.update();
  CHECK(marks.of[10]);
  CHECK(marks.of[11]);
  CHECK(marks.of[12]);
  n.tracker.disable(n.at(11), 0).ok();
  n.on_list("");
  n.update();
  CHECK(marks.of[10]);
  CHECK_FALSE(marks.of[11]);
  CHECK_FALSE(marks.of[12]);
  CHECK_FALSE(n.on(12));
  n.tracker.adopt({77, 1}, {.on = true});
  CHECK(marks.of[77]);
}

TEST_CASE("a child counts as what its parent was when it was born, not when it is seen") {
  Marks marks;
  Node n(marks.options());
  n.start(10, 1);
  n.tracker.enable(n.at(10), 0).ok();
  n.start(11, 10);
  marks.inherit(11, 10);
  n.tracker.disable(n.at(10), 0).ok();
  n.start(12, 10);
  marks.inherit(12, 10);
  n.update();
  CHECK_FALSE(n.on(10));
  CHECK(n.on(11));
  CHECK_FALSE(n.on(12));
}

TEST_CASE("one that is younger than the samples is known when it is looked at") {
  Marks marks;
  Node n(marks.options());
  auto child = n.start(10, 1);
  marks.of[10] = true;
  n.end(10);
  n.tracker.notice(child, nullptr, n.list);
  CHECK(n.tracker.enabled(child.key));
  n.update();  // made before it was started
  CHECK(n.tracker.enabled(child.key));
  n.update();
  CHECK_FALSE(n.tracker.enabled(child.key));
}

TEST_CASE("what was known goes along with a moved process; the list here does not take it away") {
  Node home;
  home.on_list("/usr/bin/xz\n");
  home.start(10, 1, "/usr/bin/xz");
  home.start(11, 1);
  home.tracker.disable(home.at(11), 5).ok();
  home.update();
  Node target({.name_of = [](pid_t pid) { return "65536:" + std::to_string(pid); }});
  target.start(30, 1).service = true;
  target.start(31, 30, "/usr/bin/xz");
  target.start(32, 30);
  for (const auto& [there, here] : {std::pair{10, 31}, std::pair{11, 32}}) {
    const auto line = home.tracker.find(home.at(there).key)->to_line();
    target.tracker.adopt(target.at(here).key, *Enablement::from_line(line));
    home.tracker.forget(home.at(there).key);
  }
  target.update();
  target.start(33, 31);
  target.start(34, 32);
  target.update();
  CHECK(target.why(31) == "on the list: /usr/bin/xz");
  CHECK(target.why(32) == "disabled by uid 5");
  CHECK(target.why(33) == "inherited from 65536:31");
  CHECK_FALSE(target.on(34));
  home.on_list("");
  home.update();
  CHECK_FALSE(home.on(10));
}

TEST_CASE("a restarted ssid knows what it knew; children born meanwhile are enabled") {
  Node n;
  n.on_list("/usr/bin/xz\n");
  n.start(10, 1);
  n.start(11, 10);
  n.start(12, 1, "/usr/bin/xz");
  n.start(13, 10);
  n.tracker.enable(n.at(10), 1000).ok();
  n.update();
  n.tracker.disable(n.at(13), 1000).ok();
  const std::string saved = n.tracker.save();
  Tracker again;
  CHECK(again.load(saved) == 0);
  CHECK(again.save() == saved);
  n.start(14, 11);
  n.end(12);
  again.update(n.processes, n.list);
  CHECK(again.reason(n.at(10).key) == "enabled by uid 1000");
  CHECK(again.reason(n.at(11).key) == "inherited from 10");
  CHECK(again.enabled(n.at(14).key));
  CHECK(again.reason(n.at(13).key) == "disabled by uid 1000");
  CHECK(again.enabled().size() == 3);
}

TEST_CASE("a damaged save is read as far as it goes") {
  Tracker t;
  CHECK(t.load("") == 0);
  CHECK(t.load("something else\n5 6 on user here 0 =\n") == 1);
  CHECK(t.enabled().empty());
  CHECK(t.load(
            "ssid loadlevel tracker 1\n5 6 on user here 0 =\nx\n1 1 on user here 0 =\n7 8 on\n9") ==
        4);
  CHECK(t.enabled() == std::vector<ProcessKey>{{5, 6}});
  std::mt19937 random(5);
  const std::string good = t.save();
  for (int round = 0; round < 5000; ++round) {
    std::string text = good;
    for (auto n = random() % 4; n > 0; --n)
      text[random() % text.size()] = static_cast<char>(random());
    Tracker other;
    other.load(text);
  }
}

TEST_CASE("parents in a circle and a parent younger than its child do no harm") {
  Node n;
  n.start(10, 11);
  n.start(11, 10);
  n.start(12, 13);
  n.start(13, 1);
  n.tracker.enable(n.at(13), 0).ok();
  n.tracker.enable(n.at(10), 0).ok();
  n.update();
  CHECK(n.on(11));
  CHECK_FALSE(n.on(12));  // 13 has the number of its dead parent
}
