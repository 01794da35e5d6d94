"""The drill of triage: every fault, several times, and what triage says first of each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runbook.report import Report
from runbook.step import step

if TYPE_CHECKING:
    from invoke.context import Context

_MOST_SEEDS = 20
_MOST_WORKERS = 8


@step(
    name="drill-triage",
    needs_target=False,
    help={
        "seeds": "Bring each fault about this often, with other chance in the load each time.",
        "faults": "Only these, separated by commas; all by default.",
        "platforms": "Only these, separated by commas; both by default.",
        "workers": "How many embedded stagings run side by side.",
        "time_scale": "Divide the durations of rules and platform by this.",
    },
)
def drill_triage(
    _c: Context,
    seeds: int = 3,
    faults: str = "",
    platforms: str = "",
    workers: int = 1,
    time_scale: float = 60.0,
) -> Report:
    """Break stagings of its own in every way; 1 unless triage names each alert and command."""
    import time

    from checks.inputs import check_count
    from runbook.triage_drill import plan_tasks, result_as_data, run_tasks, tabulate

    check_count("--seeds", seeds, minimum=1, maximum=_MOST_SEEDS)
    check_count("--workers", workers, minimum=1, maximum=_MOST_WORKERS)
    tasks = plan_tasks(seeds, faults.split(","), platforms.split(","))
    began = time.monotonic()
    results = run_tasks(tasks, workers, time_scale)
    wrong = [result for result in results if result.problem]
    return Report(
        finding=f"Triage was right {len(results) - len(wrong)} times of {len(results)}, "
        f"in {time.monotonic() - began:.0f} s.",
        level="bad" if wrong else "good",
        evidence=(tabulate(results),),
        next_steps=tuple(
            f"invoke dev.drill-triage --seeds=1 --faults={fault}"
            for fault in dict.fromkeys(result.task.fault for result in wrong)
        ),
        data={"results": [result_as_data(result) for result in results]},
        exit_code=1 if wrong else 0,
    )
