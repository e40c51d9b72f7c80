#include "fs/view/socket_rebuilds.h"

#include <doctest/doctest.h>

#include <set>
#include <utility>

#include "ssid/base/result.h"

using namespace ssi::fs;

namespace {

using AtHome = SocketRebuilds::AtHome;
using Make = SocketRebuilds::Make;
using Remove = SocketRebuilds::Remove;

const SocketRebuilds::Name kName{{1, 2, 3}, "s"};

struct Fixture {
  std::set<std::pair<std::string, pid_t>> threads;
  mutable int asked = 0;
  SocketRebuilds rebuilds{[this](const std::string& cgroup, pid_t thread) {
    ++asked;
    return threads.contains({cgroup, thread});
  }};

  SocketRebuilds::Id begin(const std::string& cgroup, pid_t thread) {
    threads.insert({cgroup, thread});
    rebuilds.set(cgroup, true);
    const auto id = rebuilds.of(thread);
    REQUIRE(id.has_value());
    return *id;
  }
};

}  // namespace

TEST_CASE_FIXTURE(Fixture, "a socket at home is hidden until it is found by binding to it") {
  const auto id = begin("/a", 7);
  CHECK(rebuilds.hides(id, kName));
  CHECK(rebuilds.remove(id, kName, AtHome::kSocket) == Remove::kAbsent);
  CHECK(rebuilds.make(id, kName, AtHome::kSocket) == Make::kFound);
  CHECK_FALSE(rebuilds.hides(id, kName));
  CHECK(rebuilds.make(id, kName, AtHome::kSocket) == Make::kExists);
  CHECK(rebuilds.hides(id, {kName.directory, "t"}));
  CHECK(rebuilds.hides(id, {{1, 2, 4}, "s"}));
}

TEST_CASE_FIXTURE(Fixture, "a found one is left alone at home, and its name is free again") {
  const auto id = begin("/a", 7);
  REQUIRE(rebuilds.make(id, kName, AtHome::kSocket) == Make::kFound);
  CHECK(rebuilds.is_found(7, kName));
  CHECK_FALSE(rebuilds.is_found(8, kName));
  CHECK(rebuilds.remove(id, kName, AtHome::kSocket) == Remove::kLeave);
  CHECK_FALSE(rebuilds.is_found(7, kName));
  CHECK(rebuilds.hides(id, kName));
  CHECK(rebuilds.make(id, kName, AtHome::kSocket) == Make::kFound);
}

TEST_CASE_FIXTURE(Fixture, "one that was not at home is really made and really removed") {
  const auto id = begin("/a", 7);
  CHECK(rebuilds.make(id, kName, AtHome::kNothing) == Make::kAtHome);
  CHECK(rebuilds.hides(id, kName));  // home may say no
  rebuilds.made(id, kName);
  CHECK_FALSE(rebuilds.hides(id, kName));
  CHECK_FALSE(rebuilds.is_found(7, kName));
  CHECK(rebuilds.make(id, kName, AtHome::kSocket) == Make::kExists);
  CHECK(rebuilds.remove(id, kName, AtHome::kSocket) == Remove::kAtHome);
  CHECK_FALSE(rebuilds.hides(id, kName));  // so it may here
  rebuilds.removed(id, kName);
  CHECK(rebuilds.hides(id, kName));
}

TEST_CASE_FIXTURE(Fixture, "other files are as they are") {
  const auto id = begin("/a", 7);
  CHECK(rebuilds.make(id, kName, AtHome::kOther) == Make::kExists);
  CHECK(rebuilds.hides(id, kName));  // asked of sockets only: nothing was made
  CHECK(rebuilds.remove(id, kName, AtHome::kOther) == Remove::kAtHome);
  CHECK(rebuilds.remove(id, kName, AtHome::kNothing) == Remove::kAtHome);
}

