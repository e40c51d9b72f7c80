#include "migrate/criu/tty_image.h"

#include "criu_images.pb.h"
#include "migrate/criu/image_entries.h"

namespace ssi::migrate {
namespace {

// TtyType of criu's images.
constexpr std::uint32_t kPseudoTerminal = 1, kDevTty = 4;

}  // namespace

Result<std::string> without_outer_sessions(std::string_view image) {
  return change_entries(image, "terminals", [](std::string& bytes) {
    image::tty_info_entry entry;
    if (!entry.ParseFromString(bytes)) return false;
    if (entry.type() == kPseudoTerminal || entry.type() == kDevTty) return true;
    entry.set_sid(0);
    entry.set_pgrp(0);
    bytes = entry.SerializeAsString();  // with what we do not know of it
    return true;
  });
}

}  // namespace ssi::migrate
