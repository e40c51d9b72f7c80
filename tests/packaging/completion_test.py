#!/usr/bin/python3
"""The bash completion offers the options and sub-commands of --help, no less and no more, and what can be known of nodes,
processes and files. $SSID_BUILD: the build whose commands are asked for help."""

import os
import re
import subprocess
import tempfile
import unittest
from pathlib import Path

from commands import BUILD, PROGRAMS, help_of, helps_of

HERE = Path(__file__).resolve().parent
COMPLETION = HERE.parents[1] / "packaging/completion/ssid"

# What the commands print when the cluster has two nodes.
STATUS = """{
  "members": 2,
  "nodes": [
    {
      "addresses": [
        "10.77.0.1"
      ],
      "id": 1,
      "name": "n1",
      "state": "UP"
    },
    {
      "id": 2,
      "name": "n2"
    }
  ],
  "self": 1
}
"""
FAKES = {
    "cluster": f"[[ $* == --json ]] && cat <<'TEXT'\n{STATUS}TEXT",
    "ssips": """[[ " $* " == *' --no-headers -o pid '* ]] && printf '%s\\n' '  1:345' '  65600' ' 131100'""",
    "loadlevel": "[[ $* == list ]] && printf '%s\\n' /usr/bin/xz '/opt/my program' '# not understood: line 3'",
}
NOT_RUNNING = "echo 'ssid is not running' >&2; exit 1"


