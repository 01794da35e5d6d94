"""Changes of the Deployment that a person can type with the real kubectl."""

from __future__ import annotations

from functools import partial

from tests.support.changes import KUBERNETES, Case, prepare_known_tenant, prepare_nothing
from tests.support.deployment_store import NUMBER, read_deployment_store
from tests.support.embedded import Embedded
from tests.support.past import wait_for_past
from tests.support.waiting import wait_until

DEADLINE_S = 30.0
on_kubernetes = partial(Case, platform=KUBERNETES, read=read_deployment_store)


def prepare_bad_template(staging: Embedded) -> list[str]:
    """Start from a bad deployment; which ReplicaSet served before it is for the step to find."""
    wait_for_past(staging)
    before = staging.read_deployment()["metadata"]["annotations"][NUMBER]
    staging.control("/break", {"fault": "endpoint-errors"})
    wait_until(
        lambda: staging.read_deployment()["metadata"]["annotations"][NUMBER] != before,
        deadline_s=DEADLINE_S,
        what="the bad template is rolled out",
    )
    read_deployment_store(staging)
    return []


def prepare_block(staging: Embedded) -> list[str]:
    """Start from another tenant that is blocked already."""
    done = staging.invoke("mitigate.block-tenant", "--tenant=acme_logistics", "--force")
    assert done.returncode == 0, done.output
    return prepare_known_tenant(staging)


LIMITS = ["--requests-per-minute=1200", "--auth-failures-per-minute=6"]
SIZE = ["--cpu=4", "--memory=8Gi"]
CASES = {
    "rollback-kubernetes": on_kubernetes("mitigate.rollback", prepare_bad_template),
    "restart-kubernetes": on_kubernetes("mitigate.restart"),
    "scale-up-kubernetes": on_kubernetes("mitigate.scale-up", arguments=["--replicas=4"]),
    "scale-up-size-kubernetes": on_kubernetes("mitigate.scale-up", prepare_nothing, SIZE),
    "set-timeout-kubernetes": on_kubernetes("mitigate.set-timeout", arguments=["--seconds=30"]),
    "enable-caching-kubernetes": on_kubernetes("mitigate.enable-caching"),
    "set-rate-limit-kubernetes": on_kubernetes("mitigate.set-rate-limit", arguments=LIMITS),
    "block-tenant-kubernetes": on_kubernetes("mitigate.block-tenant", prepare_known_tenant),
    "block-second-tenant-kubernetes": on_kubernetes("mitigate.block-tenant", prepare_block),
}
