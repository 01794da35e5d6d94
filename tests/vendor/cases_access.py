"""Changes of addresses and keys that a person can type with the real gcloud and curl."""

from __future__ import annotations

from typing import Any

import requests

from runbook.changes.service_plans import HEADER_FILE
from tests.support.changes import Case
from tests.support.embedded import Embedded
from tests.support.waiting import wait_until

DEADLINE_S = 20.0
TENANT = "acme_logistics"
POLICY = "convergence-security-policy"


def read_policy(staging: Embedded) -> list[dict[str, Any]]:
    """Return the policy's rules; a description names the change, which no two runs share."""
    place = staging.endpoints
    url = f"{place['api']}/compute/v1/projects/{place['project']}/global/securityPolicies/{POLICY}"
    answer = requests.get(url, timeout=DEADLINE_S)
    answer.raise_for_status()
    return [
        rule | {"description": rule["description"].startswith("runbook ")}
        for rule in answer.json()["rules"]
    ]


def prepare_taken_priority(staging: Embedded) -> list[str]:
    """Start from a rule of somebody else at the priority that would be the first."""
    done = staging.invoke("mitigate.block-ip", "--source=203.0.113.9")
    assert done.returncode == 0, done.output
    return ["--source=203.0.113.0/28,198.51.100.7"]


def prepare_header(staging: Embedded) -> list[str]:
    """Put the admin key where the line reads it from, for its owner alone."""
    folder = staging.state / "keys"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = folder / HEADER_FILE
    file.touch(mode=0o600)
    key = (staging.directory / "admin-key").read_text().strip()
    file.write_text(f"x-admin-key: {key}\n")
    return []


def read_keys(staging: Embedded) -> dict[str, Any]:
    """Return how many keys the tenant has that open, and who may read the new secret's file."""
    key = (staging.directory / "admin-key").read_text().strip()
    url = f"{staging.endpoints['service_url']}/admin/tenants/{TENANT}/api-keys"
    answer = requests.get(url, headers={"x-admin-key": key}, timeout=DEADLINE_S)
    answer.raise_for_status()
    active = [one for one in answer.json()["api_keys"] if one["is_active"] in (True, "true")]
    files = list((staging.state / "keys").glob(f"{TENANT}-*.key"))
    wait_until(
        lambda: all(f"cda.{TENANT}." in file.read_text() for file in files),
        deadline_s=DEADLINE_S,
        what="the secret is in its file",
    )
    return {"active": len(active), "modes": [file.stat().st_mode & 0o777 for file in files]}


ISSUE = [f"--tenants={TENANT}"]
CASES = {
    "block-ip": Case("mitigate.block-ip", arguments=["--source=127.0.0.66"], read=read_policy),
    "block-ip-second": Case("mitigate.block-ip", prepare_taken_priority, read=read_policy),
    "issue-api-key": Case("mitigate.issue-api-key", prepare_header, ISSUE, read=read_keys),
}
