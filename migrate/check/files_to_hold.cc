#include "migrate/check/files_to_hold.h"

#include <fcntl.h>

#include <algorithm>
#include <map>

namespace ssi::check {
namespace {

// At home a guest's file is the held one itself, and criu tells files by their inodes only.
bool is_open_twice(const FdFact& fd, const Tree& tree) {
  return std::ranges::any_of(tree, [&](const ProcessFacts& facts) {
    return std::ranges::any_of(facts.fds, [&](const FdFact& other) {
      return other.device == fd.device && other.inode == fd.inode &&
             other.open_file != fd.open_file;
    });
  });
}

// Whether it can go there with its lease.
Result<> check_lease(const FdFact& fd, const Tree& tree, bool to_home) {
  const Lease& lease = fd.locks.lease;
  if (!lease.any()) return {};
  const std::string what =
      "fd " + std::to_string(fd.number) + " is a file with a lease (" + fd.target + ")";
  if (lease.breaking != 0 && to_home) {
    return Error(ErrorCode::kRefused, what + " that is being broken, which can't come home");
  }
  if (lease.breaking != 0 && is_open_twice(fd, tree)) {
    return Error(ErrorCode::kRefused, what + " that is being broken and that it has opened twice");
  }
  const bool inside = std::ranges::any_of(
      tree, [&](const ProcessFacts& facts) { return facts.name.pid == fd.lease_owner; });
  if (inside) return {};
  const std::string whom =
      fd.lease_owner > 0 ? "process " + std::to_string(fd.lease_owner) + ", which stays, is told"
                         : "no process of its own is told";
  return Error(ErrorCode::kRefused, what + " of which " + whom);
}

bool is_deleted(const FdFact& fd) {
  return fd.kind == FdKind::kDeletedFile || (fd.kind == FdKind::kPathOnly && fd.nameless) ||
         (fd.kind == FdKind::kFifo && fd.nameless &&
          fds::way_of(fifo_of(fd)) == fds::FifoWay::kTakeAlong);
}

Result<> add_descriptors(const ProcessFacts& facts, const Tree& tree, bool to_home,
                         std::vector<fds::FileToHold>& files) {
  for (const FdFact& fd : facts.fds) {
    if (fd.in_flight || (!is_deleted(fd) && !fd.locks.belong_to_file())) continue;
    // One lock, however many have that open file.
    const bool locked = fd.locks.belong_to_file();
    if (locked && fd.open_file != OpenFileName{facts.name.pid, fd.number}) continue;
    if (to_home && locked && is_open_twice(fd, tree)) {
      return Error(ErrorCode::kRefused, "fd " + std::to_string(fd.number) +
                                            " is a file with a lock that it has opened twice (" +
                                            fd.target + "), which can't come home");
    }
    SSI_TRY(check_lease(fd, tree, to_home));
    files.push_back({.pid = facts.name.pid,
                     .where = "fd/" + std::to_string(fd.number),
                     .number = fd.number,
                     .flags = fd.flags,
                     .position = fd.position,
                     .flock = fd.locks.flock,
                     .locks = fd.locks.of_file,
                     .nameless = is_deleted(fd) || to_home,
                     .name = fd.target,
                     .lease = fd.locks.lease});
  }
  return {};
}

bool suits(const FdFact& fd, const std::vector<LockRange>& locks) {
  const std::uint32_t access = fd.flags & O_ACCMODE;
  return std::ranges::all_of(locks, [&](const LockRange& lock) {
    return access == O_RDWR || access == (lock.type == F_WRLCK ? O_WRONLY : O_RDONLY);
  });
}

void add_missing(const std::vector<LockRange>& more, std::vector<LockRange>& locks) {
  for (const LockRange& lock : more) {
    if (std::ranges::find(locks, lock) == locks.end()) locks.push_back(lock);
  }
}

// Record locks that are the process's: of one file all together, however often it has it open.
Result<> add_process_locks(const ProcessFacts& facts, bool to_home,
                           std::vector<fds::FileToHold>& files) {
  std::map<std::pair<std::uint64_t, std::uint64_t>, std::vector<LockRange>> of_file;
  for (const FdFact& fd : facts.fds) {
    if (fd.in_flight || fd.locks.of_process.empty()) continue;
    add_missing(fd.locks.of_process, of_file[{fd.device, fd.inode}]);
  }
  for (const auto& [file, locks] : of_file) {
    const auto fd = std::ranges::find_if(facts.fds, [&](const FdFact& f) {
      return !f.in_flight && f.device == file.first && f.inode == file.second && suits(f, locks);
    });
    if (fd == facts.fds.end()) {
      return Error(
          ErrorCode::kRefused,
          "it has record locks of a file for reading and for writing, and no descriptor of "
          "it for both");
    }
    if (to_home && fds::has_write_lock(locks)) {
      return Error(ErrorCode::kRefused, "fd " + std::to_string(fd->number) +
                                            " is a file with a record lock for writing (" +
                                            fd->target + "), which can't come home without a gap");
    }
    files.push_back({.pid = facts.name.pid,
                     .where = "fd/" + std::to_string(fd->number),
                     .number = fd->number,
                     .flags = fd->flags,
                     .locks = locks,
                     .of_process = true,
                     .at_home = fd->locks.at_home,
                     .name = fd->target});
  }
  return {};
}

void add_others(const ProcessFacts& facts, std::vector<fds::FileToHold>& files) {
  const auto add = [&](const std::string& where, const std::string& name) {
    files.push_back({.pid = facts.name.pid, .where = where, .nameless = true, .name = name});
  };
  for (const DeletedMapping& mapping : facts.deleted_mappings) {
    add("map_files/" + mapping.range, mapping.path);
  }
  if (facts.exe_deleted) add("exe", facts.exe);
  if (facts.cwd_deleted && !facts.cwd_of_kernel) add("cwd", facts.cwd);
}

}  // namespace

Result<std::vector<fds::FileToHold>> files_to_hold(const Tree& tree, bool to_home) {
  std::vector<fds::FileToHold> files;
  for (const ProcessFacts& facts : tree) {
    std::vector<fds::FileToHold> of_one;
    SSI_TRY(add_descriptors(facts, tree, to_home, of_one));
    SSI_TRY(add_process_locks(facts, to_home, of_one));
    add_others(facts, of_one);
    // All of them may have the same ones; what is too much is known when they are held.
    if (of_one.size() > fds::kHeldFilesMax) {
      return Error(ErrorCode::kRefused, "it has " + std::to_string(of_one.size()) +
                                            " deleted or locked files open; " +
                                            std::to_string(fds::kHeldFilesMax) + " can be moved");
    }
    files.insert(files.end(), of_one.begin(), of_one.end());
  }
  return files;
}

}  // namespace ssi::check
