"""A change typed by hand with the vendor's program leaves the same store content as its task."""

from __future__ import annotations

import shlex
from typing import Any

import pytest

from checks.target import CLOUD_RUN
from runbook.catalogue import steps
from tests.support.embedded import Embedded
from tests.support.vendor import run_by_hand
from tests.vendor import cases_access, cases_cloud_run, cases_kubernetes

pytestmark = [pytest.mark.vendor, pytest.mark.staging]

CASES = cases_cloud_run.CASES | cases_kubernetes.CASES | cases_access.CASES


def test_every_change_has_its_case() -> None:
    """No change with a line by hand is left out on any platform."""
    changes = {
        (name, platform or CLOUD_RUN)
        for name, step in steps().items()
        for platform, lines in step.by_platform.items()
        if lines and step.changes
    }
    assert changes == {(case.step, case.platform) for case in CASES.values()}


@pytest.mark.parametrize("name", CASES)
def test_by_hand_equals_task(
    name: str, embedded_staging: Embedded, by_hand_record: dict[str, Any]
) -> None:
    """Both start from the same state; what they leave behind is equal, stamps aside."""
    case, staging = CASES[name], embedded_staging
    staging.reset(case.platform)
    arguments = [*case.arguments, *case.prepare(staging)]
    plan = staging.invoke(case.step, *arguments, "--dry-run", "--json")
    assert plan.returncode == 0, plan.output
    lines = plan.json()["plan"]["by_hand"]
    by_hand_record |= {"step": case.step, "platform": case.platform, "line": "\n".join(lines)}
    by_hand_record |= {"outcome": "unverified", "why": "its program is not installed here"}
    for line in lines:
        typed = run_by_hand(staging, shlex.split(line), line)
        by_hand_record |= {"outcome": "different", "why": typed.stderr[-400:]}
        by_hand_record["seconds"] = round(by_hand_record["seconds"] + typed.seconds, 2)
        assert typed.returncode == 0, f"{line}\n{typed.stderr}"
    left_by_hand = case.read(staging)

    staging.reset(case.platform)
    done = staging.invoke(case.step, *case.arguments, *case.prepare(staging))
    assert done.returncode == 0, done.output
    left_by_task = case.read(staging)
    by_hand_record["why"] = "the store content differs"
    assert left_by_hand == left_by_task
    by_hand_record |= {"outcome": "equal", "why": ""}
