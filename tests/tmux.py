"""A person before a terminal emulator: tmux on a lab node, with windows that have a shell in them. Sees what the screen
shows, as the emulator has understood it: not the bytes."""

import re
import time

PROMPT = "here$ "
COLUMNS, ROWS = 100, 30
# What a screen that is waited for must do within.
SHOWN_S = 15


class Tmux:
    """A server of its own; `with`, or close()."""

    def __init__(self, lab, node, name):
        self.lab, self.node, self.name = lab, node, name
        self.windows = 0
        self.tmux("-f", "/dev/null", "new-session", "-d", "-s", name, "-x", str(COLUMNS), "-y", str(ROWS), "cat")
        for option in ("status off", f"default-size {COLUMNS}x{ROWS}", "default-terminal screen-256color", "escape-time 10"):
            self.tmux("set-option", "-g", *option.split())

    def tmux(self, *arguments):
        return self.lab.run(self.node, ["tmux", "-L", self.name, *arguments], env={"LANG": "C.UTF-8"}, timeout=20).stdout

    def window(self):
        self.windows += 1
        return Window(self, f"{self.name}:{self.windows}")

    def close(self):
        self.tmux("kill-server")


class Window:
    """One with an interactive bash."""

    def __init__(self, server, target):
        self.server, self.target = server, target
        server.tmux(
            "new-window", "-d", "-t", target, "env", f"PS1={PROMPT}", "HISTFILE=", "bash", "--norc", "--noprofile", "-i")
        self.resize(COLUMNS, ROWS)
        self.wait_for_prompt()

    # What a person does

    def keys(self, *names):
        """Keys by tmux's names: C-c, Enter, Escape, PageDown."""
        self.server.tmux("send-keys", "-t", self.target, *names)

    def type(self, text):
        self.server.tmux("send-keys", "-t", self.target, "-l", text)

    def start(self, line):
        """Types a command that will keep the terminal."""
        self.type(line)
        self.keys("Enter")

    def command(self, line):
        """What the command shows, until the next prompt."""
        self.keys("C-l")  # the top of the screen is ours
        self.wait_for_prompt()
        self.start(line)
        self.wait_for(lambda lines: lines[0].endswith(line) and lines[-1] == PROMPT.rstrip() and len(lines) > 1,
                      f"the end of {line!r}")
        return self.lines()[1:-1]

    def resize(self, columns, rows):
        self.server.tmux("resize-window", "-t", self.target, "-x", str(columns), "-y", str(rows))
        # tmux tells the terminal a quarter of a second later.
        tty, lab = self.ask("#{pane_tty}"), self.server.lab

        def told():
            return lab.run(self.server.node, ["stty", "-F", tty, "size"]).stdout.split() == [str(rows), str(columns)]

        lab.wait_for(told, SHOWN_S, f"a terminal of {columns} columns and {rows} rows")

    def close(self):
        self.server.tmux("kill-window", "-t", self.target)

    # What a person sees

    def screen(self):
        """All rows, without what is blank at their ends."""
        return self.server.tmux("capture-pane", "-p", "-t", self.target).split("\n")[:-1]

    def lines(self):
        """The rows down to the last that is not blank."""
        return "\n".join(self.screen()).rstrip().split("\n")

    def ask(self, form):
        return self.server.tmux("display-message", "-p", "-t", self.target, form).strip()

    def in_full_screen(self):
        return self.ask("#{alternate_on}") == "1"

    def cursor(self):
        """(column, row) from 0"""
        return tuple(map(int, self.ask("#{cursor_x} #{cursor_y}").split()))

    def wait_for(self, seen, what, timeout_s=SHOWN_S):
        """Until `seen`, which is given the lines, is true."""
        deadline = time.monotonic() + timeout_s
        while not (value := seen(lines := self.lines())):
            if time.monotonic() > deadline:
                raise AssertionError(f"{what}: was not seen within {timeout_s} s, but:\n" + "\n".join(lines))
            time.sleep(0.03)
        return value

    def wait_for_text(self, pattern, **options):
        """The match of that in the screen's text, each row of which is a line."""
        return self.wait_for(lambda lines: re.search(pattern, "\n".join(lines), re.M), repr(pattern), **options)

    def wait_for_prompt(self):
        """The cursor behind a prompt in the last line that is not blank."""
        def at_prompt(lines):
            return lines[-1] == PROMPT.rstrip() and self.cursor() == (len(PROMPT), len(lines) - 1)

        return self.wait_for(at_prompt, "a prompt")
