"""What the lines by hand of refused keys and of the key table share with their steps' answers."""

from __future__ import annotations

import csv
import json
from collections import Counter

from tests.support.vendor import ByHand, Comparison, Facts

FAULT = "credential-spray"
ALERT = "HighAuthFailureRate"


def compare_auth_sources(typed: list[ByHand], told: Facts) -> None:
    """What gcloud read just before comes from the same address, and the step read no less."""
    rows = list(csv.reader(typed[0].stdout.splitlines()))
    by_hand = Counter(row[0] for row in rows if row)
    assert by_hand
    [first, *_] = told["sources"]
    [(address, count)] = by_hand.most_common(1)
    assert first["address"] == address
    assert first["failures"] >= count
    assert {row[2] for row in rows if row} <= set(first["reasons"])


def compare_api_keys(typed: list[ByHand], told: Facts) -> None:
    """Bq counts the same active keys, those that have expired among them."""
    by_hand = {row["tenant_id"]: int(row["key_count"]) for row in json.loads(typed[0].stdout)}
    ours = {one["tenant"]: one["usable"] + one["expired"] for one in told["tenants"]}
    assert by_hand == ours
    assert len(by_hand) > 1


COMPARISONS: dict[str, Comparison] = {
    "assess.auth-sources": compare_auth_sources,
    "assess.api-keys": compare_api_keys,
}
