"""What the lines by hand of keys, addresses and limits share with their steps' answers."""

from __future__ import annotations

from tests.support.vendor import Comparison

FAULT = "endpoint-errors"
ALERT = "HighErrorRate"
COMPARISONS: dict[str, Comparison] = {}
