// Files in /dev/shm (shm_open(3)) that a process has mapped or open, and others of it
// (shm_series.h). Each realm has a /dev/shm of its own, so they go along like memory: contents,
// name, mode and owner, and nothing is left behind.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "ssid/base/result.h"

namespace ssi::fds {

inline constexpr const char* kShmImages = "ssid-shm-";  // what images of them begin with

struct ShmFile {
  pid_t pid = 0;      // of one that has it, in this node's /proc
  std::string where;  // below /proc/PID: "fd/7", "map_files/..", "root/dev/shm/.."
  std::string name;   // below /dev/shm
  bool open = true;
};

// Of all these processes, each once. kRefused: one is not directly in /dev/shm. Any thread.
Result<std::vector<ShmFile>> shm_files_of(const std::vector<pid_t>& pids);

// Source, frozen: writes ssid-shm-NUMBER.img into the directory.
Result<> dump_shm_file(const ShmFile& file, int images_dir, std::size_t number);
// Source, when the process is elsewhere.
void remove_shm_file(const ShmFile& file);

// Target, before the restore: makes it anew in `shm_dir`, in the place of one of that name. Returns
// the name. The image is another node's: it is checked.
Result<std::string> restore_shm_file(int images_dir, const std::string& image, int shm_dir);

}  // namespace ssi::fds
