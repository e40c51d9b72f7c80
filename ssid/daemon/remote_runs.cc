#include "ssid/daemon/remote_runs.h"

#include "ssid/base/log.h"
#include "ssid/wire/api_message.h"

namespace ssi {
namespace {

constexpr std::chrono::seconds kPatience{60};
constexpr std::chrono::milliseconds kPause{50};

}  // namespace

void RemoteRuns::start(ProcessHandle process, NodeId home, NodeId to) {
  std::erase_if(runs_, [](const auto& known) { return !known.second.process.alive(); });
  const pid_t pid = process.pid();
  runs_.insert_or_assign(pid, Run{std::move(process),
                                  {home, pid},
                                  to,
                                  std::chrono::steady_clock::now() + kPatience,
                                  std::make_unique<boost::asio::steady_timer>(io_),
                                  std::nullopt});
  try_once(pid);
}

void RemoteRuns::try_once(pid_t pid) {
  const auto run = runs_.find(pid);
  if (run == runs_.end()) return;
  control_.migrate_from_here(
      run->second.pid, run->second.to, {},
      [this, pid](Result<migrate::MoveReport> report) { ended(pid, std::move(report)); });
}

void RemoteRuns::ended(pid_t pid, Result<migrate::MoveReport> report) {
  const auto it = runs_.find(pid);
  if (it == runs_.end()) return;
  Run& run = it->second;
  if (report) {
    control_.signal(run.pid, kLookAgainSignal);
    runs_.erase(it);
    return;
  }
  const bool later = report.error().code() == ErrorCode::kBusy && run.process.alive();
  if (later && std::chrono::steady_clock::now() < run.deadline) {
    run.again->expires_after(kPause);
    run.again->async_wait([this, pid](boost::system::error_code ec) {
      if (!ec) try_once(pid);
    });
    return;
  }
  log_info("runon of {}: {}", pid, report.error().message());
  run.failure = std::move(report).error();
  (void)run.process.signal(kLookAgainSignal);
}

Result<> RemoteRuns::outcome(pid_t pid) {
  const auto it = runs_.find(pid);
  if (it == runs_.end()) return Error("ssid was restarted meanwhile; try again");
  if (!it->second.failure) return Error(ErrorCode::kBusy, "it is on its way");
  Error why = std::move(*it->second.failure);
  runs_.erase(it);
  return why;
}

}  // namespace ssi
