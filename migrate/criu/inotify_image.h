// Pure: criu's images, so that it does not make an inotify instance but takes the one that it is
// given (migrate/fds/inotify.h). It takes no instances, but any open file in place of one with a
// name: so an instance becomes a file.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "migrate/fds/inotify.h"
#include "ssid/base/result.h"

namespace ssi::migrate {

inline constexpr const char* kDescriptorImages = "fdinfo-";

// The key by which criu is given the instance of that place among those that are given.
std::string key_of_watcher(std::size_t place);

struct GivenWatchers {
  std::string files;            // the image of open files, changed
  std::set<std::uint32_t> ids;  // of the files there that were instances
};
// kRefused: an instance with watches is none of `given`.
Result<GivenWatchers> with_given_watchers(std::string_view files,
                                          const std::vector<fds::Watcher>& given);
// An image of a process's descriptors that goes with it.
Result<std::string> with_files_for_watchers(std::string_view descriptors,
                                            const std::set<std::uint32_t>& ids);

}  // namespace ssi::migrate
