#include "migrate/deputy/filter_check.h"

#include <chrono>
#include <cstdlib>
#include <span>
#include <string>
#include <thread>

#include "migrate/deputy/proc_text.h"
#include "migrate/deputy/remote_thread.h"
#include "migrate/deputy/seccomp_filter.h"

namespace ssi::deputy {
namespace {

constexpr std::chrono::seconds kStopMax{1};
constexpr int kStrict = 1;

Error refused(const std::string& why) {
  return Error(ErrorCode::kRefused, "it runs under a system call filter (seccomp) " + why);
}

// As in /proc: 0 none, 1 strict, 2 filters.
Result<int> seccomp_mode(pid_t pid, pid_t tid) {
  const std::string file = "task/" + std::to_string(tid) + "/status";
  SSI_ASSIGN(const std::string status, read_proc_file(pid, file.c_str()));
  constexpr std::string_view kName = "\nSeccomp:";
  const std::size_t at = status.find(kName);
  return at == std::string::npos ? 0 : std::atoi(status.c_str() + at + kName.size());
}

Result<> wait_stopped(const RemoteThread& thread) {
  const auto deadline = std::chrono::steady_clock::now() + kStopMax;
  for (;;) {
    SSI_ASSIGN(const auto status, thread.poll_trap());
    if (status && status->kind == StopStatus::Kind::kExited) {
      return Error(ErrorCode::kGone, "a thread of it has just ended");
    }
    if (status) return {};
    if (std::chrono::steady_clock::now() >= deadline) {
      return Error(ErrorCode::kBusy, "it does not stop, so its system call filter is not known");
    }
    std::this_thread::sleep_for(std::chrono::microseconds(100));
  }
}

Result<> check_thread(const RemoteThread& thread, std::span<const DeputyCall> calls) {
  for (std::size_t i = 0;; ++i) {
    auto filter = thread.seccomp_filter(i);
    if (!filter) return refused("that can't be looked at: " + filter.error().message());
    if (filter->empty()) return {};
    if (asks_another(*filter)) return refused("that leaves calls to another process to decide");
    for (const DeputyCall& call : calls) {
      if (always_allows(*filter, call)) continue;
      return refused("that may forbid its deputy to call " + std::string(call.name) + "(2)");
    }
  }
}

// It is let go with the end of the thread that calls this, at the latest.
Result<> look_at(pid_t tid, std::span<const DeputyCall> calls) {
  SSI_ASSIGN(const RemoteThread thread, RemoteThread::seize(tid));
  SSI_TRY(thread.interrupt());
  SSI_TRY(wait_stopped(thread));
  auto result = check_thread(thread, calls);
  SSI_TRY(thread.detach());
  return result;
}

std::span<const DeputyCall> calls_of(bool leader, bool has_deputy) {
  if (has_deputy) return {};
  return leader ? std::span<const DeputyCall>(kDeputyCalls)
                : std::span<const DeputyCall>(&kThreadExit, 1);
}

Result<> check_all(pid_t pid, bool has_deputy) {
  SSI_ASSIGN(const auto tids, thread_ids(pid));
  for (const pid_t tid : tids) {
    const auto mode = seccomp_mode(pid, tid);
    if (!mode && tid != pid) continue;  // ended
    if (!mode) return std::move(mode).error();
    if (*mode == 0) continue;
    if (*mode == kStrict) {
      if (has_deputy) continue;
      return refused("of the strict kind, under which a deputy can do nothing");
    }
    auto seen = look_at(tid, calls_of(tid == pid, has_deputy));
    if (!seen && seen.error().code() == ErrorCode::kGone && tid != pid) continue;
    SSI_TRY(std::move(seen));
  }
  return {};
}

}  // namespace

Result<> check_filters(pid_t pid, bool has_deputy) {
  Result<> result;
  std::thread looker([&] { result = check_all(pid, has_deputy); });
  looker.join();
  return result;
}

}  // namespace ssi::deputy
