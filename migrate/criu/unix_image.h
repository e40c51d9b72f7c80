// Pure: unix sockets in criu's image of open files, changed between a dump and a restore.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "ssid/base/result.h"

namespace ssi::migrate {

// The same, but connected sockets have no name. What was accepted has that of its listener, and
// criu, which does not bind such a socket again, would all the same delete the file of that name
// first: at home, where the listener may live on. Nor have those with the keys `given` ("socket:
// [123]"), which criu is given as they are.
Result<std::string> without_names(std::string_view image, const std::set<std::string>& given = {});

// The numbers by which criu's other images know the sockets with these keys.
Result<std::set<std::uint32_t>> socket_numbers(std::string_view image,
                                               const std::set<std::string>& keys);

// criu's image of what waits in sockets, without that of these.
inline constexpr const char* kQueuesImage = "sk-queues.img";
Result<std::string> without_messages(std::string_view image,
                                     const std::set<std::uint32_t>& numbers);

// Those with these keys are bound by these paths. criu knows the name that each was bound to only,
// and would bind it to that again, though its file has been renamed since.
Result<std::string> with_new_names(std::string_view image,
                                   const std::map<std::string, std::string>& paths);

// Those with these keys have a name that was deleted. criu does not know that of what was deleted
// by others at home.
Result<std::string> with_deleted_names(std::string_view image, const std::set<std::string>& keys);

// The paths of deleted names, which criu binds such sockets to again.
Result<std::vector<std::string>> deleted_names(std::string_view image);

// criu goes, for each bind to a path, through a directory that tells home's view whether that name
// was deleted (wire/carrier/deleted_socket.h).
Result<std::string> with_announced_binds(std::string_view image);

// Of a unix socket, as it was dumped.
struct SocketState {
  std::uint32_t flags = 0;  // as of open(2)
  bool shut_for_writing = false;
  std::uint64_t send_timeout_us = 0, receive_timeout_us = 0;  // 0: none
};

// By their keys, "socket:[123]".
Result<std::map<std::string, SocketState>> socket_states(std::string_view image);

// Makes an end that was made for it such a socket. That it was shut for reading is not set: what
// was not read comes later, and so does the end.
Result<> apply(const SocketState& state, int socket);

}  // namespace ssi::migrate
