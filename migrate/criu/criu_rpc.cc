#include "migrate/criu/criu_rpc.h"

#include <sys/socket.h>

#include <array>
#include <regex>
#include <sstream>

#include "criu_rpc.pb.h"

namespace ssi::migrate {
namespace {

// criu_req_type, fixed by criu's interface.
constexpr unsigned kDump = 1;
constexpr unsigned kRestore = 2;
constexpr unsigned kNotify = 6;
// Errors and warnings. It writes some 2000 lines more for each process, one by one: a quarter of
// the time in which a unit of fifteen stands still.
constexpr int kLogLevel = 2;

Result<> send_message(int socket, const rpc::req& request) {
  std::string text;
  request.SerializeToString(&text);
  if (::send(socket, text.data(), text.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(text.size())) {
    return Error::from_errno("send to criu");
  }
  return {};
}

Result<rpc::resp> receive_message(int socket) {
  std::array<char, 65536> buffer;
  ssize_t n;
  do {
    n = ::recv(socket, buffer.data(), buffer.size(), 0);
  } while (n < 0 && errno == EINTR);
  if (n < 0) return Error::from_errno("receive from criu");
  if (n == 0) return Error("criu ended without an answer");
  rpc::resp response;
  if (!response.ParseFromArray(buffer.data(), static_cast<int>(n))) {
    return Error("criu sent something that is not an answer");
  }
  return response;
}

void set_common(rpc::opts& o, int images_fd, const char* log_file) {
  // Not as images_dir_fd: criu takes that for a descriptor of its peer, which may live in a PID
  // namespace where criu can't see it.
  o.set_images_dir_fd(-1);
  o.set_images_dir("/proc/self/fd/" + std::to_string(images_fd));
  o.set_log_file(log_file);
  o.set_log_level(kLogLevel);
  o.set_shell_job(true);
  o.set_file_locks(true);
  o.set_ext_unix_sk(true);
  o.set_manage_cgroups_mode(0);  // IGNORE: ssid places processes itself
  o.set_network_lock(3);         // SKIP: home holds the packets
  o.set_tcp_established(true);
  o.set_ghost_limit(64u << 20);
}

}  // namespace

Result<> CriuRpc::dump(const DumpOptions& options) {
  rpc::req request;
  request.set_type(kDump);
  rpc::opts& o = *request.mutable_opts();
  set_common(o, options.images_fd, "dump.log");
  o.set_pid(options.pid);
  o.set_leave_running(true);
  o.set_freeze_cgroup(options.freeze_cgroup);
  o.set_timeout(options.timeout_s);
  o.set_link_remap(true);
  if (options.page_server_fd >= 0) o.mutable_ps()->set_fd(options.page_server_fd);
  for (const std::string& e : options.external) o.add_external(e);
  SSI_TRY(send_message(*socket_, request));
  SSI_ASSIGN(rpc::resp response, receive_message(*socket_));
  if (response.type() != kDump || !response.success()) {
    return Error("criu could not dump");  // why is in its log
  }
  return {};
}

Result<pid_t> CriuRpc::restore(const RestoreOptions& options, const Notify& notify) {
  rpc::req request;
  request.set_type(kRestore);
  rpc::opts& o = *request.mutable_opts();
  set_common(o, options.images_fd, "restore.log");
  o.set_rst_sibling(true);  // the caller of criu, the realm's init, is the parent
  o.set_notify_scripts(true);
  if (options.lazy_pages) o.set_lazy_pages(true);
  for (const InheritFd& i : options.inherit) {
    auto* entry = o.add_inherit_fd();
    entry->set_key(i.key);
    entry->set_fd(i.fd);
  }
  SSI_TRY(send_message(*socket_, request));
  for (;;) {
    SSI_ASSIGN(rpc::resp response, receive_message(*socket_));
    if (response.type() == kNotify) {
      auto done = notify(response.notify().script(), response.notify().pid());
      rpc::req answer;
      answer.set_type(kNotify);
      answer.set_notify_success(done.ok());
      SSI_TRY(send_message(*socket_, answer));
      if (!done) return std::move(done).error();
      continue;
    }
    if (response.type() != kRestore || !response.success()) {
      return Error("criu could not restore");  // why is in its log
    }
    return response.restore().pid();
  }
}

std::string plain_error(const std::string& log) {
  static const std::regex error_line(R"(Error \([^)]*\): (.*))");
  std::istringstream lines(log);
  std::smatch m;
  for (std::string line; std::getline(lines, line);) {
    // Said by every criu without CAP_SYS_RESOURCE, and without consequence.
    if (line.find("Can't setup RLIMIT_NOFILE for self") != std::string::npos) continue;
    if (std::regex_search(line, m, error_line)) return m[1];
  }
  return "";
}

}  // namespace ssi::migrate
