#include "migrate/criu/tcp_image.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>

#include "criu_images.pb.h"
#include "migrate/criu/image_entries.h"

namespace ssi::migrate {
namespace {

constexpr const char* kWhat = "a TCP connection";

Result<std::string> change_stream(std::string_view image,
                                  const std::function<void(image::tcp_stream_entry&)>& change) {
  return change_first_entry(image, kWhat, [&](std::string& bytes) {
    image::tcp_stream_entry stream;
    if (!stream.ParseFromString(bytes)) return false;
    change(stream);
    bytes = stream.SerializeAsString();
    return true;
  });
}

}  // namespace

std::string tcp_image_name(std::uint64_t inode) {
  char name[64];
  std::snprintf(name, sizeof name, "%s%llx.img", kTcpImages,
                static_cast<unsigned long long>(inode));
  return name;
}

std::uint64_t inode_of_tcp_image(const std::string& name) {
  return std::strtoull(name.c_str() + std::strlen(kTcpImages), nullptr, 16);
}

// The kernel's value is in milliseconds, or, where its lowest bit is set, in microseconds.
Result<std::string> with_later_timestamps(std::string_view image, std::uint32_t by_ms) {
  return change_stream(image, [by_ms](image::tcp_stream_entry& stream) {
    if (!stream.has_timestamp()) return;
    const bool micros = (stream.timestamp() & 1) != 0;
    const std::uint32_t by = micros ? by_ms * 1000 : by_ms;
    stream.set_timestamp(stream.timestamp() + (by + 1) / 2 * 2);
  });
}

Result<std::string> with_window(std::string_view image, std::uint32_t bytes) {
  return change_stream(image, [bytes](image::tcp_stream_entry& stream) {
    if (stream.has_snd_wnd()) stream.set_snd_wnd(bytes);
  });
}

Result<std::uint32_t> receive_buffer_bytes(std::string_view image) {
  SSI_ASSIGN(const std::string_view entry, first_entry(image, kWhat));
  image::tcp_stream_entry stream;
  if (!stream.ParseFromArray(entry.data(), static_cast<int>(entry.size()))) {
    return Error("an image of a TCP connection that can't be read");
  }
  if (stream.inq_len() == 0) return 0u;
  // The kernel counts a part of the buffer only, at first a half, as room for a window.
  return stream.inq_len() / 16 * 17 + 2 * stream.rcv_wnd();
}

Result<std::string> with_receive_buffers(std::string_view files,
                                         const std::map<std::uint64_t, std::uint32_t>& by_inode) {
  return change_entries(files, "open files", [&](std::string& bytes) {
    image::file_entry file;
    if (!file.ParseFromString(bytes)) return false;
    if (!file.has_isk()) return true;
    const auto wanted = by_inode.find(file.isk().ino());
    auto& options = *file.mutable_isk()->mutable_opts();
    if (wanted == by_inode.end() || wanted->second <= options.so_rcvbuf()) return true;
    options.set_so_rcvbuf(wanted->second);
    bytes = file.SerializeAsString();
    return true;
  });
}

}  // namespace ssi::migrate
