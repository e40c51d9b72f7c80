// Files that a process can't find by their names where it goes: deleted ones, and those whose open
// file has a lock. Home's carrier holds them open while it moves (ssid/wire/carrier/held_file.h).
//
//     source, frozen:   take_file() -> FilePort::hold -> a HeldFile for each, told to the target
//     target:           FilePort::open -> criu gets it by its key; adopt_file() after the restore
//     both:             FilePort::release, when the target has them, or the move came to nothing
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "migrate/fds/file_lock.h"
#include "ssid/base/result.h"
#include "ssid/base/unique_fd.h"

namespace ssi::fds {

// What is to be held, as the check of the frozen process found it.
struct FileToHold {
  pid_t pid = 0;                   // of the process, in this node's /proc
  std::string where;               // below /proc/PID: "fd/7", "map_files/..", "exe", "cwd"
  int number = -1;                 // of the descriptor, if it is one
  std::uint32_t flags = 0;         // of open(2)
  std::uint64_t position = 0;      // bytes
  std::uint32_t flock = 0;         // its lock goes with it: LOCK_SH or LOCK_EX
  std::vector<LockRange> locks{};  // and so do its record locks
  bool of_process = false;         // only them, and they are the process's
  bool at_home = false;            // home's store has these already
  bool nameless = false;           // criu is not to look for it by its name
  std::string name{};              // that it once had, absolute; as /proc shows it
  Lease lease{};                   // goes with it, too
  bool operator==(const FileToHold&) const = default;
};

// Record locks of a process at home, one of them for writing: no other owner can have them.
inline bool stays_with_deputy(const FileToHold& file) {
  return file.of_process && !file.at_home && has_write_lock(file.locks);
}

// Of one move: each is opened by criu, and a message has to hold them all.
inline constexpr std::size_t kHeldFilesMax = 64;

struct HeldFile {
  std::uint64_t id = 0;  // for who asks home's store for it
  std::string key;       // what criu calls it, "file[MOUNT:INODE]"; empty: it knows the name
  // For adopt_file(): of the process at home, and of the descriptor in it.
  pid_t pid = 0;
  std::int32_t number = -1;
  std::uint32_t flags = 0;
  std::uint64_t position = 0;
  std::uint32_t flock = 0;
  std::vector<LockRange> locks{};
  std::string name;  // that it once had, absolute; empty: not known
  // The locks are the process's, and held apart from its descriptors.
  bool of_process = false;
  Lease lease{};
  int lease_signal = 0;   // by which it is told; 0: SIGIO
  pid_t lease_owner = 0;  // who is, as `pid`
  bool has_lock() const { return !of_process && (flock != 0 || !locks.empty() || lease.any()); }
};

// What criu calls a file, by the mount and the inode that it is on.
std::string file_key(long mount, std::uint64_t inode);

// The process's own open file (kept a moment), or a new one of what it has mapped.
struct TakenFile {
  UniqueFd fd;
  HeldFile file;  // without its id
};
// Any thread.
Result<TakenFile> take_file(const FileToHold& wanted);

// The restored process's open file becomes the held one. It is one of a view of home. `pid` in this
// node's /proc.
Result<> adopt_file(pid_t pid, const HeldFile& held);

// What a guest's view says of the locks of its descriptor; none if it is no file of a view.
// `leased`: this kernel has a lease of it; then home's is asked for one, too, if it has none.
HeldLocks locks_in_view(pid_t pid, int number, bool leased);

// At home there is no view in between: the restored process gets the held file itself, set as the
// process had it.
Result<> set_as_it_was(int fd, const HeldFile& held);
// What criu calls a file that is to be that very open file, and not one more opening of it.
std::string key_of_itself(const HeldFile& held);

// The carrier's holding of files, on whatever node the caller is. Any thread, blocking.
class FilePort {
 public:
  virtual ~FilePort() = default;
  // Source: from now on home holds `fd`; its number. kRefused: it is no file of its home.
  virtual Result<std::uint64_t> hold(std::uint32_t home, int fd) = 0;
  // Target: the file, to be given to criu.
  // As the realm of `home` has it mounted: from a directory of other mounts one could walk out.
  virtual Result<UniqueFd> open(std::uint32_t home, const HeldFile& held) = 0;
  // Source, at home: the record locks of process `pid` (in this node's /proc) that `file` tells of
  // stay with it when it becomes the deputy, which does from now on what the guest asks for. `fd`:
  // an opening of that file; the number by which the target finds both.
  virtual Result<std::uint64_t> leave_locks(int fd, pid_t pid, const HeldFile& file) = 0;
  // Source, away from home: from now on home holds the record locks that process `pid` (in this
  // node's /proc) has of this file of a view; their number.
  virtual Result<std::uint64_t> hold_locks(std::uint32_t home, int fd, pid_t pid) = 0;
  // Target, away from home: when criu takes the locks for the process, it gets those that are held.
  virtual Result<> expect_locks(std::uint32_t home, const HeldFile& held) = 0;
  // Target, away from home: when criu opens the file for the process, it gets the held open file:
  // another opening would break the lease.
  virtual Result<> expect_opening(std::uint32_t home, const HeldFile& held) = 0;
  virtual void release(std::uint32_t home, const HeldFile& held) = 0;
};

}  // namespace ssi::fds
