// A program that is moved while it uses what it has open, one thing of each KIND, round after round
// without pause. On SIGTERM it says for each "KIND: ok" or what was wrong, and how many rounds it
// made; the last line is PASS or FAIL. A wrong round is told once, and the kind is left alone.
//
//   fds_probe REPORT DIRECTORY KIND...
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tests/programs/fds_probe/kind.h"
#include "tests/programs/fds_probe/kinds.h"

namespace fds_probe {
namespace {

Makers all_makers(const volatile sig_atomic_t& finish) {
  Makers makers;
  add_file_kinds(makers);
  add_deleted_kinds(makers);
  add_path_handle_kinds(makers);
  add_kernel_file_kinds(makers);
  add_pipe_kinds(makers, finish);
  add_lock_kinds(makers);
  add_memory_kinds(makers);
  add_event_kinds(makers);
  add_process_kinds(makers);
  add_terminal_kinds(makers);
  add_netlink_kinds(makers);
  return makers;
}

struct Used {
  std::string name;
  std::unique_ptr<Kind> kind;
  std::string wrong{};
  Number rounds = 0;

  void try_to(const std::function<void()>& act) {
    if (!wrong.empty()) return;
    try {
      act();
    } catch (const std::exception& e) {
      wrong = e.what();
    }
  }
};

int run(int argc, char** argv) {
  if (argc < 4) {
    std::fprintf(stderr, "usage: fds_probe REPORT DIRECTORY KIND...\n");
    return 2;
  }
  std::FILE* report = std::fopen(argv[1], "we");
  if (report == nullptr) return 1;
  static volatile sig_atomic_t finish = 0;  // for the handler
  const Makers makers = all_makers(finish);
  std::vector<Used> used;
  for (int i = 3; i < argc; ++i) {
    const auto maker = makers.find(argv[i]);
    if (maker == makers.end()) return 2;
    try {
      used.push_back({argv[i], maker->second(argv[2])});
    } catch (const std::exception& e) {
      std::fprintf(report, "%s: %s\nFAIL\n", argv[i], e.what());
      return 1;
    }
  }
  struct sigaction action {};
  action.sa_handler = [](int) { finish = 1; };  // and what waits is interrupted
  ::sigaction(SIGTERM, &action, nullptr);
  std::fprintf(report, "ready\n");
  std::fflush(report);
  while (finish == 0) {
    for (Used& u : used) {
      u.try_to([&] { u.kind->round(++u.rounds); });
    }
    ::usleep(200);
  }
  bool good = true;
  for (Used& u : used) {
    u.try_to([&] { u.kind->end(u.rounds); });
    good &= u.wrong.empty();
    std::fprintf(report, "%s: %s, %llu rounds\n", u.name.c_str(),
                 u.wrong.empty() ? "ok" : u.wrong.c_str(), u.rounds);
  }
  std::fprintf(report, "%s\n", good ? "PASS" : "FAIL");
  std::fclose(report);
  return good ? 0 : 1;
}

}  // namespace
}  // namespace fds_probe

int main(int argc, char** argv) { return fds_probe::run(argc, argv); }
