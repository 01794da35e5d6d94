"""A question asked by hand with the vendors' real programs gets the facts that the step shows.

Each module `comparisons_*.py` here names the fault under which its steps have something to find,
and the platform, where that is not Cloud Run.
"""

from __future__ import annotations

import shlex
from typing import Any, NamedTuple

import pytest

from checks.target import CLOUD_RUN, load_target
from runbook.catalogue import steps
from tests.support.embedded import Embedded
from tests.support.vendor import Comparison, run_by_hand
from tests.support.waiting import wait_until
from tests.vendor import (
    comparisons_access,
    comparisons_access_pods,
    comparisons_cpu_pods,
    comparisons_errors,
    comparisons_errors_pods,
    comparisons_limits,
    comparisons_limits_pods,
    comparisons_load,
    comparisons_load_pods,
)

pytestmark = [pytest.mark.vendor, pytest.mark.staging]

FIRE_DEADLINE_S = 60.0


class Case(NamedTuple):
    """One step's lines by hand under the fault of its comparison."""

    step: str
    compare: Comparison
    fault: str
    alert: str
    platform: str


MODULES = (
    comparisons_errors,
    comparisons_load,
    comparisons_access,
    comparisons_limits,
    comparisons_errors_pods,
    comparisons_load_pods,
    comparisons_cpu_pods,
    comparisons_access_pods,
    comparisons_limits_pods,
)
CASES = [
    Case(name, compare, module.FAULT, module.ALERT, getattr(module, "PLATFORM", CLOUD_RUN))
    for module in MODULES
    for name, compare in module.COMPARISONS.items()
]


def test_every_read_has_its_comparison() -> None:
    """No step with a line by hand is left out on any platform, and none is compared twice."""
    reads = {
        (name, platform or CLOUD_RUN)
        for name, step in steps().items()
        for platform, lines in step.by_platform.items()
        if lines and not step.changes
    }
    compared = [(case.step, case.platform) for case in CASES]
    assert reads == set(compared)
    assert len(compared) == len(set(compared))


def break_staging(staging: Embedded, case: Case) -> None:
    """Bring the case's fault about, unless it is there, and wait for its alert."""
    broken = staging.control("/status")["faults"] == [case.fault]
    if broken and staging.platform == case.platform and staging.is_firing(case.alert):
        return
    staging.reset(case.platform)
    staging.control("/break", {"fault": case.fault})
    wait_until(
        lambda: staging.is_firing(case.alert),
        deadline_s=FIRE_DEADLINE_S,
        what=f"{case.alert} fires",
    )


@pytest.mark.parametrize("case", CASES, ids=[f"{case.step}-{case.platform}" for case in CASES])
def test_by_hand_tells_the_same(
    case: Case,
    embedded_staging: Embedded,
    by_hand_record: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each line exits 0, and its answer holds what the step's answer holds."""
    break_staging(embedded_staging, case)
    for key, value in embedded_staging.environment().items():
        monkeypatch.setenv(key, value)
    argv_lines = steps()[case.step].by_hand_argv(load_target())
    by_hand_record |= {"step": case.step, "platform": case.platform}
    by_hand_record["line"] = "\n".join(map(shlex.join, argv_lines))
    by_hand_record |= {"outcome": "unverified", "why": "its program is not installed here"}
    typed = [run_by_hand(embedded_staging, argv, shlex.join(argv)) for argv in argv_lines]
    by_hand_record |= {"outcome": "different", "why": "a line failed or its answer differs"}
    by_hand_record["seconds"] = round(sum(one.seconds for one in typed), 2)
    for one in typed:
        assert one.returncode == 0, f"{one.line}\n{one.stdout}{one.stderr}"
    done = embedded_staging.invoke(case.step, "--json")
    assert done.returncode == 0, done.output
    case.compare(typed, done.json()["data"])
    by_hand_record |= {"outcome": "equal", "why": ""}