TEST_CASE_FIXTURE(Fixture, "only threads of the cgroup are concerned, each rebuild for itself") {
  CHECK(rebuilds.none());
  const auto a = begin("/a", 7);
  const auto b = begin("/b", 8);
  CHECK(a != b);
  CHECK_FALSE(rebuilds.none());
  CHECK_FALSE(rebuilds.of(9));
  asked = 0;
  CHECK_FALSE(rebuilds.of(0));
  CHECK(asked == 0);
  REQUIRE(rebuilds.make(a, kName, AtHome::kSocket) == Make::kFound);
  CHECK(rebuilds.hides(b, kName));
  CHECK_FALSE(rebuilds.is_found(8, kName));
}

TEST_CASE_FIXTURE(Fixture, "the end of a rebuild, or another beginning, forgets what it found") {
  const auto id = begin("/a", 7);
  REQUIRE(rebuilds.make(id, kName, AtHome::kSocket) == Make::kFound);
  const auto again = begin("/a", 7);
  CHECK(again != id);
  CHECK(rebuilds.hides(again, kName));
  rebuilds.set("/a", false);
  CHECK(rebuilds.none());
  CHECK_FALSE(rebuilds.of(7));
  // A request that was under way.
  CHECK_FALSE(rebuilds.hides(again, kName));
  CHECK(rebuilds.make(again, kName, AtHome::kNothing) == Make::kAtHome);
  CHECK(rebuilds.make(again, kName, AtHome::kSocket) == Make::kExists);
  rebuilds.made(again, kName);
  rebuilds.removed(again, kName);
  CHECK(rebuilds.remove(again, kName, AtHome::kSocket) == Remove::kAtHome);
}

TEST_CASE_FIXTURE(Fixture, "neither rebuilds nor names grow without limit") {
  const auto first = begin("/0", 100);
  for (pid_t i = 1; i < static_cast<pid_t>(SocketRebuilds::kRebuildsMax); ++i) {
    begin("/" + std::to_string(i), 100 + i);
  }
  CHECK(rebuilds.of(100) == first);
  const auto last = begin("/last", 7);
  CHECK_FALSE(rebuilds.of(100));
  CHECK(rebuilds.of(101));
  for (std::size_t i = 0; i < SocketRebuilds::kNamesMax; ++i) {
    REQUIRE(rebuilds.make(last, {{}, std::to_string(i)}, AtHome::kSocket) == Make::kFound);
  }
  CHECK(rebuilds.make(last, kName, AtHome::kSocket) == Make::kTooMany);
  CHECK(rebuilds.make(last, kName, AtHome::kNothing) == Make::kTooMany);
  CHECK(rebuilds.remove(last, {{}, "0"}, AtHome::kSocket) == Remove::kLeave);
  CHECK(rebuilds.make(last, kName, AtHome::kSocket) == Make::kFound);
}

