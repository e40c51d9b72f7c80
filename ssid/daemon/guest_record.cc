#include "ssid/daemon/guest_record.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

namespace ssi {
namespace fs = std::filesystem;
using nlohmann::json;

bool GuestRecord::has(SsiPid pid) const {
  if (pid == ticket.pid) return true;
  return pid.home == ticket.pid.home &&
         std::ranges::find(ticket.members, pid.pid, &migrate::UnitMember::pid) !=
             ticket.members.end();
}

std::vector<SsiPid> GuestRecord::living() const {
  std::vector<SsiPid> all;
  if (!over.contains(ticket.pid.pid)) all.push_back(ticket.pid);
  for (const migrate::UnitMember& m : ticket.members) {
    if (!over.contains(m.pid)) all.push_back({ticket.pid.home, m.pid});
  }
  return all;
}

std::uint64_t GuestRecord::start_time(SsiPid pid) const {
  const auto member = std::ranges::find(ticket.members, pid.pid, &migrate::UnitMember::pid);
  return member == ticket.members.end() ? ticket.start_time : member->start_time;
}

std::string to_json(const GuestRecord& record) {
  const migrate::MoveTicket& t = record.ticket;
  json streams = json::array();
  for (const migrate::StreamRef& s : record.streams) {
    streams.push_back({{"id", s.id},
                       {"key", s.key},
                       {"write_end", s.write_end},
                       {"capacity", s.capacity},
                       {"generation", s.generation},
                       {"on_demand", s.on_demand},
                       {"terminal", s.terminal},
                       {"local_key", s.local_key},
                       {"socket", s.socket},
                       {"address", std::vector<std::uint8_t>(s.address.begin(), s.address.end())},
                       {"pid", s.pid},
                       {"number", s.number},
                       {"socket_type", s.socket_type},
                       {"peer_uid", s.peer_uid},
                       {"peer_gid", s.peer_gid}});
  }
  json members = json::array();
  for (const migrate::UnitMember& m : t.members) {
    members.push_back({{"pid", m.pid},
                       {"start_time", m.start_time},
                       {"comm", m.comm},
                       {"exe", m.exe},
                       {"uid", m.uid}});
  }
  return json{{"home", t.pid.home.value},
              {"pid", t.pid.pid},
              {"from", t.from.value},
              {"to", t.to.value},
              {"epoch", t.epoch.value},
              {"start_time", t.start_time},
              {"comm", t.comm},
              {"exe", t.exe},
              {"uid", t.uid},
              {"parent", t.parent},
              {"rss_bytes", t.rss_bytes},
              {"enablement", t.enablement},
              {"term", t.term},
              {"members", members},
              {"over", record.over},
              {"committed", record.committed},
              {"streams", streams}}
      .dump(-1, ' ', false, json::error_handler_t::replace);
}

Result<GuestRecord> guest_record_from_json(const std::string& text) {
  try {
    const json j = json::parse(text);
    GuestRecord r;
    r.ticket = {.pid = {NodeId{j.at("home")}, j.at("pid")},
                .from = NodeId{j.at("from")},
                .to = NodeId{j.at("to")},
                .epoch = Epoch{j.at("epoch")},
                .start_time = j.at("start_time"),
                .comm = j.at("comm"),
                .exe = j.at("exe"),
                .uid = j.at("uid"),
                .parent = j.at("parent"),
                .rss_bytes = j.at("rss_bytes"),
                .term = j.at("term"),
                .members = {},
                .processes = 1,
                .enablement = j.at("enablement"),
                .by_user = true,
                .must_leave = false,
                .demand = 1,
                .source_slowdown = 1};
    for (const json& m : j.at("members")) {
      r.ticket.members.push_back(
          {m.at("pid"), m.at("start_time"), m.at("comm"), m.at("exe"), m.at("uid")});
    }
    r.over = j.at("over").get<std::set<pid_t>>();
    r.committed = j.at("committed");
    for (const json& s : j.at("streams")) {
      r.streams.push_back({s.at("id"), s.at("key"), s.at("write_end"), s.at("capacity"),
                           s.at("generation"), s.at("on_demand"), s.at("terminal"), "",
                           s.at("local_key"), s.value("socket", std::uint64_t{0}),
                           s.value("peer_uid", 0U), s.value("peer_gid", 0U)});
      const auto address = s.value("address", std::vector<std::uint8_t>());
      r.streams.back().address.assign(address.begin(), address.end());
      r.streams.back().pid = s.value("pid", 0);
      r.streams.back().number = s.value("number", -1);
      r.streams.back().socket_type = s.value("socket_type", std::uint32_t{SOCK_STREAM});
    }
    return r;
  } catch (const json::exception& e) {
    return Error(std::string("guest record: ") + e.what());
  }
}

Result<> GuestRecords::save(const GuestRecord& record) const {
  const std::string temporary = path(record.name()) + ".new";
  std::error_code ec;
  fs::create_directories(dir_, ec);
  {
    std::ofstream out(temporary, std::ios::trunc);
    out << to_json(record) << std::flush;
    if (!out) return Error("can't write " + temporary);
  }
  fs::rename(temporary, path(record.name()), ec);
  if (ec) return Error("can't write " + path(record.name()) + ": " + ec.message());
  return {};
}

void GuestRecords::remove(const migrate::CopyName& name) const {
  std::error_code ec;
  fs::remove(path(name), ec);
}

std::optional<GuestRecord> GuestRecords::load(const migrate::CopyName& name) const {
  std::ifstream in(path(name));
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  auto record = guest_record_from_json(text);
  if (!record || record->name() != name) return std::nullopt;
  return std::move(*record);
}

std::vector<GuestRecord> GuestRecords::load_all() const {
  std::vector<GuestRecord> records;
  std::error_code ec;
  for (const auto& entry : fs::directory_iterator(dir_, ec)) {
    const auto name = migrate::CopyName::parse(entry.path().filename().string());
    if (!name) continue;
    if (auto record = load(*name)) records.push_back(std::move(*record));
  }
  return records;
}

}  // namespace ssi
