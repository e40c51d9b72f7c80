// Pure: criu's image of a TCP connection, changed between a dump and a restore.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "ssid/base/result.h"

namespace ssi::migrate {

constexpr const char* kTcpImages = "tcp-stream-";  // one a connection
std::string tcp_image_name(std::uint64_t inode);
std::uint64_t inode_of_tcp_image(const std::string& name);

// The same, but the clock of its timestamps (RFC 7323) stands so much later. criu lets it go on
// from where it stood in the dump; what the original's kernel has said since then would be newer,
// and its peer would take the copy's first packets for old ones (PAWS).
Result<std::string> with_later_timestamps(std::string_view image, std::uint32_t by_ms);

// The same, with that window of the peer's.
Result<std::string> with_window(std::string_view image, std::uint32_t bytes);

// How large a buffer it needs for what was not read and for what its peer may still send. Restored,
// a queue takes a little more room than it did; without it the window would shrink to nothing, and
// answers of a peer that has sent into it before be dropped for lying behind it.
Result<std::uint32_t> receive_buffer_bytes(std::string_view image);

// Of the image of open files: makes those buffers so large, if they are smaller.
Result<std::string> with_receive_buffers(std::string_view files,
                                         const std::map<std::uint64_t, std::uint32_t>& by_inode);

}  // namespace ssi::migrate
