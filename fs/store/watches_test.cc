// Files that are watched, really watched: what others do is told in order, what is being done by a
// request is not.
#include "fs/store/watches.h"

#include <fcntl.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "fs/store/test_client.h"

using namespace ssi;
using namespace ssi::fs;

namespace {

struct Fixture {
  Fixture() : fd(::open(dir.path.c_str(), O_PATH | O_CLOEXEC)) {
    REQUIRE(watches.watch(*fd, 7, IN_ALL_EVENTS) == 0);
  }
  std::string path(const std::string& name) const { return dir.path + "/" + name; }
  void make(const std::string& name) const {
    REQUIRE(::mknod(path(name).c_str(), S_IFREG | 0600, 0) == 0);
  }
  // "TAG:EVENT name", one after the other.
  std::string told(std::chrono::milliseconds wait = std::chrono::milliseconds(0)) {
    static constexpr std::pair<std::uint32_t, const char*> kNames[] = {
        {IN_CREATE, "create"},    {IN_DELETE, "delete"},   {IN_MODIFY, "modify"},
        {IN_ATTRIB, "attrib"},    {IN_MOVED_FROM, "from"}, {IN_MOVED_TO, "to"},
        {IN_DELETE_SELF, "gone"}, {IN_OPEN, "open"},       {IN_CLOSE_WRITE, "written"},
        {IN_MOVE_SELF, "moved"},  {IN_ACCESS, "access"},   {IN_CLOSE_NOWRITE, "read"},
    };
    const Watches::Taken taken = watches.take(wait, 1000);
    lost = taken.lost;
    std::string all;
    for (const auto& news : taken.news) {
      if (!all.empty()) all += ", ";
      all += std::to_string(news.tag) + ":";
      for (const auto& [bit, name] : kNames) all += (news.mask & bit) != 0 ? name : "";
      if (!news.name.empty()) all += " " + news.name;
    }
    return all;
  }

  TempDir dir;
  UniqueFd fd;
  Watches watches;
  bool lost = false;
};

}  // namespace

TEST_CASE_FIXTURE(Fixture, "what happens is told once, in its order") {
  make("a");
  REQUIRE(::rename(path("a").c_str(), path("b").c_str()) == 0);
  REQUIRE(::unlink(path("b").c_str()) == 0);
  make("a");
  CHECK(told() == "7:create a, 7:from a, 7:to b, 7:delete b, 7:create a");
  CHECK(told().empty());
  CHECK_FALSE(lost);
}

TEST_CASE_FIXTURE(Fixture, "what a request does is not told, what others do meanwhile is") {
  make("before");
  {
    OwnChange change;
    change.names.push_back({*identity_of(*fd, ""), "own", IN_CREATE});
    const Watches::Doing doing(watches, change);
    make("own");
    make("other");
  }
  REQUIRE(::unlink(path("own").c_str()) == 0);
  CHECK(told() == "7:create before, 7:create other, 7:delete own");
}

TEST_CASE_FIXTURE(Fixture,
                  "a request for a file concerns it also by its name in a watched directory") {
  make("a");
  make("b");
  (void)told();
  {
    OwnChange change;
    change.files.push_back({*identity_of(*fd, "a"), IN_MODIFY});
    const Watches::Doing doing(watches, change);
    REQUIRE(::truncate(path("a").c_str(), 5) == 0);
    REQUIRE(::truncate(path("b").c_str(), 5) == 0);
    REQUIRE(::chmod(path("a").c_str(), 0644) == 0);
  }
  CHECK(told() == "7:modify b, 7:attrib a");
}

TEST_CASE_FIXTURE(Fixture, "a file and a directory that are gone are told, and watched no more") {
  make("f");
  REQUIRE(::mkdir(path("d").c_str(), 0700) == 0);
  const UniqueFd file(::open(path("f").c_str(), O_PATH | O_CLOEXEC));
  const UniqueFd sub(::open(path("d").c_str(), O_PATH | O_CLOEXEC));
  REQUIRE(watches.watch(*file, 8, IN_MODIFY | IN_DELETE_SELF) == 0);
  REQUIRE(watches.watch(*sub, 9, IN_CREATE | IN_DELETE_SELF) == 0);
  REQUIRE(watches.watch(*fd, 7, 0) == 0);
  (void)told();
  REQUIRE(::unlink(path("f").c_str()) == 0);
  CHECK(told() == "8:gone");
  REQUIRE(::rmdir(path("d").c_str()) == 0);
  CHECK(told() == "9:gone");
  CHECK_FALSE(watches.any());
}

TEST_CASE_FIXTURE(Fixture, "who waits is woken by news, and by the end") {
  std::thread other([&] { make("x"); });
  CHECK(told(std::chrono::seconds(20)) == "7:create x");
  other.join();
  watches.stop_waiting();
  CHECK(told(std::chrono::seconds(20)).empty());
}

