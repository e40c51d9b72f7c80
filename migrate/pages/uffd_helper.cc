#include "migrate/pages/uffd_helper.h"

#include <sys/wait.h>

#include <array>
#include <cerrno>
#include <span>

#include "migrate/pages/remote_uffd.h"
#include "ssid/base/spawn.h"
#include "ssid/wire/unix_socket.h"

namespace ssi::migrate {
namespace {

constexpr int kAnswerTimeoutMs = 5000;
constexpr std::size_t kAnswerBytes = 1024;

// One message: a code (0: done) and words; with the descriptor if it is done.
bool send_answer(int to, std::uint8_t code, const std::string& words, std::span<const int> fds) {
  std::string text(1, static_cast<char>(code));
  text += words.substr(0, kAnswerBytes - 1);
  return unix_send(to, std::as_bytes(std::span(text)), fds, kAnswerTimeoutMs).ok();
}

Result<UniqueFd> receive_answer(int from) {
  auto answer = unix_recv(from, kAnswerBytes, 1, kAnswerTimeoutMs);
  if (!answer) {
    return Error(answer.error().code() == ErrorCode::kTimeout
                     ? "ssid-uffd does not answer"
                     : "ssid-uffd ended without an answer");
  }
  const auto code = static_cast<std::uint8_t>(answer->bytes.front());
  if (code == 0 && answer->descriptors.size() == 1) return std::move(answer->descriptors.front());
  return Error(code > 0 && code - 1 <= static_cast<int>(kErrorCodeMax)
                   ? static_cast<ErrorCode>(code - 1)
                   : ErrorCode::kFailed,
               std::string(reinterpret_cast<const char*>(answer->bytes.data()) + 1,
                           answer->bytes.size() - 1));
}

}  // namespace

OpenUserfaultfd userfaultfd_by(std::string program) {
  return [program = std::move(program)](pid_t pid) -> Result<UniqueFd> {
    SSI_ASSIGN(UnixPair pair, unix_pair(UnixType::kSeqPacket));
    SSI_ASSIGN(const pid_t helper,
               spawn({.argv = {program, std::to_string(pid)}, .descriptors = {*pair.second}}));
    pair.second.reset();
    auto answer = receive_answer(*pair.first);
    while (::waitpid(helper, nullptr, 0) < 0 && errno == EINTR) {
    }
    return answer;
  };
}

int run_uffd_helper(pid_t pid, int to) {
  const auto opened = open_userfaultfd_in(pid);
  if (opened) return send_answer(to, 0, "", std::array{**opened}) ? 0 : 1;
  const auto code = static_cast<std::uint8_t>(1 + static_cast<int>(opened.error().code()));
  (void)send_answer(to, code, opened.error().message(), {});
  return 1;
}

}  // namespace ssi::migrate
