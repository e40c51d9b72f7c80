#include "ssid/base/own_programs.h"

#include <algorithm>
#include <array>

namespace ssi {
namespace {

constexpr std::array<std::string_view, 6> kNames = {"ssid",        "ssid-carrier", "ssid-realm",
                                                    "ssid-deputy", "criu",         "corosync"};

}  // namespace

bool is_own_program(std::string_view exe) {
  constexpr std::string_view kDeleted = " (deleted)";  // the kernel's word for a replaced file
  if (exe.ends_with(kDeleted)) exe.remove_suffix(kDeleted.size());
  exe.remove_prefix(exe.rfind('/') + 1);
  return std::find(kNames.begin(), kNames.end(), exe) != kNames.end();
}

}  // namespace ssi
