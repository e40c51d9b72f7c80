// MoveMessage <-> plain structs. Everything that comes from the link is verified here before use.
#pragma once

#include <span>
#include <string>
#include <variant>
#include <vector>

#include "migrate/fds/files_in_use.h"
#include "migrate/fds/held_file.h"
#include "migrate/fds/inotify.h"
#include "migrate/fds/pty_queues.h"
#include "migrate/move/ticket.h"
#include "migrate/move/timer_slack.h"
#include "ssid/base/result.h"

namespace ssi::migrate {

struct Offer {
  MoveTicket ticket;
  std::vector<StreamRef> streams;
  std::string cpu_features;
  bool holds_files = false;  // Frozen will name some, or it watches some
};
struct Answer {
  bool accepted = false;
  std::string reason;
};
struct ImageFile {
  std::string name;  // a plain file name: no '/', not empty, not "." or ".."
  std::uint64_t offset = 0;
  std::span<const std::uint8_t> data;  // points into the decoded bytes
};
struct DumpDone {
  std::uint32_t files = 0;
  std::uint64_t file_bytes = 0;
  std::uint64_t memory_bytes = 0;
};
struct Restored {
  bool ok = false;
  std::string reason;
  std::uint64_t restore_us = 0;
  std::uint64_t memory_bytes = 0;
};
struct Abandon {
  std::string reason;
};

// What can be sent before the freeze has been sent.
struct EarlyDone {
  std::uint64_t memory_bytes = 0;
};
// It is in its place, and the target is ready for the rest.
struct EarlyTaken {};
// What it watches (inotify), before the freeze and, as often as it takes, when it stands still. The
// answer: from now on the target hears what happens, and only from now on.
struct Watching {
  std::vector<fds::Watcher> watchers;
};
struct Listening {
  std::string reason;  // why not; empty: it does
};
// The process stands still and its pipes are empty: the target may begin with what needs that.
struct Frozen {
  std::vector<fds::HeldFile> held;  // by home, for the target
  std::vector<fds::MovedPty> ptys{};
  std::vector<StreamRef> streams{};  // that came since the offer, by its listening sockets
  std::vector<TimerSlack> slacks{};
  std::vector<fds::FileInUse> files{};  // to be opened there ahead
};

using MoveMessage = std::variant<Offer, Answer, ImageFile, DumpDone, Restored, Abandon, EarlyDone,
                                 EarlyTaken, Frozen, Watching, Listening>;

std::vector<std::uint8_t> encode(const MoveMessage& message);
Result<MoveMessage> decode_move(std::span<const std::uint8_t> bytes);

}  // namespace ssi::migrate
