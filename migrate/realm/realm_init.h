// PID 1 of a realm: starts pagers, and stand-ins (the parents of criu and of the guests that it
// rebuilds), reaps everything, tells ssid how guests ended or stopped. Keeps no other state, so it
// can outlive any number of ssids; the end of a guest is kept until an ssid has acknowledged it.
//
// One thread, one poll loop. A peer is root (the socket lies in a root-only directory); still, a
// malformed message only closes its connection.
#pragma once

#include <map>
#include <set>
#include <vector>

#include "migrate/realm/realm_protocol.h"
#include "migrate/realm/stand_in.h"
#include "ssid/base/result.h"
#include "ssid/base/unique_fd.h"

namespace ssi::migrate {

class RealmInit {
 public:
  // `listener`: a listening SEQPACKET socket. `criu_dir`: criu, its loader and libraries.
  RealmInit(UniqueFd listener, std::string criu_dir);

  // Until kQuit. Returns only on an error that makes the realm useless.
  Result<> run();

 private:
  struct Request {
    RealmMessage message;
    std::vector<UniqueFd> fds;
  };

  void accept_one();
  // False: the connection is to be closed.
  bool serve(int connection);
  RealmMessage handle(int connection, Request& request);
  RealmMessage spawn_dump(int connection, bool own_ipc, const std::vector<UniqueFd>& fds);
  RealmMessage spawn_restore(int connection, pid_t guest, pid_t parent, std::vector<UniqueFd>& fds);
  Result<pid_t> start_restore(pid_t parent, const std::vector<UniqueFd>& fds);
  void clean_up(pid_t guest);
  RealmMessage register_guest(pid_t guest, pid_t criu);
  RealmMessage register_member(pid_t member);
  RealmMessage spawn_pager(pid_t guest, std::vector<UniqueFd>& fds);
  void install_all(pid_t guest);
  void pager_ended(pid_t pid, int status);
  void subscribe(int connection);
  void hear_stand_ins();
  void hear_members();
  void reap();
  void child_changed(pid_t pid, int status);
  void tell_subscriber(const RealmMessage& event);

  UniqueFd listener_;
  UniqueFd signals_;
  std::string criu_dir_;
  std::vector<UniqueFd> connections_;
  int subscriber_ = -1;  // one of connections_
  // A restoring criu that has lost its ssid would let the guest run: it takes no answer for a yes.
  // So the socket on which it asks stays open here, and it waits until the guest was killed.
  struct Criu {
    int connection = -1;
    pid_t guest = 0;    // restore only
    pid_t parent = 0;   // restore only
    UniqueFd rpc_peer;  // restore only
  };
  std::map<pid_t, Criu> crius_;
  std::vector<StandIn> stand_ins_;
  std::set<pid_t> guests_;
  // Of those guests, the children of others, whose parents wait for them: their ends are seen here.
  std::map<pid_t, UniqueFd> members_;
  // A pager's own descriptors are held here, too: if it dies, its process waits for ever instead of
  // reading zeros, until it has been killed.
  struct PagerChild {
    pid_t guest = 0;
    UniqueFd uffd;
    UniqueFd kill;
    UniqueFd go;
  };
  std::map<pid_t, PagerChild> pagers_;
  std::map<pid_t, int> ended_;  // guest -> wait status, not acknowledged yet
  bool quit_ = false;
};

}  // namespace ssi::migrate
