// Which processes of this node may be load-levelled, and why.
//
// Each second it is shown the processes and the list; between that, users enable and disable. The
// rules, the first that fits:
//   1. pid 1, ssid's own processes and kernel threads: never.
//   2. What a user said about the process itself holds until it ends or a user says otherwise.
//   3. What was enabled stays enabled, whatever program it executes and whatever becomes of its
//   parent;
//      but what only the list had enabled does not, when its line is removed.
//   4. Its program is on the list.
//   5. It descends from one that was enabled then (inherited_mark.h), or its parent is enabled.
// So children are enabled with their parent, those that were there before too; disabling a parent
// leaves the children it has as they are and its future ones alone; and disabling a child concerns
// that child and what it starts from then on.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "loadlevel/list/resolved_list.h"
#include "loadlevel/metrics/process_sample.h"
#include "loadlevel/tracker/enablement.h"
#include "ssid/base/result.h"

namespace ssi {

struct TrackerOptions {
  // How users name the process with this local number (a guest has another PID here); empty: the
  // number.
  std::function<std::string(pid_t)> name_of;
  // Asked once of a new process: did it inherit the mark (inherited_mark.h)? Empty: no.
  std::function<bool(ProcessKey)> marked;
  // From now on what it starts inherits the mark, or does not. Empty: nothing does.
  std::function<void(ProcessKey, bool on)> mark;
};

// Role: pure memory of what is enabled. Owned by the balancer; one thread. Can't fail; a process
// that is not in the samples is forgotten.
class Tracker {
 public:
  explicit Tracker(TrackerOptions options = {}) : options_(std::move(options)) {}

  // Once a second, with all processes of the node (kernel threads left out).
  void update(const std::vector<ProcessSample>& processes, const ResolvedList& list);

  // The same for one process, which the last update may not have shown, just looked at. `parent`
  // null: not known.
  void notice(const ProcessSample& process, const ProcessSample* parent, const ResolvedList& list);

  // A user's word, at once. kRefused for pid 1 and ssid's own. The caller has checked that the user
  // may, and has just looked at the process (ProcessScan::look).
  Result<> enable(const ProcessSample& process, std::uint32_t by_uid);
  Result<> disable(const ProcessSample& process, std::uint32_t by_uid);
  // As disable, and it stays even where everything else has to leave.
  Result<> pin(const ProcessSample& process, std::uint32_t by_uid);

  // A process moved here, or came back, with what was known about it. Take `find(key)` on the old
  // node.
  void adopt(ProcessKey key, Enablement state);
  // A process was moved away; what stays under its number is ssid's.
  void forget(ProcessKey key);

  bool enabled(ProcessKey key) const;
  bool pinned(ProcessKey key) const;
  // Null if nobody ever said anything about it: not enabled.
  const Enablement* find(ProcessKey key) const;
  std::string reason(ProcessKey key) const;  // "not enabled" if unknown
  std::vector<ProcessKey> enabled() const;   // for Sampler::watch

  // To survive a restart of ssid: text, to be kept where it does not survive a reboot. load() skips
  // what it can't read and says how many lines that were; the next update drops what has ended
  // meanwhile.
  std::string save() const;
  std::size_t load(std::string_view text);

 private:
  void decide(const ProcessSample& p, const ProcessSample* parent, const ResolvedList& list);
  void keep(ProcessKey key, Enablement state);
  Result<> set(const ProcessSample& process, Enablement state);

  TrackerOptions options_;
  std::unordered_map<ProcessKey, Enablement> records_;
  std::unordered_set<ProcessKey> fresh_;  // said after the last samples: may be missing in the next
  std::unordered_set<ProcessKey> seen_;   // decided once
};

}  // namespace ssi
