// What a guest of this home has started away from it gets its deputy here: forked by the deputy of
// its parent, with the PID that it has where it runs. Then the node where it runs claims it in the
// process table. A deputy whose child is never claimed (its node died in between) ends with the
// last of the unit.
//
// Owned by the daemon; control loop only.
#pragma once

#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "migrate/deputy/deputy_protocol.h"
#include "ssid/daemon/birth_facts.h"
#include "ssid/wire/group/group_codec.h"

namespace ssi {

class HomeBirths {
 public:
  using Done = std::function<void(Result<>)>;
  struct Handlers {
    std::function<std::optional<group::TableEntry>(pid_t)> find;  // of processes born here
    // Those of the unit that the table has; none: it is over.
    std::function<std::vector<pid_t>(pid_t unit)> living;
    std::function<bool(pid_t)> has_deputy;
    std::function<void(pid_t forker, const deputy::Birth&, Done)> give_birth;
    std::function<void(pid_t)> end_deputy;  // of nobody
  };
  explicit HomeBirths(Handlers handlers) : handlers_(std::move(handlers)) {}

  // Another node's (or this one's) guest has a child; birth_message().
  void serve(NodeId from, const nlohmann::json& message, Done done);
  // A deputy without an entry says that it was forked for one of this unit. False: that is over.
  bool remember(pid_t deputy, pid_t unit);
  bool is_unclaimed(pid_t deputy) const { return unclaimed_.contains(deputy); }
  void on_claimed(pid_t process) { unclaimed_.erase(process); }
  void on_tick();

 private:
  Handlers handlers_;
  std::map<pid_t, pid_t> unclaimed_;  // deputy -> the first of its unit
};

// What the deputy of `facts`' process is to be like, if `forker` forks it. kRefused: that one
// can't.
Result<deputy::Birth> birth_by(pid_t forker, pid_t unit, Epoch epoch, bool is_orphan,
                               const BirthFacts& facts);

}  // namespace ssi
