"""Changes of Cloud Run that a person can type with the real gcloud."""

from __future__ import annotations

from tests.support.changes import Case, prepare_known_tenant
from tests.support.embedded import Embedded
from tests.support.store import deploy_bad_revision, find_serving, pin_traffic


def prepare_bad_revision(staging: Embedded) -> list[str]:
    """Start from a bad deployment, and name the revision that served before it."""
    return [f"--to={deploy_bad_revision(staging)}"]


def prepare_pin(staging: Embedded) -> list[str]:
    """Start from traffic that somebody pinned to the revision that serves."""
    pin_traffic(staging, find_serving(staging))
    return []


def prepare_pin_after_bad_revision(staging: Embedded) -> list[str]:
    """Start from a rollback: the template is bad, the traffic is pinned to what was good."""
    pin_traffic(staging, deploy_bad_revision(staging))
    return []


def prepare_block(staging: Embedded) -> list[str]:
    """Start from another tenant that is blocked already."""
    done = staging.invoke("mitigate.block-tenant", "--tenant=acme_logistics", "--force")
    assert done.returncode == 0, done.output
    return prepare_known_tenant(staging)


SCALE = ["--min-instances=4", "--max-instances=12"]
SIZE = ["--cpu=4", "--memory=8Gi"]
LIMITS = ["--requests-per-minute=1200", "--auth-failures-per-minute=6"]
CASES = {
    "rollback": Case("mitigate.rollback", prepare_bad_revision),
    "restart": Case("mitigate.restart"),
    "restart-pinned": Case("mitigate.restart", prepare_pin_after_bad_revision),
    "scale-up": Case("mitigate.scale-up", arguments=SCALE),
    "scale-up-pinned": Case("mitigate.scale-up", prepare_pin_after_bad_revision, SCALE),
    "scale-up-size": Case("mitigate.scale-up", arguments=SIZE),
    "scale-up-least-and-size": Case(
        "mitigate.scale-up", arguments=["--min-instances=5", "--cpu=4", "--memory=8Gi"]
    ),
    "release-traffic": Case("mitigate.release-traffic", prepare_pin),
    "set-timeout": Case("mitigate.set-timeout", arguments=["--seconds=30"]),
    "enable-caching": Case("mitigate.enable-caching"),
    "enable-caching-pinned": Case("mitigate.enable-caching", prepare_pin_after_bad_revision),
    "set-rate-limit": Case("mitigate.set-rate-limit", arguments=LIMITS),
    "set-rate-limit-pinned": Case(
        "mitigate.set-rate-limit", prepare_pin_after_bad_revision, LIMITS
    ),
    "block-tenant": Case("mitigate.block-tenant", prepare_known_tenant),
    "block-second-tenant": Case("mitigate.block-tenant", prepare_block),
}
