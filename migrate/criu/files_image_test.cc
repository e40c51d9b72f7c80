#include "migrate/criu/files_image.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/timerfd.h>
#include <time.h>

#include "criu_images.pb.h"
#include "migrate/criu/core_image.h"
#include "migrate/criu/image_entries.h"
#include "migrate/fds/fifo.h"

namespace ssi::migrate {
namespace {

const std::string kHead("\1\2\3\4\5\6\7\10", 8);

image::file_entry timer(std::uint64_t ticks, std::uint64_t left_ns, std::uint64_t interval_ns,
                        std::uint32_t flags = 0) {
  image::file_entry entry;
  auto& tfd = *entry.mutable_tfd();
  tfd.set_clockid(CLOCK_MONOTONIC);
  tfd.set_ticks(ticks);
  tfd.set_settime_flags(flags);
  tfd.set_vsec(0);
  tfd.set_vnsec(left_ns);
  tfd.set_isec(0);
  tfd.set_insec(interval_ns);
  entry.GetReflection()->MutableUnknownFields(&entry)->AddVarint(2, 77);  // its id
  return entry;
}

image::file_entry mended(const image::file_entry& entry) {
  std::string image = kHead;
  add_entry(image, entry.SerializeAsString());
  const auto changed = mended_files(image);
  REQUIRE(changed.ok());
  CHECK(changed->starts_with(kHead));
  image::file_entry result;
  int entries = 0;
  REQUIRE(for_each_entry(*changed, "open files", [&](std::string_view bytes) {
            ++entries;
            return result.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
          }).ok());
  CHECK(entries == 1);
  CHECK(result.GetReflection()->GetUnknownFields(result).field_count() ==
        entry.GetReflection()->GetUnknownFields(entry).field_count());
  return result;
}

}  // namespace

TEST_CASE("a timer with a tick that nobody has read goes on ticking") {
  CHECK(mended(timer(1, 0, 5000)).tfd().vnsec() == 5000);
  CHECK(mended(timer(1, 300, 5000)).tfd().vnsec() == 300);
  CHECK(mended(timer(0, 0, 5000)).tfd().vnsec() == 0);  // switched off
  CHECK(mended(timer(1, 0, 0)).tfd().vnsec() == 0);     // it was to go off once
}

TEST_CASE("a timer that is set to a moment is set to what is left until then") {
  CHECK(mended(timer(0, 300, 0, TFD_TIMER_ABSTIME)).tfd().settime_flags() == 0);
  auto of_wall_clock = timer(0, 300, 0, TFD_TIMER_ABSTIME);
  of_wall_clock.mutable_tfd()->set_clockid(CLOCK_REALTIME);
  CHECK(mended(of_wall_clock).tfd().settime_flags() == TFD_TIMER_ABSTIME);
}

TEST_CASE("a file of /proc that was read to its end is at its end, others are where they were") {
  image::file_entry file;
  file.mutable_reg()->set_flags(O_RDONLY);
  file.mutable_reg()->set_pos(1200);
  file.mutable_reg()->set_name("/proc/stat");
  CHECK(mended(file).reg().pos() > 1 << 30);
  file.mutable_reg()->set_name("/home/stat");
  CHECK(mended(file).reg().pos() == 1200);
  file.mutable_reg()->set_name("/proc/stat");
  file.mutable_reg()->set_pos(0);
  CHECK(mended(file).reg().pos() == 0);
}

TEST_CASE("the numbers of sockets to the kernel; none if one is connected") {
  std::string image = kHead;
  image::file_entry socket;
  for (const std::uint32_t port : {0u, 70041u, 70042u}) {
    socket.mutable_nlsk()->set_portid(port);
    socket.mutable_nlsk()->set_state(7);
    add_entry(image, socket.SerializeAsString());
  }
  const auto ports = netlink_ports_in(image);
  REQUIRE(ports.ok());
  CHECK(*ports == std::set<std::uint32_t>{70041, 70042});
  socket.mutable_nlsk()->set_state(1);
  add_entry(image, socket.SerializeAsString());
  CHECK(!netlink_ports_in(image).ok());
}

TEST_CASE("a held file may be opened by a link of /proc") {
  image::file_entry file;
  file.mutable_reg()->set_flags(O_RDWR | O_NOFOLLOW);
  CHECK(mended(file).reg().flags() == (O_RDWR | O_NOFOLLOW));
  file.mutable_reg()->set_ext(true);
  CHECK(mended(file).reg().flags() == O_RDWR);
}

TEST_CASE("signals of the same number are counted one by one") {
  image::core_entry core;
  const auto add = [](image::signal_queue_entry& queue, int signo) {
    std::string info(128, '\0');
    std::memcpy(info.data(), &signo, sizeof signo);
    queue.add_signals()->set_siginfo(info);
  };
  add(*core.mutable_tc()->mutable_signals_s(), 37);
  add(*core.mutable_tc()->mutable_signals_s(), 37);
  add(*core.mutable_thread_core()->mutable_signals_p(), 10);
  std::string image = kHead;
  add_entry(image, core.SerializeAsString());
  const auto signals = signals_in_core(image);
  REQUIRE(signals.ok());
  CHECK(*signals == std::vector<int>{37, 37, 10});
  CHECK(!signals_in_core(image.substr(0, image.size() - 1)).ok());
}

TEST_CASE("the ends of a named pipe are told apart, other files are left alone") {
  std::string image = kHead;
  const auto add = [&](int flags, const std::string& name, bool external) {
    image::file_entry entry;
    entry.mutable_reg()->set_flags(static_cast<std::uint32_t>(flags));
    entry.mutable_reg()->set_name(name);
    if (external) entry.mutable_reg()->set_ext(true);
    add_entry(image, entry.SerializeAsString());
  };
  add(O_RDONLY | O_NONBLOCK, "file[1f:2a]", true);
  add(O_WRONLY | O_NONBLOCK, "file[1f:2a]", true);
  add(O_WRONLY, "file[1f:2b]", true);  // a deleted file that home holds
  add(O_WRONLY, "file[1f:2a]", false);
  const auto changed =
      with_fifo_ends(image, {"file[1f:2a]", fds::key_of_fifo_end("file[1f:2a]", true)});
  REQUIRE(changed.ok());
  std::vector<std::string> names;
  REQUIRE(for_each_entry(*changed, "open files", [&](std::string_view bytes) {
            image::file_entry entry;
            const bool read = entry.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
            names.push_back(entry.reg().name());
            return read;
          }).ok());
  CHECK(names == std::vector<std::string>{"file[1f:2a]", fds::key_of_fifo_end("file[1f:2a]", true),
                                          "file[1f:2b]", "file[1f:2a]"});
}

}  // namespace ssi::migrate
