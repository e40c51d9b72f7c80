#include "loadlevel/cli/remote_run.h"

#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <ctime>

#include "loadlevel/cli/command.h"

namespace ssi::cli {
namespace {

constexpr int kExitCannotRun = 126;
constexpr int kExitNotFound = 127;
// ssid says when to look; should it die before that, its next one knows nothing of us.
constexpr timespec kLookAgain{1, 0};
constexpr int kLooksWithoutSsid = 30;

// Another node is another PID namespace.
std::string place() {
  char text[64] = {};
  const ssize_t size = ::readlink("/proc/self/ns/pid", text, sizeof text - 1);
  return size > 0 ? std::string(text, static_cast<std::size_t>(size)) : std::string();
}

// Keeps ssid's word waiting for us until it is asked for.
class WordFromSsid {
 public:
  WordFromSsid() {
    sigemptyset(&word_);
    sigaddset(&word_, kLookAgainSignal);
    ::sigprocmask(SIG_BLOCK, &word_, &before_);
  }
  ~WordFromSsid() { ::sigprocmask(SIG_SETMASK, &before_, nullptr); }
  WordFromSsid(const WordFromSsid&) = delete;
  WordFromSsid& operator=(const WordFromSsid&) = delete;

  // False: no word came for a while.
  bool wait() { return ::sigtimedwait(&word_, nullptr, &kLookAgain) == kLookAgainSignal; }

 private:
  sigset_t word_;
  sigset_t before_;
};

// Which ssid listens: each makes its socket anew. Asking itself would not do: with a connection we
// can't be moved.
std::pair<ino_t, time_t> ssid_here() {
  struct stat st = {};
  (void)::stat(kControlSocketPath, &st);
  return {st.st_ino, st.st_ctime};
}

Result<> pin_here() {
  SSI_ASSIGN(auto client, ControlClient::connect());
  nlohmann::json args;
  args["pid"] = ::getpid();
  args["pin"] = true;
  SSI_TRY(client.call("loadlevel.disable", args));
  return {};
}

}  // namespace

Result<RemoteRun> parse_remote_run(const std::vector<std::string>& arguments) {
  RemoteRun run;
  std::size_t at = 0;
  for (; at < arguments.size() && arguments[at].starts_with("-") && arguments[at] != "-"; ++at) {
    if (arguments[at] != "-p" && arguments[at] != "--pin") {
      return Error(ErrorCode::kUsage, "unknown option " + arguments[at] + " (see --help)");
    }
    run.pinned = true;
  }
  if (at == arguments.size()) return Error(ErrorCode::kUsage, "NODE is missing (see --help)");
  run.node = arguments[at++];
  if (at < arguments.size() && arguments[at] == "--") ++at;
  if (at == arguments.size()) return Error(ErrorCode::kUsage, "CMD is missing (see --help)");
  run.command.assign(arguments.begin() + static_cast<std::ptrdiff_t>(at), arguments.end());
  return run;
}

Result<> go_to(const std::string& node, bool pinned) {
  if (pinned) SSI_TRY(pin_here());
  const std::string here = place();
  const auto ssid = ssid_here();
  WordFromSsid word;
  {
    SSI_ASSIGN(auto client, ControlClient::connect());
    nlohmann::json args;
    args["node"] = node;
    // Stopping at the first part closes the connection: with it we could not be moved.
    SSI_ASSIGN(const auto answer,
               client.stream("runon", args, [](const nlohmann::json&) { return false; }));
    if (!answer.is_null()) return {};  // it is this node
  }
  for (int looks = 0; looks < kLooksWithoutSsid;) {
    const bool told = word.wait();
    if (place() != here) return {};
    if (!told && ssid_here() == ssid) continue;
    auto client = ControlClient::connect();
    if (!client) {
      ++looks;  // the next ssid is not up yet
      continue;
    }
    auto outcome = client->call("runon.outcome", nlohmann::json::object());
    if (place() != here) return {};  // it came between the two questions
    if (!outcome && outcome.error().code() != ErrorCode::kBusy) return std::move(outcome).error();
  }
  return Error("ssid has gone away");
}

int become(const std::string& name, const std::vector<std::string>& command) {
  const int error = execute(command);
  (void)fail(name, command.front(), Error(std::strerror(error)));
  return error == ENOENT ? kExitNotFound : kExitCannotRun;
}

}  // namespace ssi::cli
