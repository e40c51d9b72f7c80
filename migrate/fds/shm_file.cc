#include "migrate/fds/shm_file.h"

#include <fcntl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <utility>

#include "migrate/fds/shm_series.h"
#include "ssid/base/unique_fd.h"

namespace ssi::fds {
namespace {

constexpr std::string_view kShm = "/dev/shm/";
constexpr std::string_view kDeleted = " (deleted)";
constexpr std::size_t kNameBytesMax = 255;
constexpr char kMagic[8] = {'S', 'S', 'I', 'D', 'S', 'H', 'M', '1'};

struct Header {
  char magic[8];
  std::uint32_t mode;
  std::uint32_t uid;
  std::uint32_t gid;
  std::uint32_t name_bytes;
  std::uint64_t size;
};

std::string proc_path(const ShmFile& file) {
  return "/proc/" + std::to_string(file.pid) + "/" + file.where;
}

Result<> copy(int from, off_t at, int to, std::uint64_t bytes) {
  while (bytes > 0) {
    const ssize_t n = ::sendfile(to, from, &at, bytes);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Error::from_errno("copy shared memory");
    if (n == 0) return Error("shared memory became shorter");
    bytes -= static_cast<std::uint64_t>(n);
  }
  return {};
}

bool is_name(std::string_view name) {
  return !name.empty() && name.size() <= kNameBytesMax && name != "." && name != ".." &&
         name.find_first_of(std::string_view("/\0", 2)) == std::string_view::npos;
}

// Where in its /proc, and what is there: of mappings only those in /dev/shm. (A link for each
// mapping could be read, too: a server has thousands, and stands still meanwhile.)
std::vector<std::pair<std::string, std::string>> mapped_and_open(pid_t pid) {
  namespace fs = std::filesystem;
  const std::string proc = "/proc/" + std::to_string(pid) + "/";
  std::vector<std::pair<std::string, std::string>> all;
  std::ifstream maps(proc + "maps");
  for (std::string line; std::getline(maps, line);) {
    const std::size_t at = line.find(kShm);
    if (at == std::string::npos || line.find('/') != at) continue;
    all.emplace_back("map_files/" + line.substr(0, line.find(' ')), line.substr(at));
  }
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(proc + "fd", error)) {
    all.emplace_back("fd/" + entry.path().filename().string(),
                     fs::read_symlink(entry.path(), error).string());
  }
  return all;
}

}  // namespace

Result<std::vector<ShmFile>> shm_files_of(const std::vector<pid_t>& pids) {
  std::map<std::string, ShmFile> found;
  for (const pid_t pid : pids) {
    for (const auto& [where, target] : mapped_and_open(pid)) {
      if (!target.starts_with(kShm) || target.ends_with(kDeleted)) continue;
      const std::string name = target.substr(kShm.size());
      if (!is_name(name)) return Error(ErrorCode::kRefused, "it uses " + target);
      found.try_emplace(name, ShmFile{pid, where, name});
    }
  }
  std::vector<ShmFile> files;
  std::set<std::string> open;
  for (auto& [name, file] : found) {
    open.insert(name);
    files.push_back(std::move(file));
  }
  for (const std::string& name : closed_shm_files(pids, open)) {
    files.push_back({pids.front(), "root" + std::string(kShm) + name, name, false});
  }
  return files;
}

Result<> dump_shm_file(const ShmFile& file, int images_dir, std::size_t number) {
  const int no_link = file.open ? 0 : O_NOFOLLOW | O_NONBLOCK;  // those in /proc are to be followed
  const UniqueFd from(::open(proc_path(file).c_str(), O_RDONLY | O_CLOEXEC | no_link));
  struct stat st {};
  if (!from || ::fstat(*from, &st) != 0) return Error::from_errno("open " + file.name);
  const std::string image = kShmImages + std::to_string(number) + ".img";
  const UniqueFd to(
      ::openat(images_dir, image.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!to) return Error::from_errno("make " + image);
  Header header{{},
                st.st_mode & 07777,
                st.st_uid,
                st.st_gid,
                static_cast<std::uint32_t>(file.name.size()),
                static_cast<std::uint64_t>(st.st_size)};
  std::memcpy(header.magic, kMagic, sizeof kMagic);
  if (::write(*to, &header, sizeof header) != sizeof header ||
      ::write(*to, file.name.data(), file.name.size()) != static_cast<ssize_t>(file.name.size())) {
    return Error::from_errno("write " + image);
  }
  return copy(*from, 0, *to, header.size);
}

void remove_shm_file(const ShmFile& file) {
  const std::string path =
      "/proc/" + std::to_string(file.pid) + "/root" + std::string(kShm) + file.name;
  (void)::unlink(path.c_str());
}

Result<std::string> restore_shm_file(int images_dir, const std::string& image, int shm_dir) {
  const UniqueFd from(::openat(images_dir, image.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  Header header{};
  struct stat st {};
  if (!from || ::fstat(*from, &st) != 0 ||
      ::pread(*from, &header, sizeof header, 0) != sizeof header) {
    return Error("damaged " + image);
  }
  const bool whole =
      std::memcmp(header.magic, kMagic, sizeof kMagic) == 0 && header.name_bytes <= kNameBytesMax &&
      (header.mode & ~07777U) == 0 &&
      static_cast<std::uint64_t>(st.st_size) == sizeof header + header.name_bytes + header.size;
  std::string name(whole ? header.name_bytes : 0, '\0');
  if (!whole ||
      ::pread(*from, name.data(), name.size(), sizeof header) !=
          static_cast<ssize_t>(name.size()) ||
      !is_name(name)) {
    return Error("damaged " + image);
  }
  if (::unlinkat(shm_dir, name.c_str(), 0) != 0 && errno != ENOENT) {
    return Error::from_errno("remove /dev/shm/" + name);
  }
  const UniqueFd to(
      ::openat(shm_dir, name.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!to || ::ftruncate(*to, static_cast<off_t>(header.size)) != 0) {
    return Error::from_errno("make /dev/shm/" + name);
  }
  SSI_TRY(copy(*from, static_cast<off_t>(sizeof header + name.size()), *to, header.size));
  if (::fchown(*to, header.uid, header.gid) != 0 || ::fchmod(*to, header.mode) != 0) {
    return Error::from_errno("make /dev/shm/" + name);
  }
  return name;
}

}  // namespace ssi::fds
