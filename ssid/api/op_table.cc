#include "ssid/api/op_table.h"

#include <charconv>
#include <nlohmann/json.hpp>
#include <sstream>

#include "ssid/base/proc_status.h"

namespace ssi {

bool may_signal(const Caller& caller, const ProcessOwner& owner) {
  return caller.uid == 0 || caller.uid == owner.real_uid || caller.uid == owner.saved_uid;
}

Result<std::string> pid_argument(const nlohmann::json& args) {
  const auto at = args.find("pid");
  if (at == args.end()) return Error(ErrorCode::kUsage, "no pid given");
  if (at->is_number_unsigned()) return std::to_string(at->get<std::uint64_t>());
  if (at->is_string() && at->get_ref<const std::string&>().size() <= 32)
    return at->get<std::string>();
  return Error(ErrorCode::kUsage, "pid: not a process id");
}

Result<ProcessOwner> local_process_owner(pid_t pid) {
  if (const auto ids = proc_ids(pid, "Uid")) {
    return ProcessOwner{.real_uid = (*ids)[0], .saved_uid = (*ids)[2]};
  }
  return Error(ErrorCode::kGone, "process " + std::to_string(pid) + ": No such process");
}

}  // namespace ssi
