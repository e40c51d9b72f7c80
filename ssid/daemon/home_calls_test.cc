#include "ssid/daemon/home_calls.h"

#include <doctest/doctest.h>

#include <deque>
#include <vector>

namespace ssi {
namespace {

struct Fixture {
  boost::asio::io_context io;
  bool away = true;
  std::deque<Result<>> answers;  // then: it comes
  int moves = 0, agains = 0;
  std::vector<std::string> told;
  HomeCalls calls{io,
                  {.is_away = [this](SsiPid) { return away; },
                   .move_home =
                       [this](SsiPid, bool again, std::function<void(Result<>)> done) {
                         agains += again;
                         ++moves;
                         if (answers.empty()) {
                           away = false;
                           return done({});
                         }
                         const Result<> answer = answers.front();
                         answers.pop_front();
                         done(answer);
                       },
                   .tell = [this](SsiPid, const std::string& what) { told.push_back(what); }},
                  std::chrono::milliseconds(1)};
};

const SsiPid kPid{NodeId{1}, 70};

}  // namespace

TEST_CASE("one that is away is moved home; one that is there is left alone") {
  Fixture f;
  f.calls.call(kPid, "somebody has opened /fifo");
  f.io.run();
  CHECK(f.moves == 1);
  CHECK(f.told == std::vector<std::string>{"is called home: somebody has opened /fifo"});
  f.calls.call(kPid, "again");
  CHECK(f.moves == 1);
  CHECK(f.told.size() == 1);
}

TEST_CASE("it is tried until it comes, and told why it does not if that lasts, each reason once") {
  Fixture f;
  f.answers = {Error("moving"), Error("moving"), Error("moving"),
               Error("locked"), Error("locked"), Error("open")};
  f.calls.call(kPid, "why");
  f.calls.call(kPid, "why");  // while it is being called
  f.io.run();
  CHECK(f.moves == 7);
  CHECK(f.agains == 6);
  CHECK(f.told == std::vector<std::string>{"is called home: why", "does not come home: locked",
                                           "does not come home: open"});
}

TEST_CASE("one that has come, called or not, may go again") {
  Fixture f;
  f.answers = {Error("busy")};
  f.calls.call(kPid, "why");
  CHECK(f.moves == 1);
  f.away = false;
  f.calls.on_moved();
  f.away = true;
  f.io.run();
  CHECK(f.moves == 1);
  f.calls.call(kPid, "why");
  CHECK(f.moves == 2);
}

TEST_CASE("one that has ended meanwhile is forgotten") {
  Fixture f;
  f.answers = {Error("no such process")};
  f.calls.call(kPid, "why");
  f.away = false;
  f.io.restart();
  f.io.run();
  CHECK(f.moves == 1);
}

}  // namespace ssi
