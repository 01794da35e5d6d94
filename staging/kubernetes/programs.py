"""The programs that may run in a pod, and how they see it: the service is process 1.

An instance is a process of this machine, not a container of its own. So only programs that read
are run, on this one process, and its number is 1 in what they are told and in what they say.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from staging.model import Instance

_PROC_FILES = frozenset(
    {
        "cmdline",
        "comm",
        "io",
        "limits",
        "oom_score",
        "oom_score_adj",
        "sched",
        "schedstat",
        "smaps_rollup",
        "stat",
        "statm",
        "status",
        "wchan",
    }
)
_MACHINE_FILES = frozenset({"cpuinfo", "loadavg", "meminfo", "stat", "uptime", "version"})
_HELP = "a pod here runs ps, py-spy dump, py-spy record and cat of files in /proc"
_BSD_LETTERS = frozenset("auxwH")
_UNIX_LETTERS = frozenset("eAfFlyLTw")
MOST_SECONDS = 60
_MARGIN_S = 15.0


class RefusedError(Exception):
    """The program, or what it is asked to do, is not among those that may run."""


@dataclass(frozen=True)
class Program:
    """A command for this machine, how long it may take, and whose number is 1 in its output."""

    argv: tuple[str, ...]
    pid: int
    deadline_s: float = _MARGIN_S
    columns: bool = False
    """Whether the output is a table, in which a shorter number must not move its neighbours."""

    def translate(self, output: bytes, parent: int) -> bytes:
        """Return the program's output as it reads inside the pod."""
        return b"\n".join(self._renumber(line, parent) for line in output.split(b"\n"))

    def _renumber(self, line: bytes, parent: int) -> bytes:
        # Only the first of its kind in a line: a later one may be a size that looks alike.
        for number, stands_for in ((self.pid, b"1"), (parent, b"0")):
            digits = str(number).encode()
            text = stands_for.rjust(len(digits)) if self.columns else stands_for
            line = re.sub(rb"(?<![\w.])" + digits + rb"(?![\w.])", text, line, count=1)
        return line


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise RefusedError(f"{self.prog}: {message}; not supported by embedded staging: {_HELP}")


def prepare(command: Sequence[str], instance: Instance) -> Program:
    """Return what to run for a command typed in the pod. Raise RefusedError."""
    if not command:
        raise RefusedError("you must specify at least one command for the container")
    name, arguments = Path(command[0]).name, list(command[1:])
    if name == "ps":
        return Program(tuple(_prepare_ps(arguments, instance.pid)), instance.pid, columns=True)
    if name == "py-spy":
        return _prepare_py_spy(arguments, instance.pid)
    if name == "cat" and arguments:
        paths = [_find_file(argument, instance.pid) for argument in arguments]
        return Program(("cat", *paths), instance.pid)
    raise RefusedError(f"{' '.join(command)}: not supported by embedded staging: {_HELP}")


def _prepare_ps(arguments: list[str], pid: int) -> list[str]:
    parser = _Parser("ps", add_help=False, allow_abbrev=False)
    parser.add_argument("-o", "--format", action="append", default=[])
    parser.add_argument("-p", "--pid", default="1")
    parser.add_argument("--sort")
    parser.add_argument("--no-headers", action="store_true")
    letters = [text for text in arguments if _is_letters(text)]
    asked = parser.parse_args([text for text in arguments if text not in letters])
    if asked.pid != "1":
        raise RefusedError(f"ps: there is no process {asked.pid} here, only 1")
    kept = [
        f"-{letter}" for text in letters if text[0] == "-" for letter in text if letter in "fFlyLT"
    ]
    kept += ["u"] if any("u" in text and text[0] != "-" for text in letters) else []
    kept += ["-T"] if any("H" in text for text in letters) else []
    for columns in asked.format:
        kept += ["-o", columns]
    kept += [f"--sort={asked.sort}"] if asked.sort else []
    kept += ["--no-headers"] if asked.no_headers else []
    return ["ps", *kept, "-ww", "-p", str(pid)]


def _is_letters(text: str) -> bool:
    if text.startswith("-"):
        return len(text) > 1 and set(text[1:]) <= _UNIX_LETTERS
    return bool(text) and set(text) <= _BSD_LETTERS


def _prepare_py_spy(arguments: list[str], pid: int) -> Program:
    parser = _Parser("py-spy", add_help=False, allow_abbrev=False)
    parser.add_argument("verb", choices=("dump", "record"))
    parser.add_argument("-p", "--pid", type=int, required=True)
    for flags in (("--nonblocking",), ("-n", "--native")):
        parser.add_argument(*flags, action="store_true")
    dump, record = parser.add_argument_group("dump"), parser.add_argument_group("record")
    dump.add_argument("-l", "--locals", action="count", default=0)
    dump.add_argument("-j", "--json", action="store_true")
    record.add_argument("-o", "--output")
    record.add_argument("-d", "--duration", type=int, default=2)
    record.add_argument("-r", "--rate", type=int, default=100)
    record.add_argument("-f", "--format", choices=("flamegraph", "raw", "speedscope"))
    for flags in (("-i", "--idle"), ("-g", "--gil"), ("-t", "--threads"), ("-F", "--function")):
        record.add_argument(*flags, action="store_true")
    record.add_argument("--full-filenames", action="store_true")
    asked = parser.parse_args(arguments)
    if asked.pid != 1:
        raise RefusedError(f"py-spy: there is no process {asked.pid} here, only 1")
    common = [find_py_spy(), asked.verb, "--pid", str(pid)]
    common += ["--nonblocking"] if asked.nonblocking else []
    common += ["--native"] if asked.native else []
    if asked.verb == "dump":
        shown = [*["--locals"] * asked.locals, *(["--json"] if asked.json else [])]
        return Program((*common, *shown), pid)
    if asked.output not in {"-", "/dev/stdout"}:
        raise RefusedError("py-spy record: write to standard output: --output /dev/stdout")
    if not 1 <= asked.duration <= MOST_SECONDS:
        raise RefusedError(f"py-spy: --duration is from 1 to {MOST_SECONDS} seconds here")
    names = ("idle", "gil", "threads", "function", "full_filenames")
    kept = [f"--{name.replace('_', '-')}" for name in names if getattr(asked, name)]
    argv = [*common, *kept, f"--format={asked.format or 'flamegraph'}", f"--rate={asked.rate}"]
    argv += [f"--duration={asked.duration}", "--output=/dev/stdout"]
    return Program(tuple(argv), pid, asked.duration + _MARGIN_S)


def find_py_spy() -> str:
    """Return where py-spy is installed. Raise RefusedError."""
    beside = Path(sys.executable).parent / "py-spy"
    found = str(beside) if beside.exists() else shutil.which("py-spy")
    if found is None:
        raise RefusedError('exec: "py-spy": executable file not found in $PATH')
    return found


def _find_file(path: str, pid: int) -> str:
    match = re.fullmatch(r"/proc/1/([a-z_]+)", path)
    if match and match[1] in _PROC_FILES:
        return f"/proc/{pid}/{match[1]}"
    machine = re.fullmatch(r"/proc/([a-z]+)", path)
    if machine and machine[1] in _MACHINE_FILES:
        return path
    raise RefusedError(
        f"cat {path}: not supported by embedded staging; there is /proc/1/FILE with FILE one of"
        f" {', '.join(sorted(_PROC_FILES))}"
    )
