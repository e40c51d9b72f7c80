// For tests of streams: pipes, and a home with a network to it that can be cut.
#pragma once

#include <doctest/doctest.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstring>
#include <random>
#include <string>
#include <thread>
#include <utility>

#include "migrate/streams/stream_home.h"
#include "migrate/streams/stream_target.h"
#include "ssid/wire/carrier/socket_channel.h"

namespace ssi::migrate {

struct Pipe {
  explicit Pipe(int capacity = 0) {
    int pair[2];
    REQUIRE(::pipe2(pair, O_CLOEXEC) == 0);
    reader.reset(pair[0]);
    writer.reset(pair[1]);
    if (capacity != 0) REQUIRE(::fcntl(pair[0], F_SETPIPE_SZ, capacity) >= capacity);
  }
  UniqueFd reader, writer;
};

// A home and the network to it, which can be cut.
struct Net {
  StreamHome home;
  std::mutex mutex;
  std::vector<std::thread> threads;
  std::vector<std::weak_ptr<Channel>> open;
  std::atomic<bool> down{false};

  ~Net() {
    home.stop();
    cut();
    for (auto& thread : threads) thread.join();
  }
  StreamTarget::Dial dial() { return dial(home); }
  // What else answers here by serve(channel).
  template <typename Server>
  StreamTarget::Dial dial(Server& server) {
    return [this, &server]() -> Result<std::unique_ptr<Channel>> {
      if (down) return Error("down");
      int pair[2];
      if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
        return Error::from_errno("pair");
      StreamChannel accepted = std::make_shared<SocketChannel>(UniqueFd(pair[1]));
      std::lock_guard lock(mutex);
      open.push_back(accepted);
      threads.emplace_back([&server, accepted] { server.serve(accepted); });
      return std::unique_ptr<Channel>(new SocketChannel(UniqueFd(pair[0])));
    };
  }
  void cut() {
    std::lock_guard lock(mutex);
    for (const auto& weak : open) {
      if (const auto channel = weak.lock()) channel->abort();
    }
  }
  void cut_often(int times) {
    for (int i = 0; i < times; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
      cut();
    }
  }
};

inline UniqueFd duplicate(const UniqueFd& fd) { return UniqueFd(::fcntl(*fd, F_DUPFD_CLOEXEC, 0)); }

// A process that has something at home, until it is told to end.
class Owner {
 public:
  Owner() {
    if (pid_ == 0) {
      ::pause();
      ::_exit(0);
    }
    REQUIRE(pid_ > 0);
    handle_ = UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0)));
  }
  ~Owner() { (void)end(); }
  Owner(const Owner&) = delete;
  Owner& operator=(const Owner&) = delete;
  UniqueFd pidfd() const { return duplicate(handle_); }
  // False: it was not there any more.
  bool end() {
    if (pid_ == 0) return false;
    ::kill(pid_, SIGKILL);
    return ::waitpid(std::exchange(pid_, 0), nullptr, 0) > 0;
  }

 private:
  pid_t pid_ = ::fork();
  UniqueFd handle_;
};

inline std::string pattern(std::size_t size, unsigned seed = 1) {
  std::mt19937 random(seed);
  std::string text(size, '\0');
  for (auto& c : text) c = static_cast<char>(random());
  return text;
}

inline bool write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t put = ::write(fd, text.data(), text.size());
    if (put <= 0) return false;
    text.remove_prefix(static_cast<std::size_t>(put));
  }
  return true;
}

inline std::string read_to_end(int fd) {
  std::string all;
  char bytes[4096];
  for (;;) {
    const ssize_t got = ::read(fd, bytes, sizeof(bytes));
    if (got <= 0) return all;
    all.append(bytes, static_cast<std::size_t>(got));
  }
}

inline std::string read_exactly(int fd, std::size_t size) {
  std::string all(size, '\0');
  std::size_t at = 0;
  while (at < size) {
    pollfd entry{fd, POLLIN, 0};
    if (::poll(&entry, 1, 10000) != 1) break;
    const ssize_t got = ::read(fd, all.data() + at, size - at);
    if (got <= 0) break;
    at += static_cast<std::size_t>(got);
  }
  all.resize(at);
  return all;
}

inline bool comes_within(int fd, short events, int timeout_ms) {
  pollfd entry{fd, events, 0};
  return ::poll(&entry, 1, timeout_ms) == 1;
}

// Who has sent the byte that comes next. The socket asks for it with SO_PASSCRED.
inline ucred receive_sender(int fd) {
  REQUIRE(comes_within(fd, POLLIN, 10'000));
  char byte = 0;
  iovec bytes{&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(ucred))] = {};
  msghdr message{};
  message.msg_iov = &bytes;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  REQUIRE(::recvmsg(fd, &message, 0) == 1);
  REQUIRE(CMSG_FIRSTHDR(&message) != nullptr);
  ucred sender{};
  std::memcpy(&sender, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof sender);
  return sender;
}

}  // namespace ssi::migrate
