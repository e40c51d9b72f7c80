// The guests that live on this node: which, where in the file system their cgroup is, and what
// their realms say of them (ended, stopped, continued).
//
// Owned by the daemon; control loop only, but save/forget of records, which movers' threads call.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <functional>
#include <map>
#include <memory>
#include <optional>

#include "migrate/realm/realm_client.h"
#include "ssid/daemon/guest_record.h"

namespace ssi {

class Guests {
 public:
  struct Handlers {
    // One of its processes.
    std::function<void(const GuestRecord&, SsiPid, int wait_status)> on_ended;
    std::function<void(const GuestRecord&, int signo)> on_stopped;
    std::function<void(const GuestRecord&)> on_continued;
    // A whole realm died (its init was killed): these guests are gone with it.
    std::function<void(const GuestRecord&)> on_lost;
  };

  Guests(boost::asio::io_context& io, migrate::FreezerRoot& freezer, GuestRecords records,
         Handlers handlers);
  ~Guests();

  // A realm stands; listens to it from now on. Again for a known one: nothing.
  void attach_realm(NodeId home, const std::string& socket);
  // Asks the realm once more for what it knows: ends that came before their guest was known here.
  void resubscribe(NodeId home);

  const GuestRecords& records() const { return records_; }
  void add(GuestRecord record);
  // It is no guest of this node any more (it moved on, or its end was taken over): cgroup, record
  // and what the realm kept of it go.
  void remove(const migrate::CopyName& name);

  // The guest that began with this process, whether that one lives or not.
  const GuestRecord* find(SsiPid pid) const;
  // The guest that this process belongs to.
  const GuestRecord* find_with(SsiPid pid) const;
  // It has started one more, which home knows now. An error: that one has ended; it is a member
  // all the same.
  Result<> add_member(const migrate::CopyName& name, const migrate::UnitMember& member);
  // One of its processes has ended, and home has been told.
  void note_end(const migrate::CopyName& name, SsiPid pid);
  const std::map<SsiPid, GuestRecord>& all() const { return guests_; }
  Result<> signal(SsiPid pid, int signo);
  // To the process group that is in the foreground of its terminal where it runs; without a
  // terminal: to its own.
  Result<> signal_job(SsiPid pid, int signo);
  // To the process group that it leads; if it leads none, to it.
  Result<> signal_group(SsiPid pid, int signo);
  // The PID that one of its processes has in this node's /proc; nullopt when it has just ended.
  std::optional<pid_t> host_pid(const GuestRecord& record, SsiPid pid) const;
  std::optional<pid_t> host_pid(const GuestRecord& record) const {
    return host_pid(record, record.ticket.pid);
  }
  // All that is in its cgroup, likewise.
  std::vector<pid_t> host_pids(const GuestRecord& record) const;
  // Destroys a copy that must not live: a guest whose epoch is over.
  Result<> destroy(const migrate::CopyName& name);
  // The same of one that others have given up; it is no guest any more at once. It may wait in the
  // kernel for a home that does not answer, so its end is not waited for here.
  void destroy_in_background(const migrate::CopyName& name);

 private:
  std::vector<SsiPid> pids_of(const migrate::CopyName& name) const;
  Result<> call_realm(SsiPid pid, migrate::RealmOp op, int value);
  struct Realm;
  void read_next(NodeId home);
  void on_message(NodeId home, const migrate::RealmMessage& message);
  void realm_gone(NodeId home);

  boost::asio::io_context& io_;
  migrate::FreezerRoot& freezer_;
  GuestRecords records_;
  Handlers handlers_;
  std::map<NodeId, std::unique_ptr<Realm>> realms_;
  std::map<SsiPid, GuestRecord> guests_;
};

}  // namespace ssi
