#include "migrate/pages/uffd_helper.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <cerrno>
#include <cstring>

#include "migrate/pages/remote_uffd.h"
#include "ssid/base/spawn.h"

namespace ssi::migrate {
namespace {

constexpr int kAnswerTimeoutMs = 5000;
constexpr std::size_t kAnswerBytes = 1024;

// One message: a code (0: done) and words; with the descriptor if it is done.
bool send_answer(int to, std::uint8_t code, const std::string& words, int fd) {
  std::string text(1, static_cast<char>(code));
  text += words.substr(0, kAnswerBytes - 1);
  iovec part{text.data(), text.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (fd >= 0) {
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    cmsghdr* rights = CMSG_FIRSTHDR(&message);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof fd);
    std::memcpy(CMSG_DATA(rights), &fd, sizeof fd);
  }
  return ::sendmsg(to, &message, MSG_NOSIGNAL) >= 0;
}

Result<UniqueFd> receive_answer(int from) {
  pollfd ready{from, POLLIN, 0};
  if (::poll(&ready, 1, kAnswerTimeoutMs) <= 0) return Error("ssid-uffd does not answer");
  char text[kAnswerBytes];
  iovec part{text, sizeof text};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  const ssize_t got = ::recvmsg(from, &message, MSG_CMSG_CLOEXEC);
  if (got <= 0) return Error("ssid-uffd ended without an answer");
  UniqueFd fd;
  for (cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr; c = CMSG_NXTHDR(&message, c)) {
    if (c->cmsg_type != SCM_RIGHTS || c->cmsg_len != CMSG_LEN(sizeof(int))) continue;
    int raw;
    std::memcpy(&raw, CMSG_DATA(c), sizeof raw);
    fd.reset(raw);
  }
  if (text[0] == 0 && fd) return fd;
  const auto code = static_cast<std::uint8_t>(text[0]);
  return Error(code > 0 && code - 1 <= static_cast<int>(kErrorCodeMax)
                   ? static_cast<ErrorCode>(code - 1)
                   : ErrorCode::kFailed,
               std::string(text + 1, static_cast<std::size_t>(got - 1)));
}

}  // namespace

OpenUserfaultfd userfaultfd_by(std::string program) {
  return [program = std::move(program)](pid_t pid) -> Result<UniqueFd> {
    int pair[2];
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
      return Error::from_errno("make a socket");
    }
    UniqueFd here(pair[0]), there(pair[1]);
    SSI_ASSIGN(const pid_t helper,
               spawn({.argv = {program, std::to_string(pid)}, .descriptors = {*there}}));
    there.reset();
    auto answer = receive_answer(*here);
    while (::waitpid(helper, nullptr, 0) < 0 && errno == EINTR) {
    }
    return answer;
  };
}

int run_uffd_helper(pid_t pid, int to) {
  const auto opened = open_userfaultfd_in(pid);
  if (opened) return send_answer(to, 0, "", **opened) ? 0 : 1;
  const auto code = static_cast<std::uint8_t>(1 + static_cast<int>(opened.error().code()));
  (void)send_answer(to, code, opened.error().message(), -1);
  return 1;
}

}  // namespace ssi::migrate
