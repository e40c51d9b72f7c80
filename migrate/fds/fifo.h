// Named pipes. The kernel keeps the bytes of one in the machine where it is opened, whatever file
// system its name is in. So who has an end of it keeps that end by a stream, as of a pipe without
// a name (migrate/streams), and who has both keeps each by a stream of its own: what it says to
// itself goes through home's pipe, where others may read and write, too. From then on an end is a
// pipe without a name to the process.
//
// One for both directions (O_RDWR) can't be kept so: where the process goes it would have to be one
// pipe, in which nobody could tell what home has sent from what the process is to send there (what
// was tried: tests/REAL_COVERAGE.md). If nobody else has it open it goes along, with what is in it:
// criu opens it by its name there, so all who do that there meet. The deputy keeps it open at home,
// empty, and whoever opens it there calls the process home (ssid/daemon/taken_fifos.h).
//
// Who has one that nobody can open any more takes it along, too. Pure: which way, if any.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace ssi::fds {

struct Fifo {
  bool both_directions = false;  // one of what moves is O_RDWR
  bool unread = false;           // it is for writing, and nobody has the other end
  bool nameless = false;         // deleted
  bool held_by_others = false;
  bool not_there = false;  // in /dev, which guests have one of their own of
};

enum class FifoWay { kStream, kTakeAlong, kStays };
FifoWay way_of(const Fifo& fifo);

// What keeps one at home; "" if nothing does. `holders`: the others that have it open.
std::string why_fifo_stays(const Fifo& fifo, const std::string& holders);

// What criu calls both of its ends ("file[1f:2a]") is made a name for each of them, and back.
std::string key_of_fifo_end(const std::string& criu_key, bool write_end);
std::string criu_key_of_fifo(const std::string& end_key);
// 32 bits of it; nullopt: that is no such key.
std::optional<std::uint32_t> inode_of_fifo(const std::string& key);

}  // namespace ssi::fds
