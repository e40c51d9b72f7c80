// ssips: ps over the whole cluster.
#include <pwd.h>
#include <unistd.h>

#include <array>
#include <ctime>
#include <map>

#include "loadlevel/cli/command.h"
#include "loadlevel/cli/ssips_text.h"

using namespace ssi;
using namespace ssi::cli;

namespace {

std::string user_name(std::int64_t uid) {
  static std::map<std::int64_t, std::string> known;
  const auto [at, fresh] = known.try_emplace(uid);
  passwd entry{};
  passwd* found = nullptr;
  std::array<char, 16384> buffer{};
  if (fresh &&
      ::getpwuid_r(static_cast<uid_t>(uid), &entry, buffer.data(), buffer.size(), &found) == 0 &&
      found != nullptr)
    at->second = found->pw_name;
  return at->second;
}

PsAsker asker() {
  PsAsker self{.uid = ::geteuid(), .now_s = std::time(nullptr), .user_name = user_name};
  for (const int fd : {STDERR_FILENO, STDIN_FILENO, STDOUT_FILENO}) {
    std::array<char, 256> name{};
    if (::ttyname_r(fd, name.data(), name.size()) != 0) continue;
    const std::string path = name.data();
    self.tty = path.starts_with("/dev/") ? path.substr(5) : path;
    break;
  }
  return self;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("ps over the whole cluster: where each process runs, its home, how often it moved.",
               "ssips");
  PsOptions options;
  std::vector<std::string> words;
  bool full = false, json = false, no_titles = false, ignored = false;
  app.add_flag("-e,-A", options.everyone, "all processes of all nodes");
  app.add_flag("-a", options.terminals, "all with a terminal");
  app.add_flag("-f", full, "full: user, parent, start, command line");
  app.add_flag("-w", ignored, "lines are never cut anyway");
  app.add_option("-u,-U,--user", options.users, "those of these users")
      ->delimiter(',')
      ->allow_extra_args(false);
  app.add_option("-p,--pid", options.pids, "these processes")
      ->delimiter(',')
      ->allow_extra_args(false);
  app.add_option("-o,--format", options.columns, "columns: " + ps_column_names())
      ->delimiter(',')
      ->allow_extra_args(false);
  app.add_flag("--no-headers", no_titles, "no line of titles");
  app.add_flag("--json", json, "print ssid's answer as JSON");
  app.add_option("WORDS", words, "BSD options without a dash (aux, ax, u), or PIDs");
  if (auto status = parse_arguments(app, argc, argv)) return *status;

  if (full) options.format = PsOptions::Format::kFull;
  options.titles = !no_titles;
  for (const std::string& word : words)
    if (auto parsed = parse_bsd_word(word, options); !parsed)
      return fail("ssips", "usage", parsed.error());
  // A column that does not exist is found before ssid is asked.
  if (auto checked = ssips_text({}, options, {}); !checked)
    return fail("ssips", "usage", checked.error());

  const Question question{.name = "ssips", .what = "", .op = "ssips", .json = json};
  bool stands = false;
  const int status = ask_and_print(question, [&](const nlohmann::json& answer) {
    stands = answer.value("group_stands", false);
    const std::string silent = ssips_silent(answer);
    if (!silent.empty())
      (void)fail(
          "ssips", "node " + silent,
          Error(stands
                    ? "was not asked, its processes are missing: corosync of this node stands still"
                    : "gave no answer, its processes are missing"));
    return ssips_text(answer, options, asker()).value();
  });
  return stands && status == 0 ? 1 : status;
}
