#include "ssid/daemon/enabled_processes.h"

#include <fstream>
#include <iterator>
#include <set>

#include "loadlevel/tracker/inherited_mark.h"
#include "ssid/base/log.h"
#include "ssid/base/proc_status.h"

namespace ssi {
namespace asio = boost::asio;

namespace {

constexpr std::uint64_t kResolveEvery = 30;  // updates

}  // namespace

EnabledProcesses::EnabledProcesses(asio::io_context& io, Sampler& sampler, std::string state_path,
                                   std::function<std::string(pid_t)> name_of)
    : sampler_(sampler),
      state_path_(std::move(state_path)),
      tracker_({.name_of = std::move(name_of),
                .marked = [](ProcessKey key) { return has_inherited_mark(key.pid); },
                .mark = [](ProcessKey key, bool on) { set_inherited_mark(key.pid, on); }}),
      starts_ready_(io) {
  std::ifstream state(state_path_);
  tracker_.load(std::string{std::istreambuf_iterator<char>(state), {}});
}

EnabledProcesses::~EnabledProcesses() {
  if (starts_ready_.is_open()) starts_ready_.release();
}

void EnabledProcesses::start() {
  auto starts = ExecWatch::open();
  if (!starts) {
    log_warning("programs on the list are seen once a second only: {}", starts.error().message());
    return;
  }
  starts_.emplace(std::move(*starts));
  starts_ready_.assign(starts_->fd());
  resolve_list();
  await_starts();
}

void EnabledProcesses::set_list(const std::string& text) {
  if (text == list_.text()) return;
  // Who was born under the old one counts by that.
  take_starts();
  for (const ProcessKey& key : tracker_.enabled()) {
    if (const auto parent = sampler_.look(key.pid); parent && parent->key == key) {
      notice_descendants(*parent);
    }
  }
  list_ = LoadLevelList::parse(text);
  resolve_list();
  for (const auto& problem : list_.problems()) log_warning("loadlevellist: {}", problem.what);
}

// Links change when packages are upgraded, and files are replaced.
void EnabledProcesses::resolve_list() {
  resolved_ = ResolvedList(list_, resolve_in_file_system);
  if (starts_) starts_->watch(resolved_.programs());
}

void EnabledProcesses::await_starts() {
  starts_ready_.async_wait(asio::posix::stream_descriptor::wait_read,
                           [this](boost::system::error_code ec) {
                             if (ec) return;
                             take_starts();
                             await_starts();
                           });
}

void EnabledProcesses::take_starts() {
  if (!starts_) return;
  for (const ExecWatch::Started& started : starts_->take()) {
    auto process = sampler_.look(started.pid);
    if (!process) continue;
    process->exe = started.exe;  // it may not be that yet, or not be that any more
    tracker_.notice(*process, nullptr, resolved_);
    if (tracker_.enabled(process->key)) notice_descendants(*process);
  }
}

void EnabledProcesses::update(const std::vector<ProcessSample>& processes) {
  if (++updates_ % kResolveEvery == 0) resolve_list();
  take_starts();
  tracker_.update(processes, resolved_);
  save();
}

Result<ProcessSample> EnabledProcesses::look(pid_t local_pid) {
  take_starts();
  SSI_ASSIGN(auto sample, sampler_.look(local_pid));
  tracker_.notice(sample, nullptr, resolved_);
  return sample;
}

Result<> EnabledProcesses::enable(pid_t local_pid, std::uint32_t by_uid) {
  SSI_ASSIGN(const auto sample, look(local_pid));
  SSI_TRY(tracker_.enable(sample, by_uid));
  notice_descendants(sample);
  save();
  return {};
}

Result<> EnabledProcesses::disable(pid_t local_pid, std::uint32_t by_uid) {
  SSI_ASSIGN(const auto sample, look(local_pid));
  SSI_TRY(tracker_.disable(sample, by_uid));
  save();
  return {};
}

Result<> EnabledProcesses::pin(pid_t local_pid, std::uint32_t by_uid) {
  SSI_ASSIGN(const auto sample, look(local_pid));
  SSI_TRY(tracker_.pin(sample, by_uid));
  save();
  return {};
}

void EnabledProcesses::adopt(pid_t local_pid, Enablement state) {
  const auto sample = sampler_.look(local_pid);
  if (!sample || tracker_.find(sample->key)) return;
  tracker_.adopt(sample->key, std::move(state));
}

// Those that are there already, at once. What an enabled one starts from then on has its mark.
void EnabledProcesses::notice_descendants(const ProcessSample& of) {
  std::set<ProcessKey> seen;
  std::vector<ProcessSample> parents{of};
  while (!parents.empty()) {
    const ProcessSample parent = std::move(parents.back());
    parents.pop_back();
    for (const pid_t pid : children_of(parent.key.pid)) {
      auto child = sampler_.look(pid);
      if (!child || !seen.insert(child->key).second) continue;
      tracker_.notice(*child, &parent, resolved_);
      if (!tracker_.enabled(child->key)) continue;
      parents.push_back(parent);  // who was starting one while it was not marked yet
      parents.push_back(std::move(*child));
    }
  }
}

void EnabledProcesses::save() const {
  std::ofstream out(state_path_, std::ios::trunc);
  out << tracker_.save();
}

}  // namespace ssi
