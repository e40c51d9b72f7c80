#include "ssid/carrier/node_views_process.h"

#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>

#include "ssid/base/log.h"
#include "ssid/base/spawn.h"

namespace ssi {
namespace {

constexpr std::chrono::milliseconds kAgain{500};

}  // namespace

NodeViewsProcess::NodeViewsProcess(std::vector<std::string> argv)
    : argv_(std::move(argv)), thread_([this] { run(); }) {}

NodeViewsProcess::~NodeViewsProcess() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
    if (child_ != 0) ::kill(child_, SIGKILL);
  }
  wake_.notify_all();
  thread_.join();
}

void NodeViewsProcess::run() {
  std::unique_lock lock(mutex_);
  while (!stop_) {
    const auto child = spawn({.argv = argv_, .descriptors = {}, .stderr_fd = STDERR_FILENO});
    if (!child) {
      log_error("/cluster/node: {}", child.error().message());
    } else {
      child_ = *child;
      lock.unlock();
      // It is not reaped before child_ is forgotten: nobody else gets its number meanwhile.
      siginfo_t ended{};
      while (::waitid(P_PID, static_cast<id_t>(*child), &ended, WEXITED | WNOWAIT) != 0 &&
             errno == EINTR) {
      }
      lock.lock();
      child_ = 0;
      ::waitpid(*child, nullptr, 0);
      if (!stop_) log_warning("/cluster/node: its process ended ({})", ended.si_status);
    }
    wake_.wait_for(lock, kAgain, [&] { return stop_; });
  }
}

}  // namespace ssi