class Completion(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.home = Path(directory.name)
        self.make_commands(FAKES)
        for name in ("program", "other program", "data"):
            (self.home / name).write_text("")
        for name in ("program", "other program"):
            (self.home / name).chmod(0o755)

    def make_commands(self, scripts):
        (self.home / "bin").mkdir(exist_ok=True)
        for name, script in scripts.items():
            path = self.home / "bin" / name
            path.write_text(f"#!/bin/bash\n{script}\n")
            path.chmod(0o755)

    def offers(self, line):
        done = subprocess.run(
            ["bash", "--norc", HERE / "complete.sh", COMPLETION, line],
            env={"PATH": f"{self.home}/bin:{os.environ['PATH']}"},
            cwd=self.home,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.assertEqual((done.returncode, done.stderr), (0, ""), line)
        return done.stdout.splitlines()

    def test_options_and_sub_commands_are_those_of_help(self):
        for program in PROGRAMS:
            for sub, help_ in helps_of(program).items():
                with self.subTest(f"{program} {sub}"):
                    line = f"{program} {sub} ".replace("  ", " ")
                    self.assertEqual(sorted(self.offers(line + "-")), sorted(help_.spellings))
                    if not sub and help_.subcommands:
                        self.assertEqual(sorted(self.offers(line)), sorted(help_.subcommands))
                    # Behind an option with a value, an option is none. What follows `run` is another command's.
                    for option in help_.spellings if sub != "run" else ():
                        followed = self.offers(f"{line}{option} --he")
                        self.assertEqual(followed == [], option in help_.with_value, option)

    def test_cluster(self):
        self.assertEqual(self.offers("cluster e"), ["events"])
        self.assertEqual(self.offers("cluster events --f"), ["--follow"])
        self.assertEqual(self.offers("cluster events "), [])

    def test_migrate(self):
        self.assertEqual(self.offers("migrate "), ["1:345", "65600", "131100"])
        self.assertEqual(self.offers("migrate 65"), ["65600"])
        self.assertEqual(self.offers("migrate 1:3"), ["345"])  # readline keeps what is before the colon
        self.assertEqual(self.offers("migrate 65600 "), ["home", "best", "1", "2", "n1", "n2"])
        self.assertEqual(self.offers("migrate --dry-run 65600 n"), ["n1", "n2"])
        self.assertEqual(self.offers("migrate 65600 2 "), [])
        self.assertEqual(self.offers("/usr/bin/migrate --dr"), ["--dry-run"])

    def test_loadlevel(self):
        for sub in ("enable", "disable", "status", "why"):
            self.assertEqual(self.offers(f"loadlevel {sub} 131"), ["131100"], sub)
        self.assertEqual(self.offers("loadlevel on -n "), ["1", "2", "n1", "n2"])
        self.assertEqual(self.offers("loadlevel off --node=n"), ["n1", "n2"])
        self.assertEqual(self.offers("loadlevel list "), [])
        self.assertEqual(self.offers("loadlevel remove "), ["/usr/bin/xz", "/opt/my program"])

    def test_loadlevel_add_offers_absolute_paths_of_programs(self):
        home = str(self.home)
        self.assertEqual(sorted(self.offers(f"loadlevel add {home}/")),
                         [f"{home}/bin", f"{home}/other program", f"{home}/program"])
        self.assertEqual(self.offers(f"loadlevel add {home}/other\\ p"), [f"{home}/other program"])
        self.assertEqual(self.offers("loadlevel add prog"), [])
        self.assertIn("/usr", self.offers("loadlevel add "))

    def test_loadlevel_run_is_completed_as_its_command(self):
        self.assertIn("ssips", self.offers("loadlevel run ssi"))
        self.assertIn("ssips", self.offers("loadlevel run -- ssi"))
        self.assertEqual(self.offers("loadlevel run cat dat"), ["data"])

    def test_runon(self):
        self.assertEqual(self.offers("runon "), ["home", "best", "1", "2", "n1", "n2"])
        self.assertEqual(self.offers("runon -p n"), ["n1", "n2"])
        self.assertIn("ssips", self.offers("runon 2 ssi"))
        self.assertIn("ssips", self.offers("runon -p 2 -- ssi"))
        self.assertEqual(self.offers("runon 2 cat dat"), ["data"])
        self.assertEqual(self.offers("runon 2 cat -p dat"), ["data"])
        self.assertEqual(self.offers("runon 2 --he"), [])

    def test_onall(self):
        self.assertIn("ssips", self.offers("onall ssi"))
        self.assertIn("ssips", self.offers("onall -- ssi"))
        self.assertEqual(self.offers("onall cat dat"), ["data"])
        self.assertEqual(self.offers("onall cat --he"), [])

    def test_ssips(self):
        self.assertEqual(self.offers("ssips -p "), ["1:345", "65600", "131100"])
        self.assertEqual(self.offers("ssips -p 65600,13"), ["65600,131100"])
        self.assertEqual(self.offers("ssips --user=roo"), ["root"])
        self.assertEqual(self.offers("ssips -e -o pid,no"), ["pid,node"])
        self.assertEqual(self.offers("ssips 65"), ["65600"])
        columns = re.search(r"columns: (\S+)", help_of("ssips").text)[1].split(",")
        self.assertEqual(sorted(self.offers("ssips -o ")), sorted(columns))

    def test_daemons(self):
        self.assertEqual(self.offers("ssid --config da"), ["data"])
        self.assertEqual(self.offers("/usr/lib/ssid/ssid-carrier --node "), ["1", "2"])
        self.assertEqual(self.offers("ssid-carrier --root b"), ["bin"])
        self.assertEqual(self.offers("ssid-carrier --port "), [])

    def test_without_ssid_nothing_is_said(self):
        self.make_commands(dict.fromkeys(FAKES, NOT_RUNNING))
        self.assertEqual(self.offers("migrate "), [])
        self.assertEqual(self.offers("migrate 65600 "), ["home", "best"])
        self.assertEqual(self.offers("loadlevel on -n "), [])
        self.assertEqual(self.offers("loadlevel remove "), [])
        self.assertEqual(self.offers("ssips -p "), [])

    def test_the_installed_names(self):
        names = sorted(path.name for path in (BUILD / "completion").iterdir())
        self.assertEqual(names, sorted(PROGRAMS))
        for path in (BUILD / "completion").iterdir():
            self.assertEqual(path.read_text(), COMPLETION.read_text())


if __name__ == "__main__":
    unittest.main()
