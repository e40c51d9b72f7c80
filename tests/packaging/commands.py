"""What the commands of a build say about themselves in --help, and what a manual page says about one. The manual page
and the completion of a command are held against its help."""

import functools
import os
import re
import shlex
import subprocess
from pathlib import Path

BUILD = Path(os.environ.get("SSID_BUILD", "build/dev"))
SECTIONS = {
    "cluster": 8, "loadlevel": 1, "migrate": 1, "mon": 1, "onall": 1, "runon": 1, "ssid": 8, "ssid-carrier": 8, "ssips": 1,
}
PROGRAMS = tuple(SECTIONS)
RUN_OTHERS = {"onall", "runon"}  # what follows their first argument is another command's
HELP = {"-h", "--help"}  # in no synopsis


class Help:
    """One --help: its options, each as the set of its spellings, and its sub-commands."""

    def __init__(self, text):
        self.text = text
        self.options = []
        self.with_value = set()
        for names, rest in re.findall(r"^  (-\S+)(?: (.*))?$", text, re.M):
            spellings = set(names.split(","))
            self.options.append(spellings)
            if re.match(r"[A-Z]", rest):
                self.with_value |= spellings
        listed = text.partition("\nSubcommands:\n")[2]
        self.subcommands = re.findall(r"^  ([a-z]+) ", listed, re.M)

    @property
    def spellings(self):
        return set().union(*self.options)


@functools.cache
def help_of(program, *sub):
    done = subprocess.run([BUILD / "bin" / program, *sub, "--help"], stdout=subprocess.PIPE, text=True, check=True)
    return Help(done.stdout)


def helps_of(program):
    """{"": its help, sub-command: that one's}"""
    own = help_of(program)
    return {"": own} | {sub: help_of(program, sub) for sub in own.subcommands}


def page_text(name):
    """The source of a page, with what it shares with others."""
    return (BUILD / "man" / f"{name}.scd").read_text()


def section(page, title):
    found = re.search(rf"^# {title}\n(.*?)(?=^# |\Z)", page, re.M | re.S)
    return found[1] if found else ""


def options_in(text):
    """-x of *-x*"""
    return set(re.findall(r"\*(--?[A-Za-z][a-z-]*)\*", text))


def usages(page, program):
    """{sub-command or "": the options in its lines of the synopsis}"""
    found = {}
    for line in section(page, "SYNOPSIS").replace("++\n    ", " ").splitlines():
        match = re.match(rf"\*(?:/usr/lib/ssid/)?{program}(?: ([a-z]+))?\*(.*)", line)
        if match:
            found.setdefault(match[1] or "", set()).update(options_in(match[2]))
    return found


def definitions(page, title):
    """The lines that are explained by what stands indented below them."""
    return re.findall(r"^(\*.*)\n\t", section(page, title), re.M)


def examples(page):
    """(program, sub-command or "", options) of each command of ours in an example."""
    for line in re.findall(r"^[$#] (.*)$", "\n".join(re.findall(r"^```\n(.*?)^```", page, re.M | re.S)), re.M):
        words = shlex.split(line.partition(" # ")[0])
        if not words or words[0] not in PROGRAMS:
            continue
        program, rest, options, sub = words[0], words[1:], set(), ""
        for word in rest:
            if word in ("|", ">", "&", "--"):
                break
            if word.startswith("-"):
                options.add(word.partition("=")[0])
            elif program in RUN_OTHERS:
                break
            elif not sub and not options and word in help_of(program).subcommands:
                sub = word
                if sub == "run":
                    break
        yield program, sub, options
