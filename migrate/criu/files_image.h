// Pure: criu's image of open files, mended between a dump and a restore.
//
//   * A timerfd that ticks, and whose last tick was not read yet, is dumped as one with no time
//   left,
//     which is to say switched off: it gets its interval.
//   * One that was set to a moment gets what was left until then added to whole seconds of the
//     clock, and so goes off up to a second early: it is set to what is left.
//   * A file of /proc that was read to its end is at its end there, too, though it may be longer.
//   * A file that home holds is opened by a link of /proc, so O_NOFOLLOW would forbid it.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <string_view>

#include "ssid/base/result.h"

namespace ssi::migrate {

inline constexpr const char* kFilesImage = "files.img";

// The numbers of its sockets to the kernel (migrate/fds/netlink_socket.h). kRefused: one is
// connected, which criu would make another thing of.
Result<std::set<std::uint32_t>> netlink_ports_in(std::string_view image);

Result<std::string> mended_files(std::string_view image);

// criu calls both ends of a named pipe the same. Here those that are written to get the keys of
// write ends (fds::key_of_fifo_end), if these are among `keys`.
Result<std::string> with_fifo_ends(std::string_view image, const std::set<std::string>& keys);

}  // namespace ssi::migrate
