"""Waiting for a condition, always with a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable

POLL_S = 0.1


def wait_until(condition: Callable[[], object], *, deadline_s: float, what: str) -> float:
    """Return the seconds until `condition` held; raise TimeoutError when the deadline passes."""
    started = time.monotonic()
    while not condition():
        if time.monotonic() - started > deadline_s:
            message = f"after {deadline_s:.0f} s still not: {what}"
            raise TimeoutError(message)
        time.sleep(POLL_S)
    return time.monotonic() - started


def hold(condition: Callable[[], object], *, seconds: float, what: str) -> None:
    """Check `condition` again and again for `seconds`; raise AssertionError once it fails."""
    started = time.monotonic()
    while (elapsed := time.monotonic() - started) < seconds:
        if not condition():
            message = f"after {elapsed:.1f} s no longer: {what}"
            raise AssertionError(message)
        time.sleep(POLL_S)


def wait_until_held(
    condition: Callable[[], object], *, seconds: float, deadline_s: float, what: str
) -> None:
    """Wait until `condition` has held for `seconds` on end; raise TimeoutError at the deadline."""
    started = since = time.monotonic()
    while time.monotonic() - since < seconds:
        if not condition():
            since = time.monotonic()
        if time.monotonic() - started > deadline_s:
            message = f"within {deadline_s:.0f} s not for {seconds:.1f} s on end: {what}"
            raise TimeoutError(message)
        time.sleep(POLL_S)
