"""Programs of this machine that a step runs: as argument lists, with a deadline."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from checks.errors import UnreachableError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence


class Done(NamedTuple):
    """What a program printed, and its exit code."""

    returncode: int
    stdout: str
    stderr: str


def find_program(name: str, *, install: str) -> str:
    """Return the path of a program: beside this Python, else the first on PATH.

    Raises:
        UsageError: There is none; `install` says how to get it.
    """
    beside = shutil.which(name, path=str(Path(sys.executable).parent))
    found = beside or shutil.which(name)
    if found is None:
        raise UsageError(f"{name} is not installed here.", next_step=install, subject=name)
    return found


def run_program(argv: Sequence[str], *, deadline_s: float) -> Done:
    """Return what the program printed, whatever its exit code; at the deadline it is killed.

    Raises:
        UnreachableError: It did not end in time.
        UsageError: It cannot be started.
    """
    name = Path(argv[0]).name
    try:
        done = subprocess.run(
            list(argv),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=deadline_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise UnreachableError(
            f"{name} did not end within {deadline_s:.0f} s and was killed.",
            next_step="try again; if it stays, the process may hang: invoke assess",
            subject=name,
        ) from error
    except OSError as error:
        raise UsageError(
            f"{name} cannot be started: {error.strerror}.",
            next_step=f"run {name} by hand and read what it says",
            subject=name,
        ) from error
    return Done(done.returncode, done.stdout, done.stderr)
