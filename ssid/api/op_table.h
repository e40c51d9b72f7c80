// The ops of ssid in one table: name, who may, whether it needs quorum, and what answers it.
//
// docs/control-socket.md tells each op's arguments and answers.
#pragma once

#include <sys/types.h>

#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "ssid/base/result.h"
#include "ssid/wire/unix_socket.h"

namespace ssi {

enum class Privilege {
  kAnyone,      // reads what everybody may know
  kRoot,        // changes the cluster
  kOwnerOfPid,  // args has "pid": root, and who could send it a signal with kill(2)
};

// Role: the answer to one request. The handler gets it and may keep it, on any thread, until the
// answer is there. What may go wrong: the asker goes away; then what is said is dropped, and
// on_cancel is called. If the last reference goes without a final answer, the asker is told that
// there was none.
class Responder {
 public:
  virtual ~Responder() = default;
  // Once, as the last: the answer, or why there is none. `details`: more about the error, for
  // --json.
  virtual void reply(const nlohmann::json& answer) = 0;
  virtual void error(const Error& error) = 0;
  virtual void error(const Error& error, const nlohmann::json& details) = 0;
  // Before the last, any number of times. False: nobody listens any more, or too slowly.
  virtual bool more(const nlohmann::json& part) = 0;
  virtual bool cancelled() const = 0;
  // Called once on the control loop when the asker goes away before the last reply; at once if it
  // has.
  virtual void on_cancel(std::function<void()> callback) = 0;
};

// Called on the control loop; must not block. `args` is an object.
using OpHandler = std::function<void(std::shared_ptr<const Caller>, nlohmann::json args,
                                     std::shared_ptr<Responder>)>;

struct Op {
  std::string name;
  Privilege privilege = Privilege::kRoot;
  bool needs_quorum = false;
  OpHandler handler;
};
using OpTable = std::vector<Op>;

// Whose process it is, as kill(2) asks.
struct ProcessOwner {
  uid_t real_uid = 0;
  uid_t saved_uid = 0;
};
// Pure: kill(2)'s rule.
bool may_signal(const Caller& caller, const ProcessOwner& owner);

// What the ops need to know from outside before a handler runs; called on the control loop.
struct OpGate {
  // Who owns the process written as `pid` ("70041", "1:345")? Answers by calling `done` once, now
  // or later, on any thread; kGone if there is none.
  std::function<void(std::string pid, std::function<void(Result<ProcessOwner>)> done)> owner_of;
  std::function<bool()> has_quorum;
};

// Pure: the "pid" of the arguments as text; a number or a string.
Result<std::string> pid_argument(const nlohmann::json& args);

// Owner of a process of this machine, from /proc/PID/status. For gates.
Result<ProcessOwner> local_process_owner(pid_t pid);

}  // namespace ssi
