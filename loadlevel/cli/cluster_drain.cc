#include "loadlevel/cli/cluster_drain.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <memory>
#include <thread>

#include "loadlevel/cli/drain_text.h"
#include "loadlevel/cli/reply.h"

namespace ssi::cli {
namespace {

constexpr const char* kClearLine = "\r\033[K";

// From here on SIGINT is a word for whoever watches, and the end. `drained`: as far as is known.
void say_on_interrupt(const Question& question, std::shared_ptr<std::atomic<bool>> drained,
                      bool after_bar) {
  sigset_t interrupt;
  sigemptyset(&interrupt);
  sigaddset(&interrupt, SIGINT);
  ::pthread_sigmask(SIG_BLOCK, &interrupt, nullptr);
  std::thread([interrupt, question, drained, after_bar] {
    int signo = 0;
    while (::sigwait(&interrupt, &signo) != 0) {
    }
    if (after_bar) (void)print(question.name, "\n");
    const std::string node = question.args["node"];
    (void)fail(question.name, question.what, Error(drain_interrupted_text(node, *drained)));
    ::_exit(128 + signo);
  }).detach();
}

}  // namespace

int drain_node(Question question) {
  question.timeout_ms = 0;  // moves have their own time limits
  const bool bar = !question.json && ::isatty(STDOUT_FILENO) == 1;
  auto drained = std::make_shared<std::atomic<bool>>(false);
  say_on_interrupt(question, drained, bar);
  bool written = true;
  const auto [answer, status] = ask(question, [&](const nlohmann::json& part) {
    *drained = true;
    if (question.json) return true;
    std::string text = drain_part_text(part);
    if (bar) text = kClearLine + text + drain_bar(part);
    written = text.empty() || print(question.name, text);
    return written;
  });
  if (!answer || !written) return answer ? kExitFailed : status;
  if (question.json) {
    if (print_json(question, *answer) != 0) return kExitFailed;
  } else if (!print(question.name, (bar ? kClearLine : "") + drain_text(*answer))) {
    return kExitFailed;
  }
  return integer_at(*answer, "guests_left") > 0 ? kExitFailed : 0;
}

}  // namespace ssi::cli
