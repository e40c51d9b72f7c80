// A directory for the small images of one move, on a tmpfs, removed with everything in it at the
// end. Owned by one mover's thread.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "migrate/criu/sent_memory.h"
#include "migrate/move/move_codec.h"
#include "ssid/base/result.h"
#include "ssid/base/unique_fd.h"

namespace ssi::migrate {

class ImageDir {
 public:
  static Result<ImageDir> create(const std::string& root, const std::string& name);
  ImageDir(ImageDir&&) = default;
  ImageDir& operator=(ImageDir&&) = delete;
  ~ImageDir();

  int fd() const { return *fd_; }
  const std::string& path() const { return path_; }

  // The text of a log file in it ("" if there is none).
  std::string read_log(const std::string& name) const;
  // An image, whole.
  Result<std::string> read(const std::string& name) const;
  // Replaces a (small) image by what `change` makes of it; nothing if there is none.
  Result<> change(const std::string& name,
                  const std::function<Result<std::string>(std::string_view)>& change) const;
  // The names of images that begin so.
  std::vector<std::string> names(std::string_view prefix) const;
  // Cuts every image (not logs) into parts for the link.
  Result<DumpDone> for_each_part(const std::function<Result<>(const ImageFile&)>& send) const;
  Result<> write_part(const ImageFile& part);
  // For the criu that dumps (sent_memory.h); not for the link.
  Result<> write_sent_memory(std::span<const SentMemory> memory) const;

 private:
  ImageDir(std::string path, UniqueFd fd) : path_(std::move(path)), fd_(std::move(fd)) {}
  std::string path_;
  UniqueFd fd_;
};

}  // namespace ssi::migrate
