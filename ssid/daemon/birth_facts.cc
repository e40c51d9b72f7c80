#include "ssid/daemon/birth_facts.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "ssid/base/proc_job.h"
#include "ssid/base/process_handle.h"

namespace ssi {
using nlohmann::json;

namespace {

constexpr std::size_t kTextBytesMax = 1023;

std::string text_of(const std::string& path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), {}};
}

}  // namespace

std::optional<BirthFacts> read_birth_facts(pid_t local_pid) {
  const auto process = ProcessHandle::open(local_pid);
  const auto job = proc_job(local_pid);
  const std::string state = proc_status_line(local_pid, "State");
  const auto uids = proc_ids(local_pid, "Uid"), gids = proc_ids(local_pid, "Gid");
  if (!process || !job || !uids || !gids || state.find_first_of("ZX") != std::string::npos) {
    return std::nullopt;
  }
  const std::string proc = "/proc/" + std::to_string(local_pid);
  BirthFacts facts;
  facts.pid = innermost_pid(local_pid);
  facts.parent = innermost_pid(job->parent);
  facts.group = innermost_number(local_pid, "NSpgid");
  facts.session = innermost_number(local_pid, "NSsid");
  facts.start_time = process->start_ticks();
  facts.uids = *uids;
  facts.gids = *gids;
  facts.comm = text_of(proc + "/comm");
  if (!facts.comm.empty() && facts.comm.back() == '\n') facts.comm.pop_back();
  std::error_code error;
  facts.exe = std::filesystem::read_symlink(proc + "/exe", error);
  facts.command = text_of(proc + "/cmdline").substr(0, kTextBytesMax);
  while (!facts.command.empty() && facts.command.back() == '\0') facts.command.pop_back();
  std::ranges::replace(facts.command, '\0', ' ');
  if (facts.command.empty()) facts.command = facts.comm;
  if (!process->alive() || facts.pid <= 1) return std::nullopt;
  return facts;
}

json to_json(const BirthFacts& f) {
  return {{"pid", f.pid},
          {"parent", f.parent},
          {"group", f.group},
          {"session", f.session},
          {"start_time", f.start_time},
          {"uids", f.uids},
          {"gids", f.gids},
          {"comm", f.comm},
          {"exe", f.exe},
          {"command", f.command}};
}

Result<BirthFacts> birth_facts_from_json(const json& j) {
  try {
    BirthFacts f;
    f.pid = j.at("pid");
    f.parent = j.at("parent");
    f.group = j.at("group");
    f.session = j.at("session");
    f.start_time = j.at("start_time");
    f.uids = j.at("uids").get<ProcIds>();
    f.gids = j.at("gids").get<ProcIds>();
    f.comm = j.at("comm");
    f.exe = j.at("exe");
    f.command = j.at("command").get<std::string>().substr(0, kTextBytesMax);
    if (f.pid <= 1 || f.group < 0 || f.session < 0) return Error("birth: no such PID");
    return f;
  } catch (const json::exception& e) {
    return Error(std::string("birth: ") + e.what());
  }
}

}  // namespace ssi
