"""A change typed by hand with the real gcloud leaves the same store content as its task."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.support.embedded import Embedded
from tests.support.store import deploy_bad_revision, find_serving, pin_traffic, read_store
from tests.support.vendor import run_by_hand

pytestmark = [pytest.mark.vendor, pytest.mark.staging]


def prepare_nothing(_staging: Embedded) -> list[str]:
    """Start from the baseline."""
    return []


def prepare_bad_revision(staging: Embedded) -> list[str]:
    """Start from a bad deployment, and name the revision that served before it."""
    return [f"--to={deploy_bad_revision(staging)}"]


def prepare_pin(staging: Embedded) -> list[str]:
    """Start from traffic that somebody pinned to the revision that serves."""
    pin_traffic(staging, find_serving(staging))
    return []


def prepare_pin_after_bad_revision(staging: Embedded) -> list[str]:
    """Start from a rollback: the template is bad, the traffic is pinned to what was good."""
    pin_traffic(staging, deploy_bad_revision(staging))
    return []


@dataclass(frozen=True)
class Case:
    """One change in one state of the service."""

    step: str
    prepare: Callable[[Embedded], list[str]]
    arguments: list[str] = field(default_factory=list)


SCALE = ["--min-instances=4", "--max-instances=12"]
CASES = {
    "rollback": Case("mitigate.rollback", prepare_bad_revision),
    "restart": Case("mitigate.restart", prepare_nothing),
    "restart-pinned": Case("mitigate.restart", prepare_pin_after_bad_revision),
    "scale-up": Case("mitigate.scale-up", prepare_nothing, SCALE),
    "scale-up-pinned": Case("mitigate.scale-up", prepare_pin_after_bad_revision, SCALE),
    "release-traffic": Case("mitigate.release-traffic", prepare_pin),
}


@pytest.mark.parametrize("name", CASES)
def test_by_hand_equals_task(name: str, staging: Embedded, by_hand_record: dict[str, Any]) -> None:
    """Both start from the same state; what they leave behind is equal, stamps aside."""
    case = CASES[name]
    arguments = [*case.arguments, *case.prepare(staging)]
    plan = staging.invoke(case.step, *arguments, "--dry-run", "--json")
    assert plan.returncode == 0, plan.output
    lines = plan.json()["plan"]["by_hand"]
    by_hand_record |= {"step": case.step, "line": "\n".join(lines), "outcome": "unverified"}
    by_hand_record["why"] = "its program is not installed here"
    for line in lines:
        typed = run_by_hand(staging, shlex.split(line), line)
        by_hand_record |= {"outcome": "different", "why": typed.stderr[-400:]}
        by_hand_record["seconds"] = round(by_hand_record["seconds"] + typed.seconds, 2)
        assert typed.returncode == 0, f"{line}\n{typed.stderr}"
    left_by_hand = read_store(staging)

    staging.reset()
    done = staging.invoke(case.step, *case.arguments, *case.prepare(staging))
    assert done.returncode == 0, done.output
    left_by_task = read_store(staging)
    by_hand_record["why"] = "the store content differs"
    assert left_by_hand == left_by_task
    by_hand_record |= {"outcome": "equal", "why": ""}
