// A process of its own that makes system calls on a view for it. The view's own process must not:
// killed in the middle of such a call it would wait for its own answer, and its /dev/fuse would
// stay open, for ever. This one has no other descriptor than the end of a socket: when the view's
// process dies, the kernel ends the call, and the next order never comes.
//
// Files are named as the kernel names them to the view. One thread at a time.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <string>

#include "ssid/base/unique_fd.h"

namespace ssi::fs {

class ViewCaller {
 public:
  enum class Call : std::uint32_t {
    kBegin,   // opens the mount and the directory of that name in its root
    kEnd,     // closes them
    kMake,    // a file, or a directory
    kRemove,  // the same
    kRename,
    kTouch,  // sets one time or both: that of the last access, of the last change
    kOpen,   // and closes
  };
  struct Order {
    Call call{};
    std::uint32_t directory = 0;
    std::uint32_t access = 0;  // kTouch
    std::uint32_t change = 0;  // kTouch
    std::uint32_t write = 0;   // kOpen
    std::uint32_t reserved = 0;
    std::uint64_t node = 0;  // 0: the directory that kBegin has opened
    std::uint64_t node2 = 0;
    char name[256] = {};  // empty: the node itself
    char name2[256] = {};
  };

  explicit ViewCaller(std::string mountpoint) : mountpoint_(std::move(mountpoint)) {}
  ~ViewCaller() { stop(); }
  ViewCaller(const ViewCaller&) = delete;
  ViewCaller& operator=(const ViewCaller&) = delete;

  // 0 or an errno. Starts the process, if there is none.
  int call(const Order& order);
  void stop();
  // Any thread; 0: there is none.
  pid_t pid() const { return pid_.load(std::memory_order_relaxed); }

 private:
  bool start();

  const std::string mountpoint_;
  UniqueFd orders_;
  std::atomic<pid_t> pid_{0};
};

void set_name(char (&to)[256], const std::string& name);

}  // namespace ssi::fs