TEST_CASE_FIXTURE(Fixture, "a deleted one is bound and unlinked while what has its name is aside") {
  using What = SocketRebuilds::Deleted::What;
  using Unlink = SocketRebuilds::Unlink;
  const SocketRebuilds::Name aside{kName.directory, "s.criu-sk-ghost"};
  const ssi::fs::FileKey file{9, 9, 9};
  const auto id = begin("/a", 7);
  const auto what = [&](const SocketRebuilds::Name& name) {
    return rebuilds.deleted_at(id, 7, name).what;
  };
  CHECK(what(kName) == What::kNothing);
  CHECK(rebuilds.unlink_deleted(id, 7, kName) == Unlink::kAtHome);
  CHECK_FALSE(rebuilds.make_deleted(id, 7, kName, file));
  CHECK_FALSE(rebuilds.move_deleted(id, 7, kName, aside));

  CHECK_FALSE(rebuilds.has_announced(7));
  rebuilds.announce_deleted(id, 7, "s");
  CHECK(rebuilds.has_announced(7));
  CHECK_FALSE(rebuilds.has_announced(8));
  CHECK(what(kName) == What::kAtHome);
  CHECK(what(aside) == What::kFree);  // whatever home has there
  CHECK(what({kName.directory, "t"}) == What::kNothing);
  CHECK(rebuilds.deleted_at(id, 8, kName).what == What::kNothing);
  CHECK(rebuilds.unlink_deleted(id, 7, kName) == Unlink::kRefused);
  CHECK(rebuilds.unlink_deleted(id, 7, aside) == Unlink::kAbsent);
  CHECK(rebuilds.unlink_deleted(id, 7, {kName.directory, "t"}) == Unlink::kAtHome);
  CHECK_FALSE(rebuilds.move_deleted(id, 7, kName, {kName.directory, "t"}));
  CHECK_FALSE(rebuilds.is_played(kName));

  CHECK(rebuilds.move_deleted(id, 7, kName, aside));
  CHECK(rebuilds.is_played(kName));
  CHECK(rebuilds.is_played(aside));
  CHECK(what(kName) == What::kFree);
  CHECK(rebuilds.deleted_at(id, 7, aside).original == kName);
  CHECK(rebuilds.make_deleted(id, 7, kName, file));
  CHECK(rebuilds.deleted_at(id, 7, kName).key == file);
  CHECK(rebuilds.unlink_deleted(id, 7, kName) == Unlink::kDone);
  CHECK(rebuilds.is_played(kName));
  CHECK(what(aside) == What::kAside);
  CHECK(rebuilds.move_deleted(id, 7, aside, kName));
  CHECK_FALSE(rebuilds.is_played(kName));
  CHECK_FALSE(rebuilds.has_announced(7));
  // The next socket that this thread binds there is another one.
  CHECK(rebuilds.unlink_deleted(id, 7, kName) == Unlink::kAtHome);
  CHECK(what(kName) == What::kNothing);
  CHECK(rebuilds.make(id, kName, AtHome::kSocket) == Make::kFound);
}

TEST_CASE_FIXTURE(Fixture, "a deleted one beside a found one, and a named one after it") {
  using What = SocketRebuilds::Deleted::What;
  const SocketRebuilds::Name aside{kName.directory, "s.criu-sk-ghost"};
  const auto id = begin("/a", 7);
  REQUIRE(rebuilds.make(id, kName, AtHome::kSocket) == Make::kFound);
  rebuilds.announce_deleted(id, 7, "s");
  REQUIRE(rebuilds.move_deleted(id, 7, kName, aside));
  REQUIRE(rebuilds.make_deleted(id, 7, kName, {9, 9, 9}));
  CHECK(rebuilds.unlink_deleted(id, 7, kName) == SocketRebuilds::Unlink::kDone);
  CHECK(rebuilds.deleted_at(id, 7, kName).what == What::kFree);  // for the way back
  CHECK(rebuilds.deleted_at(id, 8, kName).what == What::kNothing);
  SUBCASE("the kernel asks for the way back") {
    REQUIRE(rebuilds.move_deleted(id, 7, aside, kName));
  }
  SUBCASE("it does not") { rebuilds.announce_named(id, 7); }
  CHECK(rebuilds.deleted_at(id, 7, kName).what == What::kNothing);
  CHECK_FALSE(rebuilds.is_played(kName));
  CHECK_FALSE(rebuilds.hides(id, kName));
}

TEST_CASE_FIXTURE(Fixture, "what was played for deleted ones is over with the rebuild") {
  const auto id = begin("/a", 7);
  rebuilds.announce_deleted(id, 7, "s");
  REQUIRE(rebuilds.make_deleted(id, 7, kName, {9, 9, 9}));
  CHECK(rebuilds.is_played(kName));
  rebuilds.set("/a", false);
  CHECK_FALSE(rebuilds.is_played(kName));
  CHECK(rebuilds.deleted_at(id, 7, kName).what == SocketRebuilds::Deleted::What::kNothing);
}
