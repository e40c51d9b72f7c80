// The source's half of a move, of a process or a tree of them: freeze, dump, send; then wait for
// the target's restore, commit, stand down. Runs in a worker thread of its own, as straight-line
// code; every failure before the commit ends with the process going on here.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <set>

#include "migrate/fds/pty.h"
#include "migrate/move/environment.h"
#include "migrate/move/frozen_copy.h"
#include "migrate/move/move_link.h"
#include "migrate/move/ticket.h"

namespace ssi::migrate {

// Where a TCP connection is open. `pid` in this node's /proc.
struct OpenConnection {
  pid_t pid = 0;
  int number = -1;
};

// What is known only of the frozen process.
struct FrozenFacts {
  std::vector<net::MovedSocket> sockets;
  std::vector<OpenConnection> connections;
  std::vector<fds::FileToHold> files;
  std::vector<fds::PtyToMove> ptys{};
  // Connections over unix sockets that have come since the offer: by its listening sockets where it
  // is a guest, and others, which home is to export now. Descriptors in its process.
  std::vector<StreamRef> accepted{};
  std::vector<std::pair<StreamRef, int>> to_export{};
  std::vector<UniqueFd> held{};  // what these numbers are
  // It goes home: how many datagrams wait in its sockets that others reach by name, by
  // StreamRef.id.
  std::map<std::uint64_t, std::uint32_t> datagrams{};
  // Keys of unix sockets whose name was deleted, wherever that was done.
  std::set<std::string> deleted_sockets{};
  // And of those whose file was renamed: the path that it has now.
  std::map<std::string, std::string> renamed_sockets{};
  // As in MoveSource, as they are now: a guest may have begun more, which move along.
  std::vector<pid_t> below{};
};

// Where the process is before the move.
struct MoveSource {
  pid_t host_pid = 0;              // in ssid's own PID namespace
  std::vector<pid_t> below;        // likewise: the others of its tree, which move with it
  std::optional<CopyName> guest;   // set: it lives in guests/NAME of this node's realm
  std::string realm_socket;        // of that realm
  std::vector<StreamRef> streams;  // as they are named, and attached, on this node
  // It has closed them since it came, but may have accepted some by them.
  std::vector<StreamRef> closed_listeners{};
  // Whose end ends what is exported: the originals, or the deputies that they have become.
  std::vector<pid_t> owners{};
  std::vector<std::pair<StreamRef, int>>
      to_export;  // first move: descriptor numbers in the original
  bool has_system_v_memory = false;
  bool has_sockets = false;  // of the network
  // Those that anybody may come to: that listen, or take datagrams. Who has come already is to be
  // taken by it before it stands still.
  std::vector<net::MovedSocket> doors;
  std::function<Result<>()> await_quiet;
  // Set: it stands still already, because it could not be looked at while it ran.
  std::unique_ptr<HeldForLook> held;
  bool holds_files = false;  // some are to be held by home meanwhile
  // Called when it is frozen: is it still what was checked and what `streams` say? `accepted`: the
  // connections that came by its listening sockets where it is.
  std::function<Result<FrozenFacts>(const std::vector<StreamRef>& accepted)> check_again;
};

// Sends the offer over a fresh link and waits for the answer: the target has made its realm ready.
// Nothing has happened to the process yet. kBusy: the target does not want it now.
Result<> offer_move(MoveLink& link, const MoveTicket& ticket, const MoveSource& source);

// The rest. `ticket.from` is this node. kRefused: it can't be moved so; kFailed: the cluster did
// not take the move, which is nobody's fault.
Result<MoveReport> run_source_move(MoveEnvironment& env, MoveLink& link, const MoveTicket& ticket,
                                   const MoveSource& source);

}  // namespace ssi::migrate
