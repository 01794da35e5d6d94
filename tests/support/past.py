"""A healthy past, which the rules' windows and the evidence for a rollback look back on."""

from __future__ import annotations

from tests.support.embedded import Embedded
from tests.support.waiting import wait_until_held

PAST_S = 5 * 60
DEADLINE_S = 30.0


def is_healthy(staging: Embedded) -> bool:
    """Return whether staging says it is ready and no alert is pending or firing."""
    return bool(staging.control("/status")["ready"]) and not staging.alerts()


def wait_for_past(staging: Embedded) -> None:
    """Wait until a service that nobody broke has been healthy for five of its minutes.

    Raises:
        AssertionError: An alert fires on it.
        TimeoutError: It does not stay healthy for so long.
    """
    wait_until_held(
        lambda: _is_quiet(staging),
        seconds=PAST_S / staging.time_scale,
        deadline_s=DEADLINE_S,
        what="healthy",
    )


def _is_quiet(staging: Embedded) -> bool:
    assert "firing" not in staging.alerts().values(), f"a false alarm: {staging.alerts()}"
    return is_healthy(staging)
