"""Programs on a lab node that are moved while they watch themselves: the probe (tests/programs/probe.cc)
and others that answer in the same way. Each appends a line of JSON to its report file whenever it gets
SIGUSR1, and ends with 42 on SIGTERM."""

import json
import signal
import subprocess
import time


class Program:
    """Started on `node` by a shell that waits for it. Its report is a file there, and stays home's wherever
    the program runs. {program} and {report} in `command` are its file (a copy of `file`) and its report."""

    def __init__(self, lab, node, name, file, command, start_timeout_s=60, stdin=subprocess.DEVNULL):
        self.lab = lab
        self.home = node
        self.report_path = f"/root/{name}.report"
        program = lab.path(node, f"/root/{name}")
        program.write_bytes(file.read_bytes())
        program.chmod(0o755)
        line = command.format(program=f"/root/{name}", report=self.report_path)
        self.shell = lab.popen(
            node,
            ["sh", "-c", f'exec 3<&0; {line} <&3 3<&- & exec 3<&- </dev/null; '
             'echo $$ $!; wait $!; exit $?'],
            stdout=subprocess.PIPE, stdin=stdin, text=True)
        self.shell_pid, self.pid = map(int, self.shell.stdout.readline().split())
        self.asked = 0
        self.reports = 0
        # It answers when its memory is filled.
        self.report(start_timeout_s)

    def lines(self):
        try:
            text = self.lab.path(self.home, self.report_path).read_text()
        except FileNotFoundError:
            return []
        return [json.loads(line) for line in text.splitlines() if line.endswith("}")]

    def report(self, timeout_s=30):
        """Asks for a report by one SIGUSR1 to the PID at home and waits for it."""
        deadline = time.monotonic() + timeout_s
        asked = False
        while True:
            lines = self.lines()
            if asked and len(lines) >= self.asked:
                self.reports = len(lines)
                return lines[-1]
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"{self.report_path}: {len(lines)} reports, {self.asked} asked for, within {timeout_s} s")
            # Just once, for a signal that gets lost is a fault; but not before it has a handler.
            if not asked and self._has_handler():
                asked = True
                self.asked += 1
                self.kill(signal.SIGUSR1)
            time.sleep(0.005)

    def _has_handler(self):
        if self.reports:
            return True
        status = self.lab.path(self.home, f"/proc/{self.pid}/status").read_text()
        caught = [line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:")]
        return bool(caught) and int(caught[0], 16) & (1 << (signal.SIGUSR1 - 1)) != 0

    def kill(self, signo):
        """To the PID at home, as a shell there would."""
        self.lab.run(self.home, ["kill", f"-{int(signo)}", str(self.pid)], check=False)

    def wait(self, timeout_s=30):
        """The status that its parent saw, as a shell says it (137: SIGKILL)."""
        return self.shell.wait(timeout_s)

    def rest_of_output(self, timeout_s=30):
        """What it wrote to its standard output until the end of that pipe."""
        return self.shell.communicate(timeout=timeout_s)[0]

    def end(self):
        """Ends it; the status that its parent saw."""
        self.kill(signal.SIGTERM)
        return self.wait()


class Probe(Program):
    """journal: it sleeps most of the time, and counts on in a file while it runs (see numbers)."""

    def __init__(self, lab, node, memory_mib=1, threads=1, hot_mib=0, name="probe", prefix=(),
                 journal=False):
        self.journal_path = f"/root/{name}.journal"
        words = [*prefix, "{program} {report}", str(memory_mib), str(threads), str(hot_mib)]
        super().__init__(
            lab, node, name, lab.state.checkout / "build" / lab.preset / "bin/probe",
            " ".join(words + ([self.journal_path] if journal else [])),
            start_timeout_s=60 + memory_mib / 20)

    def numbers(self):
        """1, 2, 3, .. as written so far; anything else, and it ran twice or went back in time."""
        text = self.lab.path(self.home, self.journal_path).read_text()
        return [int(line) for line in text[: text.rfind("\n") + 1].split()]
