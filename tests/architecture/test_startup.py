"""The command line starts at once: nothing slow is imported until a command needs it."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from statistics import median

from tests.architecture.source import REPOSITORY

SLOW = {"google", "grpc", "requests", "urllib3", "rich", "mkdocs", "jinja2", "yaml", "pytest"}
MAX_RATIO = 1.3
ROUNDS = 4
PAIRS_A_ROUND = 10
DEADLINE_S = 30


def modules_after(statement: str) -> set[str]:
    """Return the top-level modules that are loaded once `statement` has run."""
    program = f"{statement}\nimport sys\nprint(' '.join({{m.split('.')[0] for m in sys.modules}}))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=True,
    )
    return set(done.stdout.split())


def seconds_of(*arguments: str) -> float:
    """Return the processor's seconds that an invoke command takes.

    Start-up waits for nothing, so on an idle machine this is its wall-clock time; and on a busy
    one it leaves the others' work out.
    """
    began = children_seconds()
    subprocess.run(
        [sys.executable, "-m", "invoke", *arguments],
        cwd=REPOSITORY,
        # As ./inv leaves it, the code is compiled; some build machines forbid to compile it.
        env={k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"},
        stdout=subprocess.DEVNULL,
        timeout=DEADLINE_S,
        check=True,
    )
    return children_seconds() - began


def children_seconds() -> float:
    """Return the processor's seconds of all child processes that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def test_tasks_import_nothing_slow() -> None:
    loaded = modules_after("import tasks")
    assert {"invoke", "runbook"} <= loaded
    assert (loaded - modules_after("import invoke")) & SLOW == set()


def test_the_look_at_modules_can_fail() -> None:
    assert modules_after("import rich") & SLOW == {"rich"}


def test_list_costs_at_most_a_third_more_than_version() -> None:
    # Interleaved, so that a busy moment hits both; a busy machine gets more pairs, not more room.
    listed: list[float] = []
    floor: list[float] = []
    ratio = 0.0
    for _ in range(ROUNDS):
        for _ in range(PAIRS_A_ROUND):
            floor.append(seconds_of("--version"))
            listed.append(seconds_of("--list"))
        ratio = median(listed) / median(floor)
        if ratio < MAX_RATIO:
            break
    assert ratio < MAX_RATIO
