"""The benchmark of scaling: latency against load over capacity, beside what queueing predicts."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from runbook.report import Report, Table
from runbook.scaling_chart import Point, draw_chart
from runbook.step import step

if TYPE_CHECKING:
    from collections.abc import Sequence

    from invoke.context import Context

_ROOT = Path(__file__).resolve().parent.parent
CHART = _ROOT / "docs" / "assets" / "scaling.svg"
INSTANCES = (2, 5, 10)
RHOS = (0.3, 0.5, 0.7, 0.8, 0.9, 0.95)
# A busy machine adds to what is measured; beyond this the shape itself would be in question.
_TOLERANCE = 1.5
_WARM_UP_S = 4.0
_START_S = 60.0


@step(
    name="bench-scaling",
    needs_target=False,
    help={"seconds": "Measure each point for so long."},
)
def bench_scaling(_c: Context, seconds: float = 15.0) -> Report:
    """Measure P95 at rising load on 2, 5 and 10 instances and draw it; 1 where theory differs."""
    from checks.errors import UsageError

    if not 2 <= seconds <= 120:  # noqa: PLR2004 - a usable count of requests, a bearable wait
        raise UsageError(
            "--seconds must be from 2 to 120.", next_step="invoke dev.bench-scaling --seconds=15"
        )
    points = _measure(seconds)
    CHART.write_text(draw_chart(points), encoding="utf-8")
    off = [point for point in points if not is_as_predicted(point)]
    return Report(
        finding=f"P95 is as queueing predicts at {len(points) - len(off)} of {len(points)} points.",
        level="bad" if off else "good",
        evidence=(_tabulate(points), f"Chart: {CHART}"),
        next_steps=("./inv site.build",),
        data={"points": [point._asdict() for point in points]},
        exit_code=1 if off else 0,
    )


def is_as_predicted(point: Point) -> bool:
    """Return whether a point lies in nine measurements of ten, with half as much tolerance."""
    return point.low_s / _TOLERANCE <= point.p95_s <= point.high_s * _TOLERANCE


def _measure(seconds: float) -> list[Point]:
    from checks.errors import RunbookError

    deadline_s = _START_S + len(INSTANCES) * len(RHOS) * (seconds + 3 * _WARM_UP_S)
    # Not below the project: a unix socket's path may have at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="scaling-") as folder:
        python = [sys.executable, "-m"]
        argv = [*python, "staging.scaling", "--dir", folder, "--seconds", f"{seconds:g}"]
        argv += ["--instances", *map(str, INSTANCES), "--rho", *map(str, RHOS)]
        try:
            done = _run(argv, deadline_s)
        except subprocess.TimeoutExpired:
            done = None
        finally:
            # It is down already unless the measurement was cut short.
            _run([*python, "staging", "down", "--dir", folder], _START_S)
    if done is None or done.returncode:
        reason = done.stderr.strip() if done else f"it did not end within {deadline_s:.0f} s"
        raise RunbookError(
            f"The measurement failed: {reason}", next_step="invoke dev.bench-scaling --seconds=5"
        )
    return [Point(**json.loads(line)) for line in done.stdout.splitlines()]


def _run(argv: list[str], deadline_s: float) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        argv,
        cwd=_ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=deadline_s,
        check=False,
    )


def _tabulate(points: Sequence[Point]) -> Table:
    columns = (
        *("instances", "load / capacity", "requests"),
        *("P95 (ms)", "predicted", "9 of 10 in", "one queue"),
    )
    rows = tuple(
        (
            *(str(point.instances), f"{point.rho:g}", str(point.requests)),
            *(f"{1000 * point.p95_s:.0f}", f"{1000 * point.predicted_s:.0f}"),
            f"{1000 * point.low_s:.0f}..{1000 * point.high_s:.0f}",
            f"{1000 * point.pooled_s:.0f}",
        )
        for point in points
    )
    return Table(columns, rows, right=columns)