TEST_CASE_FIXTURE(Fixture, "who waits is woken by news that a request has found") {
  std::atomic<int> taken{0};
  std::thread waiter([&] {
    while (taken < 200) {
      taken += static_cast<int>(watches.take(std::chrono::seconds(20), 1000).news.size());
    }
  });
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < 200; ++i) {
    make("x" + std::to_string(i));
    { const Watches::Doing doing(watches, {}); }  // often reads it before who waits has woken
    while (taken <= i) std::this_thread::yield();
  }
  waiter.join();
  CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(15));
}

TEST_CASE("a session is not told of what it does, and another one is") {
  TempDir dir;
  Store store({.root = dir.path});
  Client one(store, 1), other(store, 2);
  const auto watch = [](Client& client) {
    RequestHead head;
    head.op = Op::kWatch;
    head.node = kRootNode;
    const WatchBody body{42, IN_ALL_EVENTS, 0};
    REQUIRE(client.ask(head, {bytes_of(body)}) == 0);
  };
  const auto news = [](Client& client) {
    RequestHead head;
    head.op = Op::kNews;
    const NewsBody body{0, 100};
    REQUIRE(client.ask(head, {bytes_of(body)}) == 0);
    ByteReader reader(client.frame.span().subspan(sizeof(ReplyHead)));
    const auto reply = reader.get<NewsReply>();
    CHECK(reply.watches == 1);
    std::string all;
    for (std::uint32_t i = 0; i < reply.count; ++i) {
      const auto told = reader.get<NewsHead>();
      CHECK(told.tag == 42);
      all += std::to_string(told.mask & IN_ALL_EVENTS) + std::string(reader.text(told.name_bytes));
      all += ' ';
    }
    CHECK(reader.done());
    return all;
  };
  watch(one);
  watch(other);
  const auto named = [](std::uint32_t mask, const char* name) {
    return std::to_string(mask) + name + " ";
  };

  REQUIRE(one.make(Op::kMkdir, kRootNode, "d", 0755) == 0);
  REQUIRE(one.make(Op::kCreate, kRootNode, "f", 0644) == 0);
  const auto created = one.reply<CreateReply>();
  CHECK(news(one).empty());
  CHECK(news(other) == named(IN_CREATE, "d") + named(IN_CREATE, "f") + named(IN_OPEN, "f"));

  RequestHead head;
  head.op = Op::kWrite;
  head.handle = created.handle;
  RangeBody range;
  range.size = 3;
  REQUIRE(one.ask(head, {bytes_of(range), text("abc")}) == 0);
  head.op = Op::kRelease;
  REQUIRE(one.ask(head, {}) == 0);
  head = {};
  head.op = Op::kRename;
  head.node = head.node2 = kRootNode;
  TwoNamesBody names;
  names.name_bytes = names.name2_bytes = 1;
  REQUIRE(one.ask(head, {bytes_of(names), text("f"), text("g")}) == 0);
  head = {};
  head.op = Op::kUnlink;
  head.node = kRootNode;
  const NameBody name{1, 0};
  REQUIRE(one.ask(head, {bytes_of(name), text("g")}) == 0);
  CHECK(news(one).empty());
  CHECK(news(other) == named(IN_MODIFY, "f") + named(IN_CLOSE_WRITE, "f") +
                           named(IN_MOVED_FROM, "f") + named(IN_MOVED_TO, "g") +
                           named(IN_DELETE, "g"));
}

TEST_CASE_FIXTURE(Fixture, "who waits, or is next, can be answered at once") {
  const auto begin = std::chrono::steady_clock::now();
  watches.answer_at_once();
  CHECK(told(std::chrono::seconds(60)).empty());
  std::thread waker([&] { watches.answer_at_once(); });
  CHECK(told(std::chrono::seconds(60)).empty());
  waker.join();
  CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(30));
}

TEST_CASE_FIXTURE(Fixture, "a watch on a file that is deleted already goes on") {
  make("a");
  const UniqueFd file(::open(path("a").c_str(), O_RDWR | O_CLOEXEC));
  REQUIRE(::unlink(path("a").c_str()) == 0);
  (void)told();
  REQUIRE(watches.watch(*file, 8, IN_MODIFY) == 0);
  CHECK(told().empty());
  REQUIRE(::write(*file, "x", 1) == 1);
  CHECK(told() == "7:modify a, 8:modify");
  CHECK(told().empty());
}

TEST_CASE_FIXTURE(Fixture, "who closes a file while it is deleted has closed it himself") {
  make("a");
  UniqueFd file(::open(path("a").c_str(), O_RDWR | O_CLOEXEC));
  (void)told();
  OwnChange change;
  change.files.push_back({*identity_of(*file, ""), IN_CLOSE_WRITE, last_name_of(*file)});
  REQUIRE(::unlink(path("a").c_str()) == 0);
  CHECK(told() == "7:delete a");
  {
    const Watches::Doing closing(watches, std::move(change));
    file.reset();
  }
  CHECK(told().empty());
}
