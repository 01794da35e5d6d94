"""Benchmarks that anyone can repeat: what a step costs beside the same questions asked by hand."""

from __future__ import annotations

import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from runbook.report import Report, Table
from runbook.step import step

if TYPE_CHECKING:
    from invoke.context import Context

MOST_SHARE = 1 / 6
_LINE_DEADLINE_S = 120.0
_ROOT = Path(__file__).resolve().parent.parent


@step(
    name="bench-assess",
    help={"rounds": "Time both sides this often and take the best of each."},
)
def bench_assess(_c: Context, rounds: int = 3) -> Report:
    """Time `invoke assess` against its lines by hand, one after the other; 1 if above 1/6."""
    from checks.inputs import check_count
    from checks.target import load_target
    from runbook import catalogue

    check_count("--rounds", rounds, minimum=1, maximum=20)
    lines = catalogue.steps()["assess.triage"].by_hand_argv(load_target())
    environment = _vendor_environment()
    assess = [sys.executable, "-m", "invoke", "assess"]
    # Both sides in every round: the machine's other work then hits both.
    taken = [
        [_time(assess, None), *(_time(argv, environment) for argv in lines)] for _ in range(rounds)
    ]
    by_task, *by_hand = (min(times) for times in zip(*taken, strict=True))
    total = sum(by_hand)
    ratio = by_task / total
    good = ratio <= MOST_SHARE
    rows = [(shlex.join(argv), f"{took:.2f}") for argv, took in zip(lines, by_hand, strict=True)]
    return Report(
        finding=f"invoke assess takes {by_task:.2f} s, the same by hand {total:.2f} s: "
        f"1/{1 / ratio:.1f} of it (wanted: 1/6 or less).",
        level="good" if good else "bad",
        evidence=(Table(("by hand", "seconds"), tuple(rows), right=("seconds",)),),
        data={
            "assess_s": round(by_task, 3),
            "by_hand_s": round(total, 3),
            "ratio": round(ratio, 4),
            "lines": [
                {"argv": argv, "seconds": round(t, 3)}
                for argv, t in zip(lines, by_hand, strict=True)
            ],
        },
        exit_code=0 if good else 1,
    )


def _vendor_environment() -> dict[str, str] | None:
    from checks.target import load_target, staging_dir
    from runbook.vendors import build_environment

    target = load_target()
    if not target.embedded:
        return None
    folder = staging_dir().resolve() / "bench"
    folder.mkdir(mode=0o700, exist_ok=True)
    return build_environment(target, folder)


def _time(argv: list[str], environment: dict[str, str] | None) -> float:
    """Return how many seconds a line takes; raises RunbookError when it cannot be run."""
    from checks.errors import RunbookError

    start = time.monotonic()
    try:
        subprocess.run(
            argv,
            env=environment,
            cwd=_ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_LINE_DEADLINE_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise RunbookError(
            f"{argv[0]} did not do its part, so there is nothing to compare with.",
            next_step=f"run it by itself: {shlex.join(argv)}",
            subject=argv[0],
        ) from error
    return time.monotonic() - start
