#include "ssid/base/own_programs.h"

#include <algorithm>
#include <array>

namespace ssi {
namespace {

constexpr std::string_view kDeputy = "ssid-deputy";
constexpr std::array<std::string_view, 6> kNames = {"ssid",  "ssid-carrier", "ssid-realm",
                                                    kDeputy, "criu",         "corosync"};

std::string_view name_of(std::string_view exe) {
  constexpr std::string_view kDeleted = " (deleted)";  // the kernel's word for a replaced file
  if (exe.ends_with(kDeleted)) exe.remove_suffix(kDeleted.size());
  return exe.substr(exe.rfind('/') + 1);
}

}  // namespace

bool is_own_program(std::string_view exe) {
  return std::find(kNames.begin(), kNames.end(), name_of(exe)) != kNames.end();
}

bool is_deputy_program(std::string_view exe) { return name_of(exe) == kDeputy; }

}  // namespace ssi
