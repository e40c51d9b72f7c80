"""The probe (tests/programs/probe.cc) on a lab node: a program that is moved while it watches itself."""

import json
import signal
import time


class Probe:
    """Started on `node`; its report is a file there, and stays home's wherever the probe runs."""

    def __init__(self, lab, node, memory_mib=1, threads=1, hot_mib=0, name="probe", prefix=()):
        self.lab = lab
        self.home = node
        self.report_path = f"/root/{name}.report"
        program = lab.path(node, f"/root/{name}")
        program.write_bytes((lab.state.checkout / "build" / lab.preset / "bin/probe").read_bytes())
        program.chmod(0o755)
        self.shell = lab.popen(
            node,
            ["sh", "-c", f'{" ".join(prefix)} /root/{name} {self.report_path} {memory_mib} {threads} {hot_mib} & '
             'echo $!; wait $!; echo "ended $?"'],
            stdout=-1, stdin=-3, text=True)
        self.pid = int(self.shell.stdout.readline())
        self.reports = 0
        # It answers when its memory is filled.
        self.report(timeout_s=60 + memory_mib / 20)

    def lines(self):
        try:
            text = self.lab.path(self.home, self.report_path).read_text()
        except FileNotFoundError:
            return []
        return [json.loads(line) for line in text.splitlines() if line.endswith("}")]

    def report(self, timeout_s=30, kill=None):
        """Asks for a report by SIGUSR1 to the PID at home (or by `kill`) and waits for it."""
        deadline = time.monotonic() + timeout_s
        wanted = self.reports + 1
        asked = 0.0
        while True:
            lines = self.lines()
            if len(lines) >= wanted:
                self.reports = len(lines)
                return lines[-1]
            if time.monotonic() > deadline:
                raise TimeoutError(f"probe {self.pid}: no report within {timeout_s} s")
            # Once is enough, but while it starts it has no handler yet and must not be hit too early.
            if time.monotonic() - asked > 2 and self._has_handler():
                asked = time.monotonic()
                (kill or self.kill)(signal.SIGUSR1)
            time.sleep(0.005)

    def _has_handler(self):
        if self.reports:
            return True
        status = self.lab.run(self.home, ["cat", f"/proc/{self.pid}/status"], check=False).stdout
        caught = [line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:")]
        return bool(caught) and int(caught[0], 16) & (1 << (signal.SIGUSR1 - 1)) != 0

    def kill(self, signo):
        self.lab.run(self.home, ["kill", f"-{int(signo)}", str(self.pid)], check=False)

    def end(self):
        """Ends it; the status that its parent saw."""
        self.kill(signal.SIGTERM)
        said, _ = self.shell.communicate(timeout=30)
        return int(said.split()[1])
