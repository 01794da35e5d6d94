"""Keeps what each line typed by hand came to, for the results."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture
def by_hand_record(request: pytest.FixtureRequest) -> Iterator[dict[str, Any]]:
    """Return the line's record; it says `different` until the comparison has been made."""
    record: dict[str, Any] = {
        "step": "",
        "line": "",
        "outcome": "different",
        "why": "the comparison did not finish",
        "seconds": 0.0,
    }
    request.node.user_properties.append(("by_hand", record))
    began = time.monotonic()
    yield record
    record["seconds"] = round(time.monotonic() - began, 2)
