// What a restarted ssid must know of a guest that lives here, a process or a tree of them that
// moves as one: one small JSON file each, written before anybody is told of it. Any thread; files
// of different guests do not touch each other.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "migrate/freezer/freezer_cgroup.h"
#include "migrate/move/ticket.h"
#include "ssid/base/result.h"

namespace ssi {

struct GuestRecord {
  migrate::MoveTicket ticket;
  std::vector<migrate::StreamRef> streams;
  bool committed = false;  // it runs here; else the move that brings it is not decided
  std::set<pid_t> over{};  // of its processes, those that have ended

  migrate::CopyName name() const { return {ticket.pid, ticket.epoch}; }
  bool has(SsiPid pid) const;          // one of its processes, whether it lives or not
  std::vector<SsiPid> living() const;  // the ticket's own first
  std::uint64_t start_time(SsiPid pid) const;
};

std::string to_json(const GuestRecord& record);
Result<GuestRecord> guest_record_from_json(const std::string& text);

class GuestRecords {
 public:
  explicit GuestRecords(std::string dir) : dir_(std::move(dir)) {}

  Result<> save(const GuestRecord& record) const;
  void remove(const migrate::CopyName& name) const;
  // nullopt: none, or damaged.
  std::optional<GuestRecord> load(const migrate::CopyName& name) const;
  // Those that can be read; a damaged file is skipped.
  std::vector<GuestRecord> load_all() const;

 private:
  std::string path(const migrate::CopyName& name) const { return dir_ + "/" + name.to_string(); }
  std::string dir_;
};

}  // namespace ssi
