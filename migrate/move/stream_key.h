// Pure: what criu calls the open file that a stream stands for.
#pragma once

#include <sys/stat.h>

#include <cstdio>
#include <string>

#include "migrate/fds/socket_link.h"

namespace ssi::migrate {

// "pipe:[123]", "tty[8803:15]" or "socket:[123]"; empty for anything else.
inline std::string stream_key(const struct stat& st) {
  char text[64] = {};
  if (S_ISFIFO(st.st_mode)) {
    std::snprintf(text, sizeof text, "pipe:[%lu]", static_cast<unsigned long>(st.st_ino));
  } else if (S_ISCHR(st.st_mode)) {
    std::snprintf(text, sizeof text, "tty[%lx:%lx]", static_cast<unsigned long>(st.st_rdev),
                  static_cast<unsigned long>(st.st_dev));
  } else if (S_ISSOCK(st.st_mode)) {
    return fds::socket_link(st.st_ino);
  }
  return text;
}
inline bool is_socket_key(const std::string& key) { return fds::is_socket_link(key); }
// What criu's dump calls a unix socket whose peer is not dumped.
inline std::string external_socket(const std::string& key) {
  return "unix" + key.substr(fds::kSocketLink.size() - 1);
}
inline bool is_terminal_key(const std::string& key) { return key.starts_with("tty["); }
// Whether it is the key of the terminal with that device number.
inline bool names_terminal(const std::string& key, dev_t device) {
  char start[32] = {};
  std::snprintf(start, sizeof start, "tty[%lx:", static_cast<unsigned long>(device));
  return key.starts_with(start);
}

}  // namespace ssi::migrate
