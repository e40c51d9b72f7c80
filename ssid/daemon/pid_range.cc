#include "ssid/daemon/pid_range.h"

#include <fstream>

#include "ssid/base/log.h"

namespace ssi {
namespace {

constexpr const char* kMax = "/proc/sys/kernel/pid_max";
constexpr const char* kLast = "/proc/sys/kernel/ns_last_pid";
constexpr std::int32_t kPidMax = 4'194'304;
// The upper half is for what is born in realms here.
constexpr std::int32_t kOwnPids = SsiPid::kPidsPerNode / 2;

Result<> write_number(const char* path, std::int32_t number) {
  std::ofstream out(path);
  out << number << std::flush;
  return out ? Result<>() : Error(std::string("can't set ") + path);
}

std::int32_t read_number(const char* path) {
  std::int32_t number = 0;
  std::ifstream(path) >> number;
  return number;
}

}  // namespace

std::int32_t last_pid_for(NodeId node, std::int32_t last_pid) {
  const auto first = static_cast<std::int32_t>(node.value) * SsiPid::kPidsPerNode;
  const bool inside = last_pid >= first && last_pid < first + kOwnPids - 1024;
  return inside ? -1 : first;
}

Result<> PidRange::start() {
  if (read_number(kMax) < kPidMax) SSI_TRY(write_number(kMax, kPidMax));
  SSI_TRY(put_back());
  watch();
  return {};
}

Result<> PidRange::put_back() {
  const std::int32_t wanted = last_pid_for(self_, read_number(kLast));
  return wanted < 0 ? Result<>() : write_number(kLast, wanted);
}

void PidRange::watch() {
  timer_.expires_after(std::chrono::milliseconds(500));
  timer_.async_wait([this](boost::system::error_code ec) {
    if (ec) return;
    if (auto put = put_back(); !put) log_warning("PID range: {}", put.error().message());
    watch();
  });
}

}  // namespace ssi
