// Which processes of this node may be load-levelled: the tracker, and what it is told from: the
// passes over /proc, the loadlevellist, the starts of its programs, users.
//
// Whoever asks about a process gets the answer for this moment: what was started since the last
// pass is looked at then. Owned by the balancer; control loop only.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "loadlevel/list/exec_watch.h"
#include "loadlevel/list/resolved_list.h"
#include "loadlevel/metrics/sampler.h"
#include "loadlevel/tracker/tracker.h"

namespace ssi {

class EnabledProcesses {
 public:
  // `state_path`: what is enabled, kept over a restart of ssid. `name_of`: as users write it.
  EnabledProcesses(boost::asio::io_context& io, Sampler& sampler, std::string state_path,
                   std::function<std::string(pid_t)> name_of);
  ~EnabledProcesses();
  void start();

  const Tracker& tracker() const { return tracker_; }
  const LoadLevelList& list() const { return list_; }
  void set_list(const std::string& text);  // as /cluster/etc has it

  // Once a second, with all of the node.
  void update(const std::vector<ProcessSample>& processes);
  // One process now.
  Result<ProcessSample> look(pid_t local_pid);
  Result<> enable(pid_t local_pid, std::uint32_t by_uid);
  Result<> disable(pid_t local_pid, std::uint32_t by_uid);
  Result<> pin(pid_t local_pid, std::uint32_t by_uid);
  // It came here, with this; unless it is known already.
  void adopt(pid_t local_pid, Enablement state);

 private:
  void resolve_list();
  void await_starts();
  void take_starts();
  void notice_descendants(const ProcessSample& of);
  void save() const;

  Sampler& sampler_;
  std::string state_path_;
  LoadLevelList list_;
  ResolvedList resolved_;
  Tracker tracker_;
  std::optional<ExecWatch> starts_;  // of the programs on the list; none: they are seen each second
  boost::asio::posix::stream_descriptor starts_ready_;  // of starts_, which owns it
  std::uint64_t updates_ = 0;
};

}  // namespace ssi
