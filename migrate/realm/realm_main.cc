// ssid-realm: makes a realm and becomes its init. ssid starts it and waits for it to end with 0,
// which means "the realm is there and listens"; one line on stderr says why not.
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdio>

#include "migrate/realm/namespaces.h"
#include "migrate/realm/realm_init.h"
#include "migrate/realm/realm_network.h"
#include "ssid/base/command_line.h"

namespace ssi::migrate {
namespace {

Result<UniqueFd> listen_at(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return Error("socket path is too long");
  std::memcpy(address.sun_path, path.data(), path.size());
  ::unlink(path.c_str());
  UniqueFd fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (!fd) return Error::from_errno("socket");
  if (::bind(*fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
      ::listen(*fd, 64) != 0) {
    return Error::from_errno("listen at " + path);
  }
  return fd;
}

// Whoever started the realm may wait for the end of these.
void leave_stdio() {
  UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  for (int fd = 0; fd < 3; ++fd) ::dup2(*null, fd);
}

// In the realm's first process: report through `ready` whether the realm stands, then serve it.
Result<> be_init(const RealmOptions& options, UniqueFd listener, UniqueFd ready) {
  ::setsid();
  ::prctl(PR_SET_NAME, "ssid-realm");
  auto entered = enter_realm(options);
  const std::string word = entered ? "ok" : entered.error().message();
  if (::write(*ready, word.data(), word.size()) < 0) return Error::from_errno("report");
  ready.reset();
  SSI_TRY(std::move(entered));
  leave_stdio();
  const std::string criu_dir =
      options.at_home() ? options.criu_bundle : std::string(kRealmPrivateDir) + "/criu";
  return RealmInit(std::move(listener), criu_dir).run();
}

Result<> start(const RealmOptions& options, const std::string& socket_path) {
  SSI_ASSIGN(UniqueFd listener, listen_at(socket_path));
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return Error::from_errno("pipe");
  UniqueFd ready_read(ends[0]), ready_write(ends[1]);
  SSI_ASSIGN(RealmNetwork network, RealmNetwork::open(options.network));
  SSI_TRY(unshare_realm(options));
  if (!options.at_home()) {
    // Most guests need none; who does is refused by its home, or can't be rebuilt here.
    if (auto made = network.make(options.home, options.node); !made) {
      std::printf("it has no network: %s\n", made.error().message().c_str());
    }
  }
  const pid_t pid = ::fork();
  if (pid < 0) return Error::from_errno("fork");
  if (pid == 0) {
    ready_read.reset();
    auto served = be_init(options, std::move(listener), std::move(ready_write));
    ::_exit(served ? 0 : 1);
  }
  ready_write.reset();
  char text[512];
  const ssize_t n = ::read(*ready_read, text, sizeof text);
  const std::string word(text, n > 0 ? static_cast<std::size_t>(n) : 0);
  if (word != "ok") return Error(word.empty() ? "the realm's init died" : word);
  return {};
}

}  // namespace
}  // namespace ssi::migrate

int main(int argc, char** argv) {
  ssi::migrate::RealmOptions options;
  std::string socket_path;
  CLI::App app(
      "Makes the namespaces in which guests of one home node live, and becomes their init.",
      "ssid-realm");
  app.add_option("--home", options.home.value, "node whose processes will live here")->required();
  app.add_option("--node", options.node.value, "this node")->required();
  app.add_option("--root", options.root, "where home's files are mounted")->required();
  app.add_option("--hostname", options.host_name, "home's host name")->required();
  app.add_option("--criu", options.criu_bundle, "directory of criu, ld.so and libraries")
      ->required();
  app.add_option("--socket", socket_path, "where to listen for ssid")->required();
  ssi::migrate::add_network_options(app, options.network);
  if (const auto ended = ssi::parse_arguments(app, argc, argv)) return *ended;
  if (auto started = ssi::migrate::start(options, socket_path); !started) {
    std::fprintf(stderr, "ssid-realm: %s\n", started.error().message().c_str());
    return 1;
  }
  return 0;
}
