#!/usr/bin/python3
"""The manual pages say what --help says, no less and no more, and are rendered without a warning. $SSID_BUILD: the build
whose commands and pages are looked at."""

import re
import subprocess
import unittest

from commands import (
    BUILD,
    HELP,
    PROGRAMS,
    SECTIONS,
    definitions,
    examples,
    help_of,
    helps_of,
    options_in,
    page_text,
    section,
    usages,
)


def complaints(program, page):
    """What is wrong with a page, as a list of texts; pure but for asking the programs for help."""
    helps = helps_of(program)
    wrong = []

    known = set().union(*(one.spellings for one in helps.values()))
    explained = options_in("\n".join(definitions(page, "OPTIONS")))
    wrong += [f"{option}: not in OPTIONS" for option in known - explained]
    wrong += [f"{option}: no such option" for option in options_in(page) - known]

    subs = set(helps) - {""}
    commands = re.findall(r"\*([a-z]+)\*", "\n".join(definitions(page, "COMMANDS"))) if subs else []
    wrong += [f"{sub}: not in COMMANDS" for sub in subs - set(commands)]
    wrong += [f"{sub}: no such sub-command" for sub in set(commands) - subs]

    shown = usages(page, program)
    for sub, one in helps.items():
        if sub not in shown:
            if sub or not subs:
                wrong.append(f"{program} {sub}: not in SYNOPSIS")
            continue
        for spellings in one.options:
            if not spellings & (shown[sub] | HELP):
                wrong.append(f"{program} {sub} {'|'.join(sorted(spellings))}: not in SYNOPSIS")
        wrong += [f"{program} {sub} {option}: in SYNOPSIS only" for option in shown[sub] - one.spellings]
    wrong += [f"{program} {sub}: in SYNOPSIS only" for sub in set(shown) - set(helps)]
    return wrong


def wrong_examples(page):
    for program, sub, options in examples(page):
        one = help_of(program, *([sub] if sub else []))
        for option in options - one.spellings:
            # -ef is -e -f
            if option.startswith("--") or not {f"-{c}" for c in option[1:]} <= one.spellings:
                yield f"{program} {sub}: {option}: no such option"


class Man(unittest.TestCase):
    maxDiff = None

    def test_pages_say_what_help_says(self):
        for program in PROGRAMS:
            with self.subTest(program):
                self.assertEqual(complaints(program, page_text(f"{program}.{SECTIONS[program]}")), [])

    def test_columns_of_ssips(self):
        named = re.search(r"columns: (\S+)", help_of("ssips").text)[1].split(",")
        rows = re.findall(r"^\|\[ (.*)$", section(page_text("ssips.1"), "COLUMNS"), re.M)
        self.assertEqual(sorted(re.findall(r"\*(\w+)\*", "\n".join(rows))), sorted(named))

    def test_examples_can_be_typed(self):
        for path in BUILD.glob("man/*.scd"):
            with self.subTest(path.name):
                self.assertEqual(list(wrong_examples(path.read_text())), [])

    def test_pages_are_there_and_rendered_without_a_warning(self):
        pages = sorted(path.with_suffix("") for path in BUILD.glob("man/*.scd"))
        names = {page.name for page in pages}
        for program in PROGRAMS:
            self.assertIn(f"{program}.{SECTIONS[program]}", names)
        for page in pages:
            with self.subTest(page.name):
                done = subprocess.run(
                    ["man", "--warnings", "-E", "UTF-8", "-l", page],
                    env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "MANWIDTH": "80", "MANROFFSEQ": ""},
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
                self.assertEqual((done.returncode, done.stderr), (0, ""))
                self.assertIn("NAME\n", done.stdout)

    def test_pages_refer_to_pages_that_exist(self):
        """To ours, by their right sections; those of others are not looked for."""
        ours = {path.stem.rpartition(".")[::2] for path in BUILD.glob("man/*.scd")}
        names = {name for name, _ in ours}
        for path in BUILD.glob("man/*.scd"):
            for name, number in re.findall(r"\*([\w.-]+)\*\((\d)\)", path.read_text()):
                if name in names:
                    self.assertIn((name, number), ours, path.name)


class TheCheckItself(unittest.TestCase):
    """Each option or sub-command that is taken out of a page, or put in, is found."""

    def test_an_option_that_is_not_explained(self):
        for program in PROGRAMS:
            page = page_text(f"{program}.{SECTIONS[program]}")
            for spelling in set().union(*(one.spellings for one in helps_of(program).values())):
                options = section(page, "OPTIONS")
                less = re.sub(rf"^(\*.*?)\*{spelling}\*|^\*{spelling}\*", r"\1", options, flags=re.M)
                with self.subTest(f"{program} {spelling}"):
                    self.assertTrue(less != options, "not in OPTIONS")
                    self.assertIn(f"{spelling}: not in OPTIONS", complaints(program, page.replace(options, less)))

    def test_an_option_that_is_not_in_the_synopsis(self):
        for program in PROGRAMS:
            page = page_text(f"{program}.{SECTIONS[program]}")
            synopsis = section(page, "SYNOPSIS")
            for option in options_in(synopsis) - {"-e", "-A"}:  # either will do
                with self.subTest(f"{program} {option}"):
                    less = page.replace(synopsis, synopsis.replace(f"*{option}*", ""))
                    self.assertIn("not in SYNOPSIS", "\n".join(complaints(program, less)))

    def test_what_no_help_knows(self):
        page = page_text("migrate.1")
        more = page.replace("# OPTIONS\n", "# OPTIONS\n\n*--fast*\n\tFaster.\n")
        self.assertIn("--fast: no such option", complaints("migrate", more))
        more = page.replace("[*--wait*]", "[*--wait*] [*--fast*]")
        self.assertIn("migrate  --fast: in SYNOPSIS only", complaints("migrate", more))
        more = page.replace("# EXAMPLES\n", "# EXAMPLES\n\n```\n$ migrate 70041 --fast 2\n```\n")
        self.assertEqual(list(wrong_examples(more)), ["migrate : --fast: no such option"])

    def test_a_sub_command_too_few_or_too_many(self):
        page = page_text("loadlevel.1")
        self.assertIn("list: not in COMMANDS", complaints("loadlevel", page.replace("\n*list*\n", "\n_list_\n")))
        self.assertIn("loadlevel list: not in SYNOPSIS", complaints("loadlevel", page.replace("*loadlevel list*", "")))
        more = page.replace("\n*list*\n", "\n*list*, *show*\n").replace("*loadlevel list*", "*loadlevel show*")
        self.assertIn("show: no such sub-command", complaints("loadlevel", more))
        self.assertIn("loadlevel show: in SYNOPSIS only", complaints("loadlevel", more))


if __name__ == "__main__":
    unittest.main()
