#!/usr/bin/python3
"""A person at a shell on node 1, whose commands run on other nodes, or are moved there while they have the
terminal: keys, lines, Ctrl-C, Ctrl-Z and fg, full-screen programs, resizing; the shell never loses a line."""

import errno
import re
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import observe  # noqa: E402
from lab import Lab  # noqa: E402
from terminal import Terminal  # noqa: E402

NODES = (1, 2, 3)
MOVES = 50  # of one that is typed to at each place, and on its way
PROMPT = r"\$ $"
# Reads a line, says it, again and again; shows its PID first.
ECHO = "sh -c 'echo pid $$; while read line; do echo \"<$line>\"; done; echo end of input'"

# Takes no notice of the hang-up; tells in a file how its terminal is, each time that it is told to.
SURVIVOR = r"""
import os, signal, time
signal.signal(signal.SIGHUP, signal.SIG_IGN)
print("pid", os.getpid(), flush=True)
def trial(act):
    try:
        return act()
    except OSError as e:
        return e.errno
while True:
    time.sleep(0.02)
    if os.path.exists("/tmp/tell"):
        text = f"{os.isatty(0)} {trial(lambda: os.read(0, 9))} {trial(lambda: os.write(1, b'x'))}"
        with open("/tmp/told.new", "w") as file:
            file.write(text)
        os.rename("/tmp/told.new", "/tmp/told")
        os.unlink("/tmp/tell")
"""


