#!/usr/bin/python3
"""The layer check finds what it is there for."""

import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import check_layers  # noqa: E402


class CheckLayersTest(unittest.TestCase):
    def complaints(self, files):
        with tempfile.TemporaryDirectory() as directory:
            for name, text in files.items():
                path = Path(directory) / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
            return check_layers.check(Path(directory))

    def assert_finds(self, part, files):
        found = self.complaints(files)
        self.assertEqual(len(found), 1, found)
        self.assertIn(part, found[0])

    def test_arrows_that_are_allowed(self):
        self.assertEqual(
            self.complaints(
                {
                    "ssid/wire/a.h": '#include "ssid/base/result.h"\n#include <openssl/ssl.h>\n',
                    "fs/view/a.cc": '#include "fs/store/b.h"\n#include "ssid/registry/r.h"\n#include <vector>\n',
                    "loadlevel/balancer.cc": '#include "loadlevel/policy/plan.h"\n',
                    "ssid/daemon/main.cc": '#include "migrate/move.h"\n#include "fs/view/view.h"\n',
                    "tests/sim/a.cc": '#include "loadlevel/policy/plan.h"\n#include <corosync/cpg.h>\n',
                }
            ),
            [],
        )

    def test_upward_include(self):
        self.assert_finds("ssid/base includes", {"ssid/base/a.h": '#include "ssid/wire/frame.h"\n'})
        self.assert_finds("migrate includes", {"migrate/m.cc": '  #  include "ssid/registry/r.h"\n'})
        self.assert_finds(
            "loadlevel/policy includes", {"loadlevel/policy/p.cc": '#include "ssid/wire/f.h"\n'}
        )

    def test_nothing_includes_tests(self):
        self.assert_finds(
            "nothing includes tests", {"ssid/daemon/main.cc": '#include "tests/lab/init/pump.h"\n'}
        )

    def test_third_party_out_of_its_room(self):
        self.assert_finds("belongs to ssid/cluster", {"fs/a.cc": "#include <corosync/cpg.h>\n"})

    def test_third_party_in_two_rooms(self):
        self.assert_finds(
            "2 rooms",
            {"fs/a.cc": "#include <toml++/toml.h>\n", "ssid/daemon/a.cc": "#include <toml++/toml.h>\n"},
        )

    def test_room_that_nobody_declared(self):
        self.assert_finds("no room", {"ssid/util/a.h": "#include <vector>\n"})

    def test_include_beside(self):
        self.assert_finds("from the root", {"ssid/base/a.cc": '#include "result.h"\n'})


if __name__ == "__main__":
    unittest.main()
