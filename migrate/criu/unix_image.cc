#include "migrate/criu/unix_image.h"

#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <functional>

#include "criu_images.pb.h"
#include "migrate/criu/image_entries.h"
#include "migrate/fds/socket_link.h"
#include "ssid/wire/carrier/deleted_socket.h"

namespace ssi::migrate {

namespace {

constexpr std::uint64_t kSecond = 1'000'000;
constexpr std::uint32_t kShutWriting = 2;  // SK_SHUTDOWN__WRITE; 3 is both

SocketState state_of(const image::unix_sk_entry& s) {
  return {.flags = s.flags(),
          .shut_for_writing = (s.shutdown() & kShutWriting) != 0,
          .send_timeout_us = s.opts().so_snd_tmo_sec() * kSecond + s.opts().so_snd_tmo_usec(),
          .receive_timeout_us = s.opts().so_rcv_tmo_sec() * kSecond + s.opts().so_rcv_tmo_usec()};
}

std::string key_of(const image::unix_sk_entry& s) { return fds::socket_link(s.ino()); }

timeval time_of(std::uint64_t us) {
  return {.tv_sec = static_cast<time_t>(us / kSecond),
          .tv_usec = static_cast<suseconds_t>(us % kSecond)};
}

// Empty: it has none, or an abstract one.
std::string path_of(const image::unix_sk_entry& s) {
  return s.name().substr(0, s.name().find('\0'));
}

// `change` may change it.
Result<std::string> change_sockets(std::string_view image,
                                   const std::function<void(image::unix_sk_entry&)>& change) {
  return change_entries(image, "open files", [&](std::string& bytes) {
    image::file_entry file;
    if (!file.ParseFromString(bytes)) return false;
    if (!file.has_usk()) return true;
    change(*file.mutable_usk());
    bytes = file.SerializeAsString();
    return true;
  });
}

}  // namespace

Result<std::map<std::string, SocketState>> socket_states(std::string_view image) {
  std::map<std::string, SocketState> states;
  SSI_TRY(change_entries(image, "open files", [&](std::string& bytes) {
    image::file_entry file;
    if (!file.ParseFromString(bytes)) return false;
    if (!file.has_usk()) return true;
    states[key_of(file.usk())] = state_of(file.usk());
    return true;
  }));
  return states;
}

Result<std::set<std::uint32_t>> socket_numbers(std::string_view image,
                                               const std::set<std::string>& keys) {
  std::set<std::uint32_t> numbers;
  SSI_TRY(for_each_entry(image, "open files", [&](std::string_view bytes) {
    image::file_entry file;
    if (!file.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return false;
    if (file.has_usk() && keys.contains(key_of(file.usk()))) numbers.insert(file.usk().id());
    return true;
  }));
  return numbers;
}

// An entry tells how long the message is that is behind it.
Result<std::string> without_messages(std::string_view image,
                                     const std::set<std::uint32_t>& numbers) {
  const Error unreadable("an image of what waits in sockets that can't be read");
  if (image.size() < kImageHead) return unreadable;
  std::string changed(image.substr(0, kImageHead));
  image.remove_prefix(kImageHead);
  while (!image.empty()) {
    const char* const begin = image.data();
    const auto head = take_entry(image);
    image::sk_packet_entry packet;
    if (!head || !packet.ParseFromArray(head->data(), static_cast<int>(head->size())) ||
        packet.length() > image.size()) {
      return unreadable;
    }
    image.remove_prefix(packet.length());
    if (!numbers.contains(packet.id_for())) changed.append(begin, image.data());
  }
  return changed;
}

Result<> apply(const SocketState& state, int socket) {
  const auto flags = static_cast<int>(state.flags & (O_NONBLOCK | O_APPEND | O_NOATIME));
  if (::fcntl(socket, F_SETFL, flags) != 0) return Error::from_errno("set a socket's flags");
  const timeval send = time_of(state.send_timeout_us), receive = time_of(state.receive_timeout_us);
  if (::setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &send, sizeof send) != 0 ||
      ::setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &receive, sizeof receive) != 0) {
    return Error::from_errno("set a socket's timeouts");
  }
  if (state.shut_for_writing && ::shutdown(socket, SHUT_WR) != 0) {
    return Error::from_errno("shut a socket");
  }
  return {};
}

Result<std::string> with_new_names(std::string_view image,
                                   const std::map<std::string, std::string>& paths) {
  return change_sockets(image, [&](image::unix_sk_entry& socket) {
    const auto path = paths.find(key_of(socket));
    if (path != paths.end()) socket.set_name(path->second + '\0');
  });
}

Result<std::string> with_deleted_names(std::string_view image, const std::set<std::string>& keys) {
  return change_sockets(image, [&](image::unix_sk_entry& socket) {
    if (keys.contains(key_of(socket)) && !path_of(socket).empty()) socket.set_deleted(true);
  });
}

Result<std::vector<std::string>> deleted_names(std::string_view image) {
  std::vector<std::string> names;
  SSI_TRY(change_sockets(image, [&](image::unix_sk_entry& socket) {
    const std::string path = path_of(socket);
    if (!socket.deleted() || path.empty()) return;
    names.push_back(path.front() == '/' ? path : socket.name_dir() + "/" + path);
  }));
  return names;
}

Result<std::string> with_announced_binds(std::string_view image) {
  return change_sockets(image, [](image::unix_sk_entry& socket) {
    const std::string path = path_of(socket);
    if (path.empty()) return;
    const std::string leaf = path.substr(path.rfind('/') + 1);
    socket.set_name_dir(socket.deleted() ? by_deleted_socket(leaf, socket.name_dir())
                                         : by_named_socket(socket.name_dir()));
  });
}

Result<std::string> without_names(std::string_view image, const std::set<std::string>& given) {
  return change_entries(image, "open files", [&](std::string& bytes) {
    image::file_entry file;
    if (!file.ParseFromString(bytes)) return false;
    if (!file.has_usk()) return true;
    image::unix_sk_entry& socket = *file.mutable_usk();
    const bool connection = socket.state() == TCP_ESTABLISHED && socket.type() != SOCK_DGRAM;
    if (!connection && !given.contains(key_of(socket))) return true;
    socket.clear_name();
    socket.set_name("");
    socket.clear_name_dir();
    socket.clear_file_perms();
    socket.clear_deleted();
    if (socket.type() == SOCK_DGRAM) {
      // criu would wait for ever for what fills its queue.
      socket.set_type(SOCK_STREAM);
      socket.set_state(TCP_LISTEN);
      socket.set_peer(0);
    }
    bytes = file.SerializeAsString();
    return true;
  });
}

}  // namespace ssi::migrate
