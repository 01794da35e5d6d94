"""Keeps what each line typed by hand came to, for the results."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture
def by_hand_record(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Return the line's record; it says `different` until the comparison has been made."""
    record: dict[str, Any] = {
        "step": "",
        "platform": "",
        "line": "",
        "outcome": "different",
        "why": "the comparison did not finish",
        "seconds": 0.0,
    }
    request.node.user_properties.append(("by_hand", record))
    return record
