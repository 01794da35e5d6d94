"""What the lines by hand of limits share with their steps' answers."""

from __future__ import annotations

import csv
import json
from collections import Counter

from tests.support.vendor import ByHand, Comparison, Facts, worst

FAULT = "tenant-spike"
ALERT = "RateLimitExceeded"


def compare_rate_limits(typed: list[ByHand], told: Facts) -> None:
    """Prometheus tells the same limits of as many instances, and who meets them most."""
    series = json.loads(typed[0].stdout)["data"]["result"]
    by_hand = Counter((one["metric"]["setting"], float(one["value"][1])) for one in series)
    ours: Counter[tuple[str, float]] = Counter()
    for setting in told["settings"]:
        for one in setting["in_force"]:
            ours[setting["name"], one["value"]] += one["instances"]
    assert by_hand == ours
    assert len(by_hand) > 1
    assert worst(typed[1].stdout, "tenant_id") == told["use"][0]["tenant"]


def compare_limited_tenants(typed: list[ByHand], told: Facts) -> None:
    """The tenant that gcloud finds most often in the log is the step's first."""
    rows = [row for row in csv.reader(typed[0].stdout.splitlines()) if row]
    [(tenant, _)] = Counter(row[0] for row in rows).most_common(1)
    assert told["tenants"][0]["tenant"] == tenant


COMPARISONS: dict[str, Comparison] = {
    "assess.rate-limits": compare_rate_limits,
    "assess.rate-limited-tenants": compare_limited_tenants,
}
