"""What the lines by hand of latency and of the instances' use share with their steps' answers."""

from __future__ import annotations

import json
import math

from tests.support.vendor import ByHand, Comparison, Facts

FAULT = "slow-reads"
ALERT = "HighLatencyP95"
# Both ask within seconds of each other, while the window moves on.
_ALIKE = 0.5
_POINTS = 25.0


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


def compare_slow_endpoints(typed: list[ByHand], told: Facts) -> None:
    """Each slow request that gcloud lists is in the step's sums, which are taken a moment later."""
    entries = [entry["jsonPayload"] for entry in json.loads(typed[0].stdout)]
    durations: dict[str, dict[str, float]] = {}
    for fields in entries:
        durations.setdefault(fields["path"], {})[fields["request_id"]] = fields["duration_ms"]
    assert durations
    ours = {one["name"]: one for one in told["by_endpoint"]}
    for path, by_request in durations.items():
        assert ours[path]["count"] >= len(by_request)
        assert ours[path]["worst_ms"] >= max(by_request.values())


def compare_cpu(typed: list[ByHand], told: Facts) -> None:
    """Prometheus gives the same instances about the same CPU."""
    by_hand = {
        series["metric"]["instance"]: float(series["value"][1])
        for series in json.loads(typed[0].stdout)["data"]["result"]
    }
    ours = {one["address"]: one["cpu_percent"] for one in told["instances"]}
    assert ours
    assert set(ours) <= set(by_hand)  # one that was just replaced still has an average by hand
    for address, percent in ours.items():
        assert abs(percent - by_hand[address]) < _POINTS


COMPARISONS: dict[str, Comparison] = {
    "assess.latency": compare_latency,
    "assess.slow-endpoints": compare_slow_endpoints,
    "assess.cpu": compare_cpu,
}
