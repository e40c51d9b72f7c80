// A view: home's files, mounted on this node. Requests of the kernel (FUSE) are served by threads
// of the view, each asking home on a lane of its own; a thread more is started whenever none is
// left to listen.
//
// One per home and mount point, owned by the carrier's control; destroying it ends the mount. What
// may go wrong: home can't be reached: whoever uses the files waits, until home is back or the view
// gives up.
#pragma once

#include <memory>
#include <string>

#include "fs/view/remote.h"
#include "fs/view/twins.h"

namespace ssi::fs {

class ViewFs;

class View {
 public:
  static constexpr const char* kType = "fuse.ssid";  // in the mount table

  struct Options {
    Remote::Options remote;
    std::string mountpoint;         // an existing directory
    std::string source = "ssid";    // shown in the mount table
    unsigned long mount_flags = 0;  // of mount(2)
    bool home_must_answer = true;   // now; else nothing is asked before somebody uses the files
    double timeout_s = 1.0;         // how long the kernel believes names and attributes
    unsigned int threads_max = 256;
    unsigned int readahead_kb = 1024;
    Twins::Options twins;
  };
  // Mounts. `digests` outlives the view.
  static Result<std::unique_ptr<View>> mount(Options options, DigestCache& digests);
  ~View();

  const std::string& mountpoint() const;
  std::uint64_t device() const;  // st_dev of the mounted files

  // Names and attributes that the kernel knows are asked for again: afterwards everything done at
  // home before this call is seen.
  void refresh();
  // Until it is `on` no more, the threads in that cgroup (its directory) may bind to names at which
  // home has sockets already; see socket_rebuilds.h. Once more `on`: from the beginning.
  void rebuild_sockets(const std::string& cgroup, bool on);
  // What was asked of the view is done, as closing files is after a while; and who watches files
  // here, and `process` at any rate, is told of all that others have done to them until now
  // (watch_news.h). False: it is never quiet here, or home can't be asked.
  bool tell_watchers(pid_t process);
  // What the cluster says of home; see Remote.
  void set_home_up(bool up);
  // Waiting and future operations fail with EIO.
  void give_up();
  // Takes the mount away, and with `force` also from whoever still uses it. False: it is in use.
  bool unmount(bool force);
  // False once the kernel has let the mount go.
  bool is_alive() const;

  struct Stats {
    Remote::Stats remote;
    std::size_t nodes = 0;
    unsigned int threads = 0;
    std::uint64_t reads = 0, read_bytes = 0;  // from home
    std::uint64_t writes = 0, write_bytes = 0;
    std::uint64_t twin_reads = 0, twin_read_bytes = 0;  // from this node's own files
    std::uint64_t twins_found = 0, twins_rejected = 0;
    std::size_t watched = 0;  // files of which home tells what others do
  };
  Stats stats() const;

 private:
  explicit View(std::unique_ptr<ViewFs> fs);
  std::unique_ptr<ViewFs> fs_;
};

}  // namespace ssi::fs
