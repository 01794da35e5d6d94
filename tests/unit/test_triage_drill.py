"""What is drilled: every fault that a feature promises to mend, a healthy service, nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checks.errors import UsageError
from runbook.triage_drill import HEALTHY, Task, plan_tasks

ALL = plan_tasks(1, [], [])
FAULTS = {task.fault for task in ALL}


def test_every_seed_has_every_fault_and_a_healthy_service_on_both_platforms() -> None:
    healthy = [task for task in ALL if task.fault == HEALTHY]
    assert healthy == [
        Task(1, "cloud_run", HEALTHY, "", ""),
        Task(1, "kubernetes", HEALTHY, "", ""),
    ]
    assert {("kubernetes", "hot-loop"), ("cloud_run", "lost-image")} <= {
        (task.platform, task.fault) for task in ALL
    }
    assert len(plan_tasks(3, [], [])) == 3 * len(ALL)


@given(st.text(min_size=1).filter(lambda text: text not in FAULTS))
def test_a_fault_or_a_platform_that_no_feature_has_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="No feature knows"):
        plan_tasks(1, [text], [])
    with pytest.raises(UsageError, match="No feature knows"):
        plan_tasks(1, [], [text])
