#include "migrate/criu/tcp_image.h"

#include <doctest/doctest.h>

#include "criu_images.pb.h"
#include "migrate/criu/image_entries.h"

namespace ssi::migrate {
namespace {

constexpr std::string_view kMagic = "12345678", kQueues = "what was not read, or not sent";

std::string image_of(image::tcp_stream_entry stream) {
  stream.mutable_unknown_fields()->AddVarint(2, 7);  // inq_seq
  std::string image(kMagic);
  add_entry(image, stream.SerializeAsString());
  return image + std::string(kQueues);
}

std::string at(std::uint32_t timestamp) {
  image::tcp_stream_entry stream;
  stream.set_timestamp(timestamp);
  return image_of(stream);
}

}  // namespace

TEST_CASE("tcp image: the clock of a connection's timestamps stands later, all else is as it was") {
  CHECK(with_later_timestamps(at(100), 50).value() == at(150));
  CHECK(with_later_timestamps(at(0xffff'fff0), 0x20).value() == at(0x10));
  // The lowest bit is the unit.
  CHECK(with_later_timestamps(at(100), 51).value() == at(152));
  CHECK(with_later_timestamps(at(101), 51).value() == at(51101));
}

TEST_CASE("tcp image: the window of the peer") {
  image::tcp_stream_entry stream;
  stream.set_snd_wnd(500);
  const std::string before = image_of(stream);
  stream.set_snd_wnd(65536);
  CHECK(with_window(before, 65536).value() == image_of(stream));
  CHECK(tcp_image_name(0x2b0) == "tcp-stream-2b0.img");
  CHECK(inode_of_tcp_image("tcp-stream-2b0.img") == 0x2b0);
}

TEST_CASE("tcp image: a buffer for what was not read and what may come") {
  image::tcp_stream_entry stream;
  stream.set_rcv_wnd(1000);
  CHECK(receive_buffer_bytes(image_of(stream)).value() == 0);  // nothing waits
  stream.set_inq_len(1600);
  CHECK(receive_buffer_bytes(image_of(stream)).value() == 3700);
  image::file_entry file;
  file.mutable_isk()->set_ino(7);
  file.mutable_isk()->mutable_opts()->set_so_rcvbuf(3000);
  file.set_type(9);
  file.mutable_unknown_fields()->AddVarint(2, 33);  // its number
  const auto files = [&] {
    std::string image(kMagic);
    add_entry(image, file.SerializeAsString());
    return image;
  };
  const std::string before = files();
  CHECK(with_receive_buffers(before, {{8, 5000}, {7, 2999}}).value() == before);
  file.mutable_isk()->mutable_opts()->set_so_rcvbuf(3700);
  CHECK(with_receive_buffers(before, {{7, 3700}}).value() == files());
}

TEST_CASE("tcp image: what is not in it is not added; a damaged one is refused") {
  const std::string image = image_of({});
  CHECK(with_later_timestamps(image, 100).value() == image);
  CHECK(with_window(image, 100).value() == image);
  CHECK_FALSE(with_later_timestamps(image.substr(0, 9), 100));
  CHECK_FALSE(with_later_timestamps(std::string(kMagic) + std::string(8, '\xff'), 100));
}

}  // namespace ssi::migrate
