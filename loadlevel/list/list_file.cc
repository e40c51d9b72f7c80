#include "loadlevel/list/list_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>

#include "ssid/base/unique_fd.h"

namespace ssi {
namespace {

constexpr std::size_t kListMax_bytes = 1024 * 1024;

Result<> write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t done = ::write(fd, text.data(), text.size());
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) return Error::from_errno("write");
    text.remove_prefix(static_cast<std::size_t>(done));
  }
  return {};
}

}  // namespace

Result<LoadLevelList> read_list(const std::string& path) {
  // O_NONBLOCK: somebody may have put a fifo there.
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd && errno == ENOENT) return LoadLevelList::parse("");
  if (!fd) return Error::from_errno("open " + path);
  struct stat status {};
  if (::fstat(*fd, &status) < 0) return Error::from_errno("stat " + path);
  if (!S_ISREG(status.st_mode)) return Error(path + ": not a regular file");
  std::string text;
  char buffer[16 * 1024];
  for (;;) {
    const ssize_t got = ::read(*fd, buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return Error::from_errno("read " + path);
    if (got == 0) break;
    text.append(buffer, static_cast<std::size_t>(got));
    if (text.size() > kListMax_bytes) return Error(path + ": larger than 1 MiB");
  }
  return LoadLevelList::parse(text);
}

Result<> write_list(const std::string& path, const LoadLevelList& list) {
  std::error_code ignored;
  std::string real = path;
  if (std::filesystem::is_symlink(path, ignored)) {
    const auto followed = std::filesystem::weakly_canonical(path, ignored);
    if (!followed.empty()) real = followed.string();
  }
  const std::string directory = std::filesystem::path(real).parent_path().string();
  if (::mkdir(directory.c_str(), 0755) < 0 && errno != EEXIST) {
    return Error::from_errno("mkdir " + directory);
  }
  std::string beside = real + ".XXXXXX";
  UniqueFd fd(::mkostemp(beside.data(), O_CLOEXEC));
  if (!fd) return Error::from_errno("create " + beside);
  const auto finish = [&]() -> Result<> {
    struct stat old {};
    if (::stat(real.c_str(), &old) == 0) {
      if (::fchown(*fd, old.st_uid, old.st_gid) < 0) return Error::from_errno("chown " + beside);
      if (::fchmod(*fd, old.st_mode & 07777) < 0) return Error::from_errno("chmod " + beside);
    } else if (::fchmod(*fd, 0644) < 0) {
      return Error::from_errno("chmod " + beside);
    }
    SSI_TRY(write_all(*fd, list.text()).context(beside));
    if (::fsync(*fd) < 0) return Error::from_errno("fsync " + beside);
    if (::rename(beside.c_str(), real.c_str()) < 0) return Error::from_errno("rename to " + real);
    return {};
  };
  auto done = finish();
  if (!done) ::unlink(beside.c_str());
  return done;
}

}  // namespace ssi
