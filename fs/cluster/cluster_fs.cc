#include "fs/cluster/cluster_fs.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <thread>

#include "fs/cluster/cluster_ops.h"
#include "ssid/base/mount_table.h"
#include "ssid/base/unique_fd.h"

namespace ssi::fs {
namespace {

constexpr const char* kType = "fuse.ssid-cluster";

// What a former ssid has left: dead, but there. Not by a look at it, which would hang if somebody
// still holds it open.
void take_away(const std::string& directory) {
  for (int left = mounts_on(directory, kType); left > 0; --left) {
    ::umount2(directory.c_str(), MNT_FORCE);
    ::umount2(directory.c_str(), MNT_DETACH);
  }
}

}  // namespace

struct ClusterFs::Impl {
  Impl(std::string at, ClusterSource& source) : directory(std::move(at)), dirs(source) {}

  void serve() {
    fuse_buf buffer{};
    for (;;) {
      const int got = fuse_session_receive_buf(session, &buffer);
      if (got == -EINTR) continue;
      if (got <= 0) break;  // unmounted
      fuse_session_process_buf(session, &buffer);
    }
    std::free(buffer.mem);
  }

  const std::string directory;
  ClusterDirs dirs;
  fuse_session* session = nullptr;
  std::thread thread;
};

Result<std::unique_ptr<ClusterFs>> ClusterFs::mount(const std::string& directory,
                                                    ClusterSource& source) {
  take_away(directory);
  if (::mkdir(directory.c_str(), 0755) != 0 && errno != EEXIST) {
    return Error::from_errno("make " + directory);
  }
  UniqueFd fd(::open("/dev/fuse", O_RDWR | O_CLOEXEC));
  if (!fd) return Error::from_errno("open /dev/fuse");
  char data[128];
  std::snprintf(data, sizeof data,
                "fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions", *fd);
  if (::mount("cluster", directory.c_str(), kType, MS_NOSUID | MS_NODEV, data) != 0) {
    return Error::from_errno("mount " + directory);
  }
  auto impl = std::make_unique<Impl>(directory, source);
  char program[] = "ssid";
  char* argv[] = {program, nullptr};
  fuse_args args = FUSE_ARGS_INIT(1, argv);
  impl->session = fuse_session_new(&args, &kClusterOps, sizeof kClusterOps, &impl->dirs);
  fuse_opt_free_args(&args);
  const std::string fd_path = "/dev/fd/" + std::to_string(*fd);
  if (impl->session == nullptr || fuse_session_mount(impl->session, fd_path.c_str()) != 0) {
    take_away(directory);
    return Error("start the FUSE session on " + directory);
  }
  (void)fd.release();  // the session closes it
  impl->thread = std::thread([impl = impl.get()] { impl->serve(); });
  return std::unique_ptr<ClusterFs>(new ClusterFs(std::move(impl)));
}

ClusterFs::ClusterFs(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

ClusterFs::~ClusterFs() {
  take_away(impl_->directory);
  fuse_session_exit(impl_->session);
  impl_->thread.join();
  fuse_session_destroy(impl_->session);
}

}  // namespace ssi::fs
