// What guests on this node have started here and home does not know yet. Once a second their
// cgroups are looked at; who is there at two looks is told of to home, which makes a deputy for it
// (home_births.h), then claimed in the process table as one that moves with its guest. So what
// lives shorter than a second or two costs nobody anything.
//
// While one is on its way into the table its guest must not move, and while a guest moves nobody is
// told of: the table would have the one at the old place. Owned by the daemon; control loop only.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "ssid/daemon/birth_facts.h"
#include "ssid/daemon/guest_record.h"
#include "ssid/wire/group/group_codec.h"

namespace ssi {

class Births {
 public:
  using Clock = std::chrono::steady_clock;
  struct Handlers {
    std::function<std::vector<pid_t>(const GuestRecord&)> host_pids;  // all in its cgroup
    std::function<std::optional<BirthFacts>(pid_t local)> facts;
    // Home's answer: a deputy is there.
    std::function<void(NodeId home, const nlohmann::json& birth, std::function<void(Result<>)>)>
        ask_home;
    std::function<Result<>(group::Claim)> claim;
    std::function<bool(const GuestRecord&)> may_be_told;  // it runs here and does not move
  };
  explicit Births(Handlers handlers) : handlers_(std::move(handlers)) {}

  void look(const std::map<SsiPid, GuestRecord>& guests, Clock::time_point now);
  // One of what this guest has started is on its way into the table.
  bool is_busy(SsiPid guest) const;
  // What became of a claim; of one that is not from here nothing is known.
  void on_decided(const group::Claim& claim, bool accepted, Clock::time_point now);

 private:
  enum class State { kSeen, kTold, kRefused };
  struct Child {
    SsiPid guest;
    State state = State::kSeen;
    bool is_there = true;       // at the last look
    Clock::time_point again{};  // of one that is refused
  };
  struct Key {
    SsiPid process;
    pid_t local;
    auto operator<=>(const Key&) const = default;
  };

  void look_at(const GuestRecord& record, Clock::time_point now);
  void tell(const GuestRecord& record, const Key& key);
  void answered(const GuestRecord& record, const Key& key, const BirthFacts& facts,
                const Result<>& answer);
  bool parent_comes_first(const GuestRecord& record, const BirthFacts& facts) const;

  Handlers handlers_;
  std::map<Key, Child> children_;
};

// For Births::Handlers::ask_home.
nlohmann::json birth_message(const GuestRecord& guest, const BirthFacts& facts);

}  // namespace ssi
