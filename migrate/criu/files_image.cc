#include "migrate/criu/files_image.h"

#include <fcntl.h>
#include <sys/timerfd.h>
#include <time.h>

#include "criu_images.pb.h"
#include "migrate/criu/image_entries.h"
#include "migrate/fds/fifo.h"
#include "migrate/fds/proc_file.h"

namespace ssi::migrate {
namespace {

constexpr std::uint32_t kNetlinkConnected = 1;  // as the kernel has it; no header does

void mend(image::timerfd_entry& timer) {
  const bool periodic = timer.isec() != 0 || timer.insec() != 0;
  if (periodic && timer.ticks() > 0 && timer.vsec() == 0 && timer.vnsec() == 0) {
    timer.set_vsec(timer.isec());
    timer.set_vnsec(timer.insec());
  }
  // A moment of the wall clock stays one: that clock may be set.
  const bool of_steady_clock =
      timer.clockid() == CLOCK_MONOTONIC || timer.clockid() == CLOCK_BOOTTIME;
  if (of_steady_clock && timer.settime_flags() == TFD_TIMER_ABSTIME) timer.set_settime_flags(0);
}

}  // namespace

Result<std::set<std::uint32_t>> netlink_ports_in(std::string_view image) {
  std::set<std::uint32_t> ports;
  bool connected = false;
  SSI_TRY(for_each_entry(image, "open files", [&](std::string_view bytes) {
    image::file_entry entry;
    if (!entry.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return false;
    if (!entry.has_nlsk()) return true;
    connected |= entry.nlsk().state() == kNetlinkConnected;
    if (entry.nlsk().portid() != 0) ports.insert(entry.nlsk().portid());
    return true;
  }));
  if (connected) return Error(ErrorCode::kRefused, "a socket to the kernel is connected with it");
  return ports;
}

Result<std::string> mended_files(std::string_view image) {
  return change_entries(image, "open files", [](std::string& bytes) {
    image::file_entry entry;
    if (!entry.ParseFromString(bytes)) return false;
    if (entry.has_tfd()) mend(*entry.mutable_tfd());
    if (entry.has_reg() && entry.reg().ext()) {
      entry.mutable_reg()->set_flags(entry.reg().flags() & ~std::uint32_t{O_NOFOLLOW});
    }
    if (entry.has_reg() && !entry.reg().ext()) {
      auto& file = *entry.mutable_reg();
      const std::uint64_t there = fds::position_there(file.name(), file.pos());
      if (there != file.pos()) file.set_pos(there);
    }
    bytes = entry.SerializeAsString();  // with what we do not know of it
    return true;
  });
}

Result<std::string> with_fifo_ends(std::string_view image, const std::set<std::string>& keys) {
  return change_entries(image, "open files", [&](std::string& bytes) {
    image::file_entry entry;
    if (!entry.ParseFromString(bytes)) return false;
    if (!entry.has_reg() || !entry.reg().ext()) return true;
    if ((entry.reg().flags() & O_ACCMODE) != O_WRONLY) return true;
    const std::string key = fds::key_of_fifo_end(entry.reg().name(), true);
    if (!keys.contains(key)) return true;
    entry.mutable_reg()->set_name(key);
    bytes = entry.SerializeAsString();
    return true;
  });
}

}  // namespace ssi::migrate
