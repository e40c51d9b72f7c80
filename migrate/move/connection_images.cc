#include "migrate/move/connection_images.h"

#include <map>

#include "migrate/criu/files_image.h"
#include "migrate/criu/tcp_image.h"

namespace ssi::migrate {

Result<> set_connections(const ImageDir& images, std::chrono::nanoseconds stood_still) {
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(stood_still).count();
  std::map<std::uint64_t, std::uint32_t> buffers;
  for (const std::string& name : images.names(kTcpImages)) {
    std::uint32_t buffer_bytes = 0;
    SSI_TRY(images.change(name, [&](std::string_view image) -> Result<std::string> {
      SSI_ASSIGN(buffer_bytes, receive_buffer_bytes(image));
      return with_later_timestamps(image, static_cast<std::uint32_t>(ms));
    }));
    if (buffer_bytes > 0) buffers[inode_of_tcp_image(name)] = buffer_bytes;
  }
  if (buffers.empty()) return {};
  return images.change(
      kFilesImage, [&](std::string_view image) { return with_receive_buffers(image, buffers); });
}

}  // namespace ssi::migrate
