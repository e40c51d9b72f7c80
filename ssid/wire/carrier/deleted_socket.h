// How CRIU's images tell a view, on the way, that a thread is about to bind a socket to a name that
// was deleted (fs/view/socket_rebuilds.h): the directory from which CRIU binds it is reached
// through one in the view's root that no listing shows, and that is there for what is being rebuilt
// only. Known to the view (fs/view) and to the movers. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace ssi {

inline constexpr std::string_view kDeletedSocketPrefix = ".ssid-deleted-socket-";
// The same of all other sockets, if there are deleted ones.
inline constexpr std::string_view kNamedSocket = ".ssid-named-socket";

// `leaf`: the last part of the socket's name. `directory`: from which it is bound; empty: any.
inline std::string by_deleted_socket(std::string_view leaf, std::string_view directory) {
  return "/" + std::string(kDeletedSocketPrefix) + std::string(leaf) + "/.." +
         std::string(directory);
}

inline std::string by_named_socket(std::string_view directory) {
  return "/" + std::string(kNamedSocket) + "/.." + std::string(directory);
}

inline std::optional<std::string> deleted_socket_leaf(std::string_view name) {
  if (!name.starts_with(kDeletedSocketPrefix)) return {};
  name.remove_prefix(kDeletedSocketPrefix.size());
  if (name.empty()) return {};
  return std::string(name);
}

}  // namespace ssi
