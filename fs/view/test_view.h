// For tests: a view of a home that is in this process.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <utility>

#include "fs/view/test_home.h"
#include "fs/view/view.h"

namespace ssi::fs {

// As a realm has it; the directory `mountpoint` is made if it is not there.
inline Result<std::unique_ptr<View>> mount_view(const std::string& mountpoint, Home& home,
                                                DigestCache& digests) {
  std::filesystem::create_directory(mountpoint);
  View::Options options;
  options.mountpoint = mountpoint;
  options.remote.dial = [&home] { return home.dial(); };
  options.remote.hello.realm = 1;
  return View::mount(std::move(options), digests);
}

}  // namespace ssi::fs
