#include "migrate/fds/pty.h"

#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#include <cerrno>
#include <cstdlib>

namespace ssi::fds {
namespace {

constexpr unsigned kSlavesMajor = 136;
constexpr long kDevptsMagic = 0x1cd1;

Result<std::uint64_t> devpts_of(int master, const std::string& pts) {
  struct statfs fs {};
  struct stat st {};
  if (::fstatfs(master, &fs) != 0) return Error::from_errno("look at a pty master");
  const bool inside = fs.f_type == kDevptsMagic;
  if ((inside ? ::fstat(master, &st) : ::stat(pts.c_str(), &st)) != 0) {
    return Error::from_errno("look at " + pts);
  }
  return st.st_dev;
}

}  // namespace

Result<PtyMaster> ask_master(int master, const std::string& pts) {
  PtyMaster told;
  unsigned number = 0;
  if (::ioctl(master, TIOCGPTN, &number) != 0) return Error::from_errno("ask a pty for its number");
  SSI_ASSIGN(const std::uint64_t devpts, devpts_of(master, pts));
  told.name = {devpts, static_cast<int>(number)};
  if (::ioctl(master, TIOCGSID, &told.session) != 0) told.session = 0;
  return told;
}

bool is_pty_slave(const struct stat& st) {
  return S_ISCHR(st.st_mode) && major(st.st_rdev) == kSlavesMajor;
}

PtyName name_of_slave(const struct stat& st) {
  return {st.st_dev, static_cast<int>(minor(st.st_rdev))};
}

bool is_exclusive(int slave) {
  int exclusive = 0;
  return ::ioctl(slave, TIOCGEXCL, &exclusive) == 0 && exclusive != 0;
}

std::optional<int> number_in(const std::string& fdinfo) {
  constexpr const char* kName = "tty-index:";
  const auto at = fdinfo.find(kName);
  if (at == std::string::npos) return {};
  return std::atoi(fdinfo.c_str() + at + std::char_traits<char>::length(kName));
}

}  // namespace ssi::fds
