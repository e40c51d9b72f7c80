// What a guest starts away from home: when home is told, and what home does.
#include "ssid/daemon/births.h"

#include <doctest/doctest.h>
#include <sys/types.h>
#include <unistd.h>

#include <map>
#include <vector>

#include "ssid/base/proc_job.h"
#include "ssid/daemon/home_births.h"

namespace ssi {
namespace {

constexpr SsiPid kGuest{NodeId{1}, 70041};
constexpr Epoch kEpoch{3};

GuestRecord guest() {
  GuestRecord record;
  record.ticket.pid = kGuest;
  record.ticket.to = NodeId{2};
  record.ticket.epoch = kEpoch;
  record.committed = true;
  return record;
}

// Real processes, as their numbers inside are looked up: those of this test are their own.
struct Node {
  std::map<SsiPid, GuestRecord> guests{{kGuest, guest()}};
  std::vector<pid_t> in_cgroup;
  std::map<pid_t, BirthFacts> facts;
  bool may = true;
  struct Asked {
    nlohmann::json message;
    std::function<void(Result<>)> done;
  };
  std::vector<Asked> asked;
  std::vector<group::Claim> claims;
  Births::Clock::time_point now = Births::Clock::now();
  Births births{{.host_pids = [this](const GuestRecord&) { return in_cgroup; },
                 .facts = [this](pid_t pid) -> std::optional<BirthFacts> {
                   const auto f = facts.find(pid);
                   return f == facts.end() ? std::nullopt : std::optional(f->second);
                 },
                 .ask_home =
                     [this](NodeId home, const nlohmann::json& message, auto done) {
                       CHECK(home == NodeId{1});
                       asked.push_back({message, std::move(done)});
                     },
                 .claim = [this](group::Claim claim) -> Result<> {
                   claims.push_back(std::move(claim));
                   return {};
                 },
                 .may_be_told = [this](const GuestRecord&) { return may; }}};

  void child(pid_t pid, pid_t parent = kGuest.pid) {
    in_cgroup.push_back(pid);
    facts[pid] = {.pid = pid, .parent = parent, .start_time = 77, .comm = "child"};
  }
  void look() {
    births.look(guests, now);
    now += std::chrono::seconds(1);
  }
};

}  // namespace

TEST_CASE("births: a child is told of at the second look, and claimed when home has its deputy") {
  Node node;
  node.child(::getpid());
  node.look();
  CHECK(node.asked.empty());
  node.look();
  REQUIRE(node.asked.size() == 1);
  CHECK(node.asked[0].message["unit"] == kGuest.pid);
  CHECK(node.asked[0].message["child"]["pid"] == ::getpid());
  CHECK(node.births.is_busy(kGuest));
  node.look();
  CHECK(node.asked.size() == 1);
  CHECK(node.claims.empty());
  node.asked[0].done({});
  REQUIRE(node.claims.size() == 1);
  const group::TableEntry& entry = node.claims[0].entry;
  CHECK(entry.process == SsiPid{NodeId{1}, ::getpid()});
  CHECK(entry.where == NodeId{2});
  CHECK(entry.epoch == kEpoch);
  CHECK(entry.unit == kGuest.pid);
  CHECK(entry.start_time == 77);
  CHECK(node.births.is_busy(kGuest));
  node.births.on_decided(node.claims[0], true, node.now);
  CHECK(!node.births.is_busy(kGuest));
}

TEST_CASE("births: one that home can't have is told of again after a while, and holds up nothing") {
  Node node;
  node.child(::getpid());
  node.look();
  node.look();
  REQUIRE(node.asked.size() == 1);
  node.asked[0].done(Error(ErrorCode::kRefused, "its PID is in use at home"));
  CHECK(!node.births.is_busy(kGuest));
  node.look();
  CHECK(node.asked.size() == 1);
  node.now += std::chrono::seconds(20);
  node.look();
  CHECK(node.asked.size() == 2);
  node.asked[1].done({});
  REQUIRE(node.claims.size() == 1);
  node.births.on_decided(node.claims[0], false, node.now);
  CHECK(!node.births.is_busy(kGuest));
}

TEST_CASE("births: nobody is told of while the guest moves, nor of who ended, nor of its own") {
  Node node;
  node.child(::getpid());
  node.look();
  node.may = false;
  node.look();
  node.may = true;
  node.look();  // seen for the first time again
  CHECK(node.asked.empty());
  node.facts.clear();
  node.look();
  CHECK(node.asked.empty());
  node.guests.begin()->second.ticket.members.push_back({.pid = ::getpid()});
  node.child(::getpid());
  node.look();
  node.look();
  CHECK(node.asked.empty());
}

TEST_CASE("births: parents come before their children") {
  Node node;
  node.child(::getpid(), ::getppid());
  node.child(::getppid());
  node.look();
  node.look();
  REQUIRE(node.asked.size() == 1);
  CHECK(node.asked[0].message["child"]["pid"] == ::getppid());
  node.asked[0].done({});
  node.births.on_decided(node.claims[0], true, node.now);
  node.guests.begin()->second.ticket.members.push_back({.pid = ::getppid()});
  node.look();
  CHECK(node.asked.size() == 2);
}

TEST_CASE("birth facts: those of this process, and as JSON") {
  const auto facts = read_birth_facts(::getpid());
  REQUIRE(facts);
  CHECK(facts->pid == ::getpid());
  CHECK(facts->parent == ::getppid());
  CHECK(facts->uids[0] == ::getuid());
  CHECK(facts->gids[2] == ::getegid());
  CHECK(facts->group == ::getpgrp());
  CHECK(facts->session == ::getsid(0));
  CHECK(!facts->command.empty());
  const auto again = birth_facts_from_json(to_json(*facts));
  REQUIRE(again.ok());
  CHECK(to_json(*again) == to_json(*facts));
  auto damaged = to_json(*facts);
  damaged["pid"] = 0;
  CHECK(!birth_facts_from_json(damaged).ok());
  damaged["pid"] = "x";
  CHECK(!birth_facts_from_json(damaged).ok());
  CHECK(!birth_facts_from_json(nlohmann::json()).ok());
}

namespace {

// Home of a unit that began with this process, which is its own deputy here.
struct Home {
  std::map<pid_t, group::TableEntry> table;
  std::set<pid_t> deputies;
  std::vector<std::pair<pid_t, deputy::Birth>> births;
  HomeBirths::Done born;
  HomeBirths home{{.find = [this](pid_t pid) -> std::optional<group::TableEntry> {
                     const auto e = table.find(pid);
                     return e == table.end() ? std::nullopt : std::optional(e->second);
                   },
                   .living =
                       [this](pid_t first) {
                         std::vector<pid_t> pids;
                         for (const auto& [pid, e] : table) {
                           if (pid == first || e.unit == first) pids.push_back(pid);
                         }
                         return pids;
                       },
                   .has_deputy = [this](pid_t pid) { return deputies.contains(pid); },
                   .give_birth =
                       [this](pid_t forker, const deputy::Birth& birth, HomeBirths::Done done) {
                         births.emplace_back(forker, birth);
                         born = std::move(done);
                       },
                   .end_deputy = [this](pid_t pid) { deputies.erase(pid); }}};
  const pid_t unit = ::getpid();
  static constexpr pid_t kFree = 4'000'000;  // nobody's

