#include "tests/lab/init/message.h"

#include <sys/socket.h>

#include <charconv>
#include <climits>

namespace ssi::lab {

namespace {
constexpr size_t kFdsMax = 4;
}

std::string encode(const std::vector<std::string>& fields) {
  std::string bytes;
  for (const std::string& field : fields) bytes.append(field).push_back('\0');
  return bytes;
}

Result<std::vector<std::string>> decode(std::string_view bytes) {
  std::vector<std::string> fields;
  while (!bytes.empty()) {
    const size_t end = bytes.find('\0');
    if (end == std::string_view::npos) return Error("message: cut off");
    fields.emplace_back(bytes.substr(0, end));
    bytes.remove_prefix(end + 1);
  }
  return fields;
}

Result<int> to_number(std::string_view text, int min, int max) {
  int number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || number < min || number > max) {
    return Error("message: bad number: " + std::string(text));
  }
  return number;
}

std::vector<std::string> to_fields(const ExecRequest& request) {
  std::vector<std::string> fields = {"exec",
                                     request.tty ? "1" : "0",
                                     std::to_string(request.rows),
                                     std::to_string(request.cols),
                                     request.cwd,
                                     std::to_string(request.env.size())};
  fields.insert(fields.end(), request.env.begin(), request.env.end());
  fields.insert(fields.end(), request.argv.begin(), request.argv.end());
  return fields;
}

Result<ExecRequest> to_exec_request(const std::vector<std::string>& fields) {
  if (fields.size() < 7 || fields[0] != "exec") return Error("message: not an exec request");
  ExecRequest request;
  SSI_ASSIGN(const int tty, to_number(fields[1], 0, 1));
  SSI_ASSIGN(const int rows, to_number(fields[2], 0, USHRT_MAX));
  SSI_ASSIGN(const int cols, to_number(fields[3], 0, USHRT_MAX));
  SSI_ASSIGN(const int env_count, to_number(fields[5], 0, static_cast<int>(fields.size()) - 7));
  request.tty = tty != 0;
  request.rows = static_cast<unsigned short>(rows);
  request.cols = static_cast<unsigned short>(cols);
  request.cwd = fields[4];
  const auto env_end = fields.begin() + 6 + env_count;
  request.env.assign(fields.begin() + 6, env_end);
  request.argv.assign(env_end, fields.end());
  return request;
}

Result<> send_message(int socket, const std::vector<std::string>& fields,
                      const std::vector<int>& fds) {
  std::string bytes = encode(fields);
  if (bytes.size() > kMessageBytesMax || fds.size() > kFdsMax) return Error("message: too long");
  iovec part{bytes.data(), bytes.size()};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * kFdsMax)] = {};
  if (!fds.empty()) {
    header.msg_control = control;
    header.msg_controllen = CMSG_SPACE(sizeof(int) * fds.size());
    cmsghdr* rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof(int) * fds.size());
    std::memcpy(CMSG_DATA(rights), fds.data(), sizeof(int) * fds.size());
  }
  while (::sendmsg(socket, &header, MSG_NOSIGNAL) < 0) {
    if (errno != EINTR) return Error::from_errno("send");
  }
  return {};
}

Result<Message> receive_message(int socket) {
  std::string bytes(kMessageBytesMax, '\0');
  iovec part{bytes.data(), bytes.size()};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * kFdsMax)] = {};
  header.msg_control = control;
  header.msg_controllen = sizeof control;
  ssize_t size = 0;
  while ((size = ::recvmsg(socket, &header, MSG_CMSG_CLOEXEC)) < 0) {
    if (errno == ECONNRESET) break;  // died with our words unread
    if (errno != EINTR) return Error::from_errno("receive");
  }
  Message message;
  for (cmsghdr* item = CMSG_FIRSTHDR(&header); item != nullptr; item = CMSG_NXTHDR(&header, item)) {
    if (item->cmsg_level != SOL_SOCKET || item->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (item->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(item) + i * sizeof(int), sizeof fd);
      message.fds.emplace_back(fd);
    }
  }
  if ((header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) return Error("message: too long");
  if (size <= 0) {
    message.closed = true;
    return message;
  }
  bytes.resize(static_cast<size_t>(size));
  SSI_ASSIGN(message.fields, decode(bytes));
  return message;
}

}  // namespace ssi::lab
