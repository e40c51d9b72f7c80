#!/usr/bin/python3
"""A person before a terminal emulator (tmux) on node 1, whose full-screen programs and jobs run on node 2 or are moved
there. The same keys are typed for a program that runs here and for one that runs there: after each step the
whole screen must look the same."""

import re
import sys
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import observe  # noqa: E402
from lab import Lab  # noqa: E402
from tmux import COLUMNS, PROMPT, ROWS, Tmux  # noqa: E402

NODES = (1, 2, 3)
RUNON = "runon 2 "
WIDE = (120, 40)
STOPPED = r"^\[1\]\+ +Stopped +.*\n"
BACK = rf"(?m)^{re.escape(PROMPT.rstrip())}$\Z"
LINES = "seq 500 > /tmp/numbers"
# Says a number twenty times a second, on a line of its own.
TICKS = '$| = 1; print "pid $$\n"; while (1) { print ++$n, "\n"; select undef, undef, undef, 0.05 }'


def keys(*names, text="", shows):
    """A step: these keys, then this text and Enter if there is one; then that is on the screen."""
    def act(window):
        if names:
            window.keys(*names)
        if text:
            window.type(text)

    return act, shows


def line(text, shows):
    def act(window):
        window.type(text)
        window.keys("Enter")

    return act, shows


def resize(columns, rows, shows):
    return lambda window: window.resize(columns, rows), shows


SUSPEND = [keys("C-z", shows=STOPPED), line("jobs", shows=r"jobs\n" + STOPPED)]


def seen(window, prefix):
    """What a person takes in; the command that was typed as it is without prefix. Before the shell's prompt the row is
    of no interest: it depends on what was there before."""
    full = window.in_full_screen()
    lines = [text.replace(prefix, "") if prefix else text for text in window.lines()]
    return lines, window.cursor() if full else window.cursor()[0], full