  Home() {
    deputies.insert(unit);
    table[unit] = {.process = {NodeId{1}, unit}, .where = NodeId{2}, .epoch = kEpoch};
  }
  std::string serve(NodeId from, const BirthFacts& facts) {
    std::string answer = "none yet";
    GuestRecord record = guest();
    record.ticket.pid.pid = unit;
    home.serve(from, birth_message(record, facts),
               [&answer](const Result<>& r) { answer = r ? "" : r.error().message(); });
    if (born) std::exchange(born, nullptr)({});
    return answer;
  }
  BirthFacts child(pid_t parent) const {
    BirthFacts facts = *read_birth_facts(::getpid());
    facts.pid = kFree;
    facts.parent = parent;
    return facts;
  }
};

}  // namespace

TEST_CASE("home: the parent's deputy forks; an orphan's is forked by any other") {
  Home home;
  CHECK(home.serve(NodeId{2}, home.child(home.unit)) == "");
  REQUIRE(home.births.size() == 1);
  CHECK(home.births[0].first == home.unit);
  CHECK(home.births[0].second.pid == Home::kFree);
  CHECK(home.births[0].second.born_with == home.unit);
  CHECK(home.births[0].second.is_orphan == 0);
  CHECK(home.births[0].second.sets_users == 0);
  CHECK(home.births[0].second.new_session == 0);
  CHECK(home.births[0].second.group == 0);
  CHECK(home.home.is_unclaimed(Home::kFree));
  // Asked again, nothing is done twice.
  CHECK(home.serve(NodeId{2}, home.child(home.unit)) == "");
  CHECK(home.births.size() == 1);
  home.home.on_claimed(Home::kFree);
  BirthFacts orphan = home.child(1);
  orphan.group = orphan.session = Home::kFree;
  CHECK(home.serve(NodeId{2}, orphan) == "");
  REQUIRE(home.births.size() == 2);
  CHECK(home.births[1].second.is_orphan == 1);
  CHECK(home.births[1].second.new_session == 1);
}

TEST_CASE("home: refused for another node's guest, an old epoch, a PID in use, nonsense") {
  Home home;
  CHECK(home.serve(NodeId{3}, home.child(home.unit)) == "its guest is not there any more");
  home.table[home.unit].epoch = Epoch{4};
  CHECK(home.serve(NodeId{2}, home.child(home.unit)) == "its guest is not there any more");
  home.table[home.unit].epoch = kEpoch;
  BirthFacts facts = home.child(home.unit);
  facts.pid = ::getppid();
  CHECK(home.serve(NodeId{2}, facts) == "its PID is in use at home");
  home.home.serve(NodeId{2}, nlohmann::json::object(), [](const Result<>& r) { CHECK(!r.ok()); });
  CHECK(home.births.empty());
}

TEST_CASE("home: the deputy of a child that is never claimed ends with the last of the unit") {
  Home home;
  CHECK(home.serve(NodeId{2}, home.child(home.unit)) == "");
  home.deputies.insert(Home::kFree);
  home.home.on_tick();
  CHECK(home.deputies.contains(Home::kFree));
  home.table.clear();
  home.home.on_tick();
  CHECK(!home.deputies.contains(Home::kFree));
  CHECK(!home.home.is_unclaimed(Home::kFree));
  // After a restart it says whose it is.
  CHECK(!home.home.remember(Home::kFree, home.unit));
  home.table[home.unit] = {.process = {NodeId{1}, home.unit}};
  CHECK(home.home.remember(Home::kFree, home.unit));
}

}  // namespace ssi
