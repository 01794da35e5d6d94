"""A question asked by hand with the vendors' real programs gets the facts that the step shows.

Each module `comparisons_*.py` here names the fault under which its steps have something to find.
"""

from __future__ import annotations

import shlex
from typing import Any, NamedTuple

import pytest

from checks.target import load_target
from runbook.catalogue import steps
from tests.support.embedded import Embedded
from tests.support.vendor import Comparison, run_by_hand
from tests.support.waiting import wait_until
from tests.vendor import comparisons_access, comparisons_errors, comparisons_load

pytestmark = [pytest.mark.vendor, pytest.mark.staging]

FIRE_DEADLINE_S = 60.0


class Case(NamedTuple):
    """One step's lines by hand under the fault of its comparison."""

    step: str
    compare: Comparison
    fault: str
    alert: str


CASES = [
    Case(name, compare, module.FAULT, module.ALERT)
    for module in (comparisons_errors, comparisons_load, comparisons_access)
    for name, compare in module.COMPARISONS.items()
]


def test_every_read_has_its_comparison() -> None:
    """No step with a line by hand is left out, and none is compared twice."""
    reads = {name for name, step in steps().items() if step.by_hand and not step.changes}
    compared = [case.step for case in CASES]
    assert reads == set(compared)
    assert len(compared) == len(set(compared))


def break_staging(staging: Embedded, fault: str, alert: str) -> None:
    """Bring `fault` about, unless it is there, and wait for its alert."""
    if staging.control("/status")["faults"] == [fault] and staging.is_firing(alert):
        return
    staging.reset()
    staging.control("/break", {"fault": fault})
    wait_until(lambda: staging.is_firing(alert), deadline_s=FIRE_DEADLINE_S, what=f"{alert} fires")


@pytest.mark.parametrize("case", CASES, ids=[case.step for case in CASES])
def test_by_hand_tells_the_same(
    case: Case,
    embedded_staging: Embedded,
    by_hand_record: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each line exits 0, and its answer holds what the step's answer holds."""
    break_staging(embedded_staging, case.fault, case.alert)
    for key, value in embedded_staging.environment().items():
        monkeypatch.setenv(key, value)
    argv_lines = steps()[case.step].by_hand_argv(load_target())
    by_hand_record |= {"step": case.step, "line": "\n".join(map(shlex.join, argv_lines))}
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
