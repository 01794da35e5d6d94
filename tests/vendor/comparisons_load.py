"""What the lines by hand of latency, CPU and memory share with their steps' answers."""

from __future__ import annotations

import json
import math

from tests.support.vendor import ByHand, Comparison, Facts

FAULT = "endpoint-errors"
ALERT = "HighErrorRate"
# Both ask within seconds of each other, while the window moves on.
_ALIKE = 0.5


def compare_latency(typed: list[ByHand], told: Facts) -> None:
    """Prometheus' own quantile of each endpoint is about the one that the step works out."""
    by_hand = {
        series["metric"]["path"]: float(series["value"][1])
        for series in json.loads(typed[0].stdout)["data"]["result"]
        if not math.isnan(float(series["value"][1]))
    }
    ours = {one["name"]: one["p95"] for one in told["by_endpoint"]}
    assert by_hand
    assert set(ours) == set(by_hand)
    for path, seconds in by_hand.items():
        assert math.isclose(seconds, ours[path], rel_tol=_ALIKE), (path, seconds, ours[path])


COMPARISONS: dict[str, Comparison] = {
    "assess.latency": compare_latency,
}