class Emulator(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.lab = Lab(len(NODES), name="t_tmux")
        cls.addClassCleanup(cls.lab.down)
        cls.lab.up()
        observe.wait_for_loads(cls.lab)
        cls.tmux = Tmux(cls.lab, 1, "t_tmux")

    def setUp(self):
        self.window = self.open_window()
        self.modes = self.terminal_modes()

    def open_window(self):
        window = self.tmux.window()
        self.addCleanup(window.close)
        return window

    def terminal_modes(self, window=None):
        return (window or self.window).command("stty -a")

    def assert_usable(self):
        """At the prompt, all of the terminal is as it was; keys are shown once."""
        self.window.resize(COLUMNS, ROWS)
        self.assertEqual(self.terminal_modes(), self.modes)
        self.assertEqual(self.window.command("echo still here"), ["still here"])
        self.assertFalse(self.window.in_full_screen())
        self.assertEqual(self.window.command("jobs; true"), [])

    def node_of(self, pid):
        return [row["node"] for row in observe.ask(self.lab, 1, "ssips")["rows"] if row["pid"] == str(pid)]

    def is_on(self, pid, node):
        self.lab.wait_for(lambda: self.node_of(pid) == [node], 10, f"{pid} is on node {node}")

    def guest(self, name):
        """The PID of the only guest of this name."""
        def found():
            rows = observe.ask(self.lab, 1, "ssips")["rows"]
            return [int(row["pid"]) for row in rows if row["comm"] == name]

        return self.lab.wait_for(lambda: len(pids := found()) == 1 and pids, 10, f"one guest {name}")[0]

    # The same screens

    def play(self, command, steps, prefix="", expected=None):
        """What was seen after each step; or, if it is known, waits until just that is seen."""
        window = self.open_window()
        modes = self.terminal_modes(window)
        window.keys("C-l")
        all_seen = []
        for number, (act, shows) in enumerate([line(prefix + command, steps[0]), *steps[1:]]):
            act(window)
            window.wait_for_text(shows)
            now = self.settled(window, prefix, expected and expected[number])
            if expected:
                self.assertEqual(now, expected[number], f"{prefix}{command}, step {number}")
            all_seen.append(now)
        window.resize(COLUMNS, ROWS)
        self.assertEqual(self.terminal_modes(window), modes)
        return all_seen

    def settled(self, window, prefix, expected):
        """As soon as it is as expected; else when nothing has changed for a while."""
        last, since = None, time.monotonic()
        while time.monotonic() - since < (5 if expected else 0.2):
            now = seen(window, prefix)
            if now == expected:
                break
            if now != last and not expected:
                last, since = now, time.monotonic()
            time.sleep(0.02)
        return now

    def assert_same_there(self, command, *steps, before="true"):
        runs = []
        for prefix in ("", RUNON):
            self.lab.run(1, ["sh", "-c", before])
            runs.append(self.play(command, steps, prefix, runs[0] if runs else None))

    def test_vim(self):
        self.assert_same_there(
            "vim /tmp/text",
            r'"/tmp/text" \[New\]',
            keys("i", text="first", shows=r"\Afirst\n~(.|\n)*-- INSERT --"),
            keys("Enter", text="wörld", shows=r"\Afirst\nwörld\n~"),
            keys("Escape", shows=r"\Afirst\nwörld\n~"),
            *SUSPEND,
            line("fg", shows=r"\Afirst\nwörld\n~"),
            resize(*WIDE, shows=r"\Afirst\nwörld\n(~\n){37}"),
            line(":split", shows=r"/tmp/text.*\n(.|\n)*/tmp/text"),
            keys("y", "y", "p", shows=r"\Afirst\nwörld\nwörld\n"),
            resize(60, 20, shows=r"\Afirst\nwörld\nwörld\n"),
            line(":wqa", shows=BACK),
            line("clear; cat /tmp/text; ls -A /tmp | grep swp", shows=r"\Afirst\nwörld\nwörld\nhere\$\Z"),
            before="rm -f /tmp/text")

    def test_less(self):
        self.assert_same_there(
            "less /tmp/numbers",
            r"\A1\n(.|\n)*^29\n/tmp/numbers\Z",
            keys("Space", shows=r"^58\n:\Z"),
            line("/77", shows=r"\A77\n"),
            keys("n", shows=r"\A177\n"),
            resize(*WIDE, shows=r"\A177\n(.|\n)*^215\n:\Z"),
            *SUSPEND,
            line("fg", shows=r"\A177\n(.|\n)*^215\n:\Z"),
            keys("G", shows=r"^500\n\(END\)\Z"),
            keys("g", shows=r"\A1\n(.|\n)*^39\n:\Z"),
            keys("q", shows=BACK),
            before=LINES)

    def test_less_has_its_keys_from_the_terminal_if_its_input_is_none(self):
        self.assert_same_there(
            "less < /tmp/numbers",
            r"\A1\n(.|\n)*^29\n:\Z",
            keys("Space", shows=r"^58\n:\Z"),
            *SUSPEND,
            line("fg", shows=r"^58\n:\Z"),
            keys("q", shows=BACK),
            before=LINES)

    def test_an_editor_that_a_program_starts(self):
        self.assert_same_there(
            "sh -c 'vim /tmp/numbers; echo after'",
            r'"/tmp/numbers" 500L',
            *SUSPEND,
            line("fg", shows=r"\A1\n2\n3\n"),
            line(":q", shows=r"after\n" + BACK[4:]),
            before=LINES)

    def test_a_shell_with_jobs_of_its_own(self):
        self.assert_same_there(
            "env PS1='there> ' bash --norc --noprofile -i",
            r"there>\Z",
            line("sleep 100", shows=r"sleep 100\n?\Z"),
            keys("C-z", shows=STOPPED),
            line("bg", shows=r"sleep 100 &\nthere>\Z"),
            line("jobs", shows=r"Running +sleep 100 &\nthere>\Z"),
            line("fg", shows=r"fg\nsleep 100\Z"),
            keys("C-c", shows=r"there>\Z"),
            line("echo $?", shows=r"130\nthere>\Z"),
            keys("Up", "C-a", "M-f", text=" edited", shows=r"there> echo edited \$\?\Z"),
            keys("Enter", shows=r"edited 0\nthere>\Z"),
            line("less /tmp/numbers", shows=r"^29\n/tmp/numbers\Z"),
            keys("C-z", shows=STOPPED),
            line("fg", shows=r"^29\n"),
            keys("q", shows=r"there>\Z"),
            line("exit", shows=r"exit\nhere\$\Z"),
            before=LINES)

    def test_a_password_is_not_shown(self):
        self.assert_same_there(
            "bash -c 'read -s -p Password: word; echo; echo got $word'",
            r"Password:\Z",
            keys(text="secret", shows=r"Password:\Z"),
            keys("Enter", shows=r"got secret\n" + BACK[4:]))

    def test_python_at_a_prompt(self):
        self.assert_same_there(
            "python3 -q",
            r">>>\Z",
            line("1 + 1", shows=r"^2\n>>>\Z"),
            keys(text="wrong", shows=r">>> wrong\Z"),
            keys("C-c", shows=r"KeyboardInterrupt\n>>>\Z"),
            keys("C-d", shows=BACK))

    # Jobs

    def status(self, number):
        self.assertEqual(self.window.command("echo $?"), [str(number)])

    def test_ctrl_c_and_what_the_shell_is_told(self):
        for key, number in (("C-c", 130), ("C-\\", 131)):
            self.window.start(RUNON + "sleep 100")
            self.is_on(self.guest("sleep"), 2)
            self.window.keys(key)
            self.window.wait_for_prompt()
            self.status(number)
        self.assert_usable()

    def stop_and_continue(self, pid, job):
        """`job`, which has the terminal, is stopped and continued in every way; it has the terminal again."""
        window = self.window
        window.keys("C-z")
        window.wait_for_text(STOPPED)
        window.wait_for_prompt()
        self.assertRegex("\n".join(window.command("jobs")), rf"\A\[1\]\+ +Stopped +{re.escape(job)}\Z")
        self.is_stopped(pid)
        window.start("bg")
        self.is_stopped(pid, False)
        window.start("jobs -r > /tmp/jobs; fg")  # what it shows may have scrolled away already
        self.lab.wait_for(lambda: "+" in self.lab.run(1, ["ps", "-o", "stat=", "-p", str(pid)]).stdout, 10, "fg")
        self.assertRegex(self.lab.path(1, "/tmp/jobs").read_text(), rf"\A\[1\]\+ +Running +{re.escape(job)} &$")

    def is_stopped(self, pid, stopped=True):
        def state():
            rows = observe.ask(self.lab, 1, "ssips")["rows"]
            return [row["stat"][:1] for row in rows if row["pid"] == str(pid)]

        self.lab.wait_for(lambda: (state() == ["T"]) == stopped, 10, f"{pid} is stopped: {stopped}")

    def test_ctrl_z_bg_jobs_fg(self):
        job = RUNON + "sleep 100"
        self.window.start(job)
        pid = self.guest("sleep")
        self.is_on(pid, 2)
        self.stop_and_continue(pid, job)
        self.window.keys("C-c")
        self.window.wait_for_prompt()
        self.status(130)
        self.assert_usable()

    def test_a_job_is_moved_while_it_has_the_terminal(self):
        self.lab.path(1, "/root/ticks.pl").write_text(TICKS)
        job = "perl /root/ticks.pl"
        self.window.keys("C-l")
        self.window.start(job)
        pid = int(self.window.wait_for_text(r"^pid (\d+)$").group(1))
        other = self.open_window()
        for node in (2, 3, 1, 2):
            said = other.command(f"migrate {pid} {node}")
            self.assertRegex(said[0], rf"^{pid}: \d -> {node}, frozen ")
            self.is_on(pid, node)
            self.counts_on()
        self.stop_and_continue(pid, job)
        self.counts_on()
        self.window.keys("C-c")
        self.window.wait_for_prompt()
        self.status(130)
        self.assert_usable()

    def counts_on(self):
        """New numbers come, and what is shown has neither gap nor repetition."""
        def numbers(lines):
            # One may stand behind what was typed at that moment.
            ends = [re.search(r"\d+$", text) for text in lines if not text.startswith("pid")]
            return [int(end.group()) for end in ends if end]

        last = self.window.wait_for(lambda lines: numbers(lines)[-1:], "a number")[0]
        shown = self.window.wait_for(lambda lines: numbers(lines)[-1:] > [last + 4] and numbers(lines), "more numbers")
        self.assertEqual(shown, list(range(shown[0], shown[-1] + 1)))

    def test_moves_while_an_editor_has_the_screen(self):
        """Of another program, and of the editor itself."""
        window, other = self.window, self.open_window()
        self.lab.run(1, ["sh", "-c", LINES])
        window.keys("C-l")
        window.start("perl -e '1 while 1' &")
        job = int(window.wait_for_text(r"^\[1\] (\d+)$").group(1))
        window.start("sh -c 'echo $$ > /tmp/editor; exec vim /tmp/numbers'")
        window.wait_for_text(r'"/tmp/numbers" 500L')
        editor = int(self.lab.path(1, "/tmp/editor").read_text())
        window.keys("5", "G")
        window.wait_for(lambda lines: window.cursor() == (0, 4), "the cursor in line 5")
        before = window.screen()[:-1]  # the last row is for messages
        for pid, node in ((job, 2), (editor, 2), (job, 3), (editor, 3), (editor, 1), (job, 1)):
            self.assertRegex(other.command(f"migrate {pid} {node}")[0], rf"^{pid}: \d -> {node}, frozen ")
            self.assertEqual(window.screen()[:-1], before)
            window.keys("j", "k")
            window.resize(*WIDE)
            window.wait_for_text(r"\A1\n(.|\n)*^39\n")
            window.resize(COLUMNS, ROWS)
            window.wait_for(lambda lines: window.screen()[:-1] == before, "the screen as it was")
        window.start(":q")
        window.wait_for_prompt()
        self.assertFalse(window.in_full_screen())
        window.command("kill %1; wait")
        self.assert_usable()

    def test_the_shells_kill_reaches_all_of_the_job(self):
        window = self.window
        window.keys("C-l")
        window.start(RUNON + "bash -c 'trap \"echo cleaned up; exit 3\" TERM; echo ready; sleep 300'")
        window.wait_for_text(r"^ready$")
        window.keys("C-z")
        window.wait_for_text(STOPPED)
        window.start("kill %1; fg")
        window.wait_for_text(r"^cleaned up$")
        window.wait_for_prompt()
        self.status(3)
        self.assert_usable()


if __name__ == "__main__":
    unittest.main(verbosity=2)
