"""What kubectl and gcloud, run by hand on Kubernetes, share with the first questions' answers."""

from __future__ import annotations

import json

from tests.support.vendor import ByHand, Comparison, Facts
from tests.vendor.comparisons_errors import list_firing, parse_time

PLATFORM = "kubernetes"
FAULT = "endpoint-errors"
ALERT = "HighErrorRate"


def compare_service(typed: list[ByHand], told: Facts) -> None:
    """Kubectl describes the same image, replicas and ReplicaSet, and lists the same pods."""
    described, pods = (one.stdout for one in typed)
    assert told["settings"]["image"] in described
    assert f"{told['settings']['replicas']} desired" in described
    assert told["latest_created"] in described
    names = {line.split()[0] for line in pods.splitlines()[1:]}
    assert names
    assert names == {pod["pod"] for pod in told["pods"]}


def compare_revisions(typed: list[ByHand], told: Facts) -> None:
    """Kubectl's history has as many revisions, and its ReplicaSets are the same."""
    history, sets = (one.stdout for one in typed)
    numbers = [line for line in history.splitlines() if line[:1].isdigit()]
    assert len(numbers) == told["total"]
    ours = {one["revision"]: one["max_instances"] for one in told["revisions"]}
    by_hand = {line.split()[0]: int(line.split()[1]) for line in sets.splitlines()[1:]}
    assert by_hand
    assert by_hand == ours


def compare_errors(typed: list[ByHand], told: Facts) -> None:
    """What gcloud read just before is in the step's groups, ReplicaSet by ReplicaSet."""
    entries = json.loads(typed[0].stdout)
    assert entries
    assert told["entries"] >= len(entries)
    oldest = min(parse_time(group["first_seen"]) for group in told["groups"])
    by_hand = {
        f"{entry['labels']['k8s-pod/app']}-{entry['labels']['k8s-pod/pod-template-hash']}"
        for entry in entries
        if told["complete"] or parse_time(entry["timestamp"]) >= oldest
    }
    assert by_hand
    assert by_hand <= {revision for group in told["groups"] for revision in group["revisions"]}


def compare_triage(typed: list[ByHand], told: Facts) -> None:
    """Prometheus says that the same alerts fire; kubectl lists the ReplicaSet that serves."""
    assert list_firing(typed) == {
        one["alert"] for one in told["alerts"] if one["state"] == "firing"
    }
    assert f"replicaset.apps/{told['serving']}" in typed[0].stdout


COMPARISONS: dict[str, Comparison] = {
    "assess.service": compare_service,
    "assess.revisions": compare_revisions,
    "assess.errors": compare_errors,
    "assess.triage": compare_triage,
}