class Terminals(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.lab = Lab(len(NODES), name="t_terminal")
        cls.addClassCleanup(cls.lab.down)
        cls.lab.up()
        observe.wait_for_loads(cls.lab)

    def setUp(self):
        self.tty = Terminal(self.lab, 1, ["env", "TERM=xterm", "PS1=$ ", "dash", "-i"])
        self.addCleanup(self.tty.close)
        self.tty.expect(PROMPT)

    def command(self, line):
        self.tty.type(line + "\n")
        self.tty.expect(re.escape(line) + r"\r\n")

    def is_on(self, pid, node):
        def there():
            rows = observe.ask(self.lab, 1, "ssips", "-p", str(pid))["rows"]
            return [row["node"] for row in rows if row["pid"] == str(pid)] == [node]

        self.lab.wait_for(there, 10, f"{pid} on node {node}")

    def stays_usable(self):
        self.command("stty -a | grep -o ' icanon\\| echo '")
        self.tty.expect(r" icanon\r\n echo \r\n" + PROMPT)
        self.command("echo still here")
        self.tty.expect(r"still here\r\n" + PROMPT)

    def start_echo(self, prefix="runon 2 "):
        self.command(prefix + ECHO)
        return int(self.tty.expect(r"pid (\d+)\r\n").group(1))

    def test_lines_and_the_end_of_input(self):
        pid = self.start_echo()
        self.is_on(pid, 2)
        for word in ("one", "two words", ""):
            self.tty.type(word + "\n")
            self.tty.expect(rf"{word}\r\n<{word}>\r\n")
        self.tty.type("mistyped\x15right\n")  # Ctrl-U
        self.tty.expect(r"<right>\r\n")
        self.tty.type("\x04")
        self.tty.expect(r"end of input\r\n" + PROMPT)
        self.stays_usable()

    def test_what_is_typed_ahead_is_the_shells(self):
        self.command("runon 2 sleep 2")
        self.tty.type("echo typed ahead\n")
        self.tty.expect(r"echo typed ahead\r\n\$ typed ahead\r\n" + PROMPT)

    def test_ctrl_c(self):
        self.command("runon 2 sleep 300; echo status $?")
        self.tty.quiet(2)
        self.tty.type("\x03")
        self.tty.expect(PROMPT)
        self.command("echo $?")
        self.tty.expect(r"130\r\n" + PROMPT)

    def test_ctrl_c_reaches_what_a_guest_has_started(self):
        for command in ("sh -c 'sleep 300; echo not reached'", "sh -c '(sleep 300; echo not reached) | cat'"):
            self.command(f"runon 2 {command}")
            self.tty.quiet(2)
            self.tty.type("\x03")
            self.tty.expect(PROMPT)
            self.command("echo $?")
            self.tty.expect(r"130\r\n" + PROMPT)

    def test_a_shell_there(self):
        self.command("PS1='there$ ' runon 2 dash -i")
        self.tty.expect(r"there\$ $")
        self.command("sleep 300")
        self.tty.quiet(1)
        self.tty.type("\x1a")
        self.tty.expect(r"Stopped.*\r\nthere\$ $")
        self.command("fg")
        self.tty.quiet(1)
        self.tty.type("\x03")
        self.tty.expect(r"there\$ $")
        self.command("echo $?")
        self.tty.expect(r"130\r\nthere\$ $")
        self.tty.type("exit\n")
        self.tty.expect(PROMPT)
        self.stays_usable()

    def test_ctrl_z_and_fg(self):
        pid = self.start_echo()
        self.tty.type("before\n")
        self.tty.expect(r"<before>\r\n")
        self.tty.type("\x1a")
        self.tty.expect(r"Stopped.*\r\n" + PROMPT)
        self.command("echo the shell reads this")
        self.tty.expect(r"the shell reads this\r\n" + PROMPT)
        self.command("fg")
        self.tty.type("after\n")
        self.tty.expect(r"<after>\r\n")
        observe.migrate(self.lab, pid, 3)
        self.tty.type("\x1a")
        self.tty.expect(r"Stopped.*\r\n" + PROMPT)
        self.command("fg")
        self.tty.type("elsewhere\n")
        self.tty.expect(r"<elsewhere>\r\n")
        self.tty.type("\x04")
        self.tty.expect(r"end of input\r\n" + PROMPT)

    def test_a_background_job_that_reads_is_stopped(self):
        self.command(f"runon 2 {ECHO} &")
        self.tty.expect(r"pid \d+\r\n")
        self.command("echo the shell reads this")
        self.tty.expect(r"the shell reads this\r\n" + PROMPT)
        self.lab.wait_for(
            lambda: (self.tty.type("jobs\n"), self.tty.expect(r"jobs\r\n((.|\n)*?)\$ $"))[1].group(1).find("Stopped") >= 0,
            20, "it is stopped")
        self.command("fg")
        self.tty.type("hello\n")
        self.tty.expect(r"<hello>\r\n")
        self.tty.type("\x04")
        self.tty.expect(r"end of input\r\n" + PROMPT)

    def test_a_job_that_has_the_terminal_moves_on_and_home(self):
        pid = self.start_echo("")
        for step in range(MOVES):
            self.tty.type(f"unread {step}\n")  # while it moves
            observe.migrate(self.lab, pid, NODES[(step + 1) % len(NODES)])
            self.tty.expect(rf"<unread {step}>\r\n")
            self.tty.type(f"line {step}\n")
            self.tty.expect(rf"<line {step}>\r\n")
        self.tty.type("\x04")
        self.tty.expect(r"end of input\r\n" + PROMPT)
        self.stays_usable()

    def test_size(self):
        self.command("runon 2 sh -c 'stty size; trap \"stty size\" WINCH; echo ready; while :; do sleep 0.1; done'")
        self.tty.expect(r"30 100\r\nready\r\n")
        self.tty.resize(50, 132)
        self.tty.expect(r"50 132\r\n")
        self.tty.type("\x03")
        self.tty.expect(PROMPT)

    def test_raw_keys(self):
        self.command("runon 2 sh -c 'stty -icanon -echo min 1; head -c 1 | od -An -c; stty icanon echo'")
        self.tty.quiet(1)
        self.tty.type("k")
        self.assertNotIn("k", self.tty.expect(r"( +)k\r\n").group(1))
        self.tty.expect(PROMPT)
        self.stays_usable()

    def test_less(self):
        self.command("seq 1 500 > /tmp/numbers; runon 2 less /tmp/numbers")
        self.tty.expect(r"\b29\r\n")
        self.tty.type(" ")
        self.tty.expect(r"\b58\r\n")
        self.tty.type("G")
        self.tty.expect(r"\b500\r\n")
        self.tty.type("\x1a")
        self.tty.expect(r"Stopped.*\r\n" + PROMPT)
        self.command("echo the shell reads this")
        self.tty.expect(r"the shell reads this\r\n" + PROMPT)
        self.command("fg")
        self.tty.expect(r"\b500\r\n")
        self.tty.type("g")
        self.tty.expect(r"M1\r\n")  # it draws backwards
        self.tty.type("q")
        self.tty.expect(PROMPT)
        self.stays_usable()

    def test_less_is_moved(self):
        self.command("seq 1 500 > /tmp/numbers; sh -c 'echo pid $$; exec less /tmp/numbers'")
        pid = int(self.tty.expect(r"pid (\d+)\r\n").group(1))
        self.tty.expect(r"\b29\r\n")
        for node, key, line in ((2, " ", 58), (3, " ", 87), (1, "b", "M30")):
            observe.migrate(self.lab, pid, node)
            self.tty.type(key)
            self.tty.expect(rf"{line}\r\n")
        observe.migrate(self.lab, pid, 2)
        self.tty.type("\x1a")
        self.tty.expect(r"Stopped.*\r\n" + PROMPT)
        self.command("fg")
        self.tty.type("q")
        self.tty.expect(PROMPT)
        self.stays_usable()

    def test_an_editor(self):
        self.command("printf 'first\\nsecond\\n' > /tmp/text; runon 2 vi -u NONE /tmp/text")
        self.tty.expect(r"first(.|\n)*second")
        self.tty.type("jx\x1a")
        self.tty.expect(r"Stopped.*\r\n" + PROMPT)
        self.command("fg")
        self.tty.expect(r"first(.|\n)*econd")
        self.tty.type(":wq\r")
        self.tty.expect(PROMPT)
        self.command("cat /tmp/text")
        self.tty.expect(r"first\r\necond\r\n" + PROMPT)
        self.stays_usable()

    def test_the_controlling_terminal_and_the_parent(self):
        self.command("runon 2 sh -c 'read line < /dev/tty; echo \"<$line>\" > /dev/tty; echo $PPID'; echo $$")
        self.tty.quiet(1)
        self.tty.type("by name\n")
        answer = self.tty.expect(r"<by name>\r\n(\d+)\r\n(\d+)\r\n" + PROMPT)
        self.assertEqual(answer.group(1), answer.group(2))
        self.command("runon 2 python3 -c 'import os; print(os.tcgetpgrp(0) == os.getpgrp(), os.getsid(0) == os.getppid())'")
        self.tty.expect(r"True True\r\n" + PROMPT)
        self.stays_usable()

    def test_a_job_that_is_moved_while_it_is_stopped(self):
        pid = self.start_echo()
        self.tty.type("\x1a")
        self.tty.expect(r"Stopped.*\r\n" + PROMPT)
        observe.migrate(self.lab, pid, 3)
        self.is_on(pid, 3)
        self.command("fg")
        self.tty.type("elsewhere\n")
        self.tty.expect(r"<elsewhere>\r\n")
        self.tty.type("\x04")
        self.tty.expect(r"end of input\r\n" + PROMPT)

    def test_much_output(self):
        self.command("runon 2 seq 1 30000 | tail -n 1; runon 2 seq 1 30000; echo end")
        shown = self.tty.expect(r"30000\r\n((.|\n)*)end\r\n" + PROMPT, timeout=60).group(1)
        self.assertEqual(shown, "".join(f"{n}\r\n" for n in range(1, 30001)))

    def test_when_the_terminal_goes_away(self):
        pid = self.start_echo()
        self.tty.close()
        self.lab.wait_for(lambda: not observe.exists(self.lab, 1, pid), 20, "its guest ended with the terminal")
        self.tty = Terminal(self.lab, 1, ["true"])

    def test_a_job_that_outlives_its_terminal_moves_and_comes_home(self):
        self.lab.path(1, "/tmp/survivor.py").write_text(SURVIVOR)
        self.command("python3 /tmp/survivor.py")
        pid = int(self.tty.expect(r"pid (\d+)\r\n").group(1))
        self.tty.close()
        told = self.lab.path(1, "/tmp/told")

        def tells_the_end():
            told.unlink(missing_ok=True)
            self.lab.path(1, "/tmp/tell").touch()
            self.lab.wait_for(told.exists, 10, "it tells of its terminal")
            return told.read_text() == f"False b'' {errno.EIO}"

        self.lab.wait_for(tells_the_end, 20, "its terminal is closed")
        for node in (2, 3, 1, 2):
            observe.migrate(self.lab, pid, node)
            self.assertTrue(tells_the_end(), (node, told.read_text()))
        self.lab.run(1, ["kill", "-KILL", str(pid)])
        self.lab.wait_for(lambda: not observe.exists(self.lab, 1, pid), 20, "it ended")
        self.tty = Terminal(self.lab, 1, ["true"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
