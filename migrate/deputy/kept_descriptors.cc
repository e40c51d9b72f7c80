#include "migrate/deputy/kept_descriptors.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <set>
#include <utility>

#include "migrate/fds/duplex_fifo.h"
#include "migrate/fds/file_lock.h"
#include "ssid/base/file_text.h"

namespace ssi::deputy {
namespace {

using FileId = std::pair<dev_t, ino_t>;

struct OpenDescriptor {
  KeptDescriptor descriptor;
  FileId file;
};

bool closed_by_exec(const std::string& fdinfo) {
  constexpr std::string_view kFlags = "flags:";
  const std::size_t at = fdinfo.find(kFlags);
  if (at == std::string::npos) return false;
  return (std::strtoul(fdinfo.c_str() + at + kFlags.size(), nullptr, 8) & O_CLOEXEC) != 0;
}

}  // namespace

std::vector<KeptDescriptor> kept_descriptors(pid_t pid) {
  const std::string proc = "/proc/" + std::to_string(pid);
  std::vector<OpenDescriptor> all;
  std::set<FileId> kept_files;
  for (const fds::DuplexFifo& fifo : fds::duplex_fifos(pid)) {
    if (!fifo.nameless) kept_files.insert({fifo.device, fifo.inode});
  }
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(proc + "/fdinfo", error)) {
    const std::string name = entry.path().filename();
    OpenDescriptor open;
    std::from_chars(name.data(), name.data() + name.size(), open.descriptor.number);
    struct stat st {};
    if (::stat((proc + "/fd/" + name).c_str(), &st) != 0) continue;
    const std::string info = text_of_file(entry.path());
    open.file = {st.st_dev, st.st_ino};
    open.descriptor.closed_by_exec = closed_by_exec(info);
    if (fds::has_write_lock(fds::parse_locks(info).of_process)) kept_files.insert(open.file);
    all.push_back(open);
  }
  std::vector<KeptDescriptor> kept;
  for (const OpenDescriptor& open : all) {
    if (kept_files.contains(open.file)) kept.push_back(open.descriptor);
  }
  std::ranges::sort(kept, {}, &KeptDescriptor::number);
  return kept;
}

std::string kept_list(const std::vector<KeptDescriptor>& kept) {
  std::string list;
  for (const KeptDescriptor& one : kept) list += std::to_string(one.number) + ",";
  return list;
}

}  // namespace ssi::deputy
