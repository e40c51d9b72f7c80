#include "migrate/realm/namespaces.h"

#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <fstream>

#include "migrate/realm/realm_protocol.h"
#include "ssid/base/mount_table.h"
#include "ssid/base/unique_fd.h"

namespace ssi::migrate {
namespace {

Result<> mount_at(const char* source, const std::string& target, const char* type,
                  unsigned long flags, const char* data = nullptr) {
  if (::mount(source, target.c_str(), type, flags, data) != 0) {
    return Error::from_errno("mount " + std::string(type ? type : source) + " on " + target);
  }
  return {};
}

Result<> bind_mount(const std::string& source, const std::string& target, bool read_only) {
  SSI_TRY(mount_at(source.c_str(), target, nullptr, MS_BIND));
  if (!read_only) return {};
  return mount_at(source.c_str(), target, nullptr, MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID);
}

Result<> make_dir(const std::string& path, mode_t mode) {
  if (::mkdir(path.c_str(), mode) != 0 && errno != EEXIST) return Error::from_errno("make " + path);
  return {};
}

Result<> make_device(const std::string& path, unsigned major, unsigned minor) {
  if (::mknod(path.c_str(), S_IFCHR | 0666, makedev(major, minor)) != 0 ||
      ::chmod(path.c_str(), 0666) != 0) {
    return Error::from_errno("make " + path);
  }
  return {};
}

Result<> fill_dev(const std::string& dev) {
  SSI_TRY(mount_at("tmpfs", dev, "tmpfs", MS_NOSUID | MS_STRICTATIME, "mode=755,size=1m"));
  struct Device {
    const char* name;
    unsigned minor;
  };
  for (const Device& d : {Device{"null", 3}, Device{"zero", 5}, Device{"full", 7},
                          Device{"random", 8}, Device{"urandom", 9}}) {
    SSI_TRY(make_device(dev + "/" + d.name, 1, d.minor));
  }
  SSI_TRY(make_device(dev + "/tty", 5, 0));
  SSI_TRY(make_dir(dev + "/pts", 0755));
  SSI_TRY(mount_at("devpts", dev + "/pts", "devpts", MS_NOSUID | MS_NOEXEC,
                   "newinstance,ptmxmode=0666,mode=0620,gid=5"));
  SSI_TRY(make_dir(dev + "/shm", 01777));
  SSI_TRY(mount_at("tmpfs", dev + "/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777"));
  struct Link {
    const char* name;
    const char* to;
  };
  for (const Link& l :
       {Link{"ptmx", "pts/ptmx"}, Link{"fd", "/proc/self/fd"}, Link{"stdin", "/proc/self/fd/0"},
        Link{"stdout", "/proc/self/fd/1"}, Link{"stderr", "/proc/self/fd/2"}}) {
    if (::symlink(l.to, (dev + "/" + l.name).c_str()) != 0) return Error::from_errno(l.name);
  }
  return {};
}

// criu, the freezer's tree and criu's feature cache. Only root can look into the directory; others
// may pass through to the cgroups, as they may on any machine (a criu that has the real uid of a
// user asks by access(2) whether they are there).
Result<> fill_private_dir(const RealmOptions& o) {
  const std::string dir = o.root + kRealmPrivateDir;
  const std::string cgroups = cgroup2_mount();
  SSI_TRY(mount_at("tmpfs", dir, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0711,size=16m"));
  SSI_TRY(make_dir(dir + "/criu", 0700));
  SSI_TRY(bind_mount(o.criu_bundle, dir + "/criu", true));
  SSI_TRY(make_dir(dir + "/cgroup", 0700));
  SSI_TRY(bind_mount(cgroups, dir + "/cgroup", false));
  // The cache tells what this node's kernel can do; home's, which the guest would see, may differ.
  const std::string cache = o.root + "/run/criu.kdat";
  if (::access("/run/criu.kdat", R_OK) == 0 && ::access(cache.c_str(), F_OK) == 0) {
    SSI_TRY(bind_mount("/run/criu.kdat", cache, true));
  }
  return {};
}

Result<> pivot_to(const std::string& root) {
  if (::chdir(root.c_str()) != 0) return Error::from_errno("enter " + root);
  if (::syscall(SYS_pivot_root, ".", ".") != 0) return Error::from_errno("pivot_root to " + root);
  if (::umount2(".", MNT_DETACH) != 0) return Error::from_errno("leave the old root");
  if (::chdir("/") != 0) return Error::from_errno("enter the new root");
  return {};
}

Result<> bring_loopback_up() {
  UniqueFd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!fd) return Error::from_errno("socket");
  ifreq request{};
  std::strncpy(request.ifr_name, "lo", sizeof request.ifr_name - 1);
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  if (::ioctl(*fd, SIOCSIFFLAGS, &request) != 0) return Error::from_errno("loopback up");
  return {};
}

// Guests keep their home PIDs; what is born here gets PIDs of this node's range, upper half.
Result<> set_pid_range(NodeId node) {
  std::ofstream("/proc/sys/kernel/pid_max") << 4194304;
  std::ofstream last("/proc/sys/kernel/ns_last_pid");
  last << (node.value * SsiPid::kPidsPerNode + SsiPid::kPidsPerNode / 2);
  last.flush();
  if (!last) return Error("can't set kernel.ns_last_pid of the realm");
  return {};
}

}  // namespace

Result<> unshare_realm(const RealmOptions& o) {
  int flags = CLONE_NEWNS | CLONE_NEWPID;
  if (!o.at_home()) flags |= CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET;
  if (::unshare(flags) != 0) return Error::from_errno("unshare");
  return {};
}

Result<> enter_realm(const RealmOptions& o) {
  // What is mounted here must not show on the node.
  SSI_TRY(mount_at("none", "/", nullptr, MS_REC | MS_SLAVE));
  if (o.at_home()) {
    SSI_TRY(mount_at("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC));
    return set_pid_range(o.node);
  }
  SSI_TRY(mount_at("proc", o.root + "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC));
  SSI_TRY(
      mount_at("sysfs", o.root + "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY));
  SSI_TRY(fill_dev(o.root + "/dev"));
  SSI_TRY(fill_private_dir(o));
  SSI_TRY(pivot_to(o.root));
  if (::sethostname(o.host_name.data(), o.host_name.size()) != 0) {
    return Error::from_errno("set the host name");
  }
  SSI_TRY(bring_loopback_up());
  return set_pid_range(o.node);
}

}  // namespace ssi::migrate
