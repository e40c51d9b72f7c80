#include "loadlevel/cli/mon_display.h"

#define NCURSES_NOMACROS  // they would replace std::move
#include <ncurses.h>
#include <unistd.h>

#include <algorithm>
#include <memory>

#include "loadlevel/cli/mon_frame.h"

namespace ssi::cli {
namespace {

constexpr int kPeriodMs = 1000;

void draw(const std::vector<std::string>& lines) {
  ::erase();
  for (std::size_t row = 0; row < lines.size(); ++row) {
    ::mvaddnstr(static_cast<int>(row), 0, lines[row].data(), static_cast<int>(lines[row].size()));
  }
  ::refresh();
}

// Pressed again, the key of a view gives back the one with both.
void toggle(MonView& view, MonView wanted) { view = view == wanted ? MonView::kBoth : wanted; }

// False: enough.
bool obey(int key, MonScreen& screen, int last_first) {
  switch (key) {
    case 'q':
      return false;
    case 'l':
      toggle(screen.view, MonView::kLoad);
      return true;
    case 'm':
      toggle(screen.view, MonView::kMemory);
      return true;
    case 'u':
      toggle(screen.view, MonView::kUse);
      return true;
    case 'h':
      screen.help = !screen.help;
      return true;
    case KEY_UP:
      screen.first_node = std::max(0, screen.first_node - 1);
      return true;
    case KEY_DOWN:
      screen.first_node = std::min(screen.first_node + 1, last_first);
      return true;
    default:
      return true;
  }
}

}  // namespace

Result<> run_mon(const std::function<Result<MonAnswers>()>& ask) {
  const std::unique_ptr<SCREEN, decltype(&::delscreen)> terminal(::newterm(nullptr, stdout, stdin),
                                                                 &::delscreen);
  if (!terminal) return Error("this terminal can't be drawn on (TERM)");
  const std::unique_ptr<WINDOW, void (*)(WINDOW*)> drawn(stdscr, [](WINDOW*) { ::endwin(); });
  ::cbreak();
  ::noecho();
  ::keypad(stdscr, TRUE);
  ::curs_set(0);

  MonScreen screen;
  MonAnswers answers;
  Result<> state;
  bool due = true;
  for (;;) {
    if (due) {
      auto asked = ask();
      state = asked ? Result<>() : std::move(asked).error();
      if (asked) answers = std::move(*asked);
    }
    getmaxyx(stdscr, screen.rows, screen.columns);
    auto lines = mon_frame(answers.status, answers.events, screen);
    if (!state && !lines.empty()) lines.front() = "mon: " + state.error().message();
    draw(lines);
    ::timeout(kPeriodMs);
    const int key = ::getch();
    due = key == ERR;  // the time is over
    const int nodes = answers.status.is_object() && answers.status.contains("nodes")
                          ? static_cast<int>(answers.status["nodes"].size())
                          : 0;
    if (!obey(key, screen, std::max(0, nodes - mon_node_rows(answers.status, screen)))) return {};
  }
}

}  // namespace ssi::cli
