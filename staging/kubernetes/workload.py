"""The service on Kubernetes, as faults and mitigations by hand see it on any platform."""

from __future__ import annotations

import asyncio
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from staging.baseline import REPOSITORY, SERVICE
from staging.kubernetes.errors import StatusError
from staging.kubernetes.kinds import DEPLOYMENT, REPLICA_SET
from staging.kubernetes.pod_worker import NODE_CPU
from staging.kubernetes.progress import TIMED_OUT, find_condition, is_complete
from staging.kubernetes.quantities import to_cores
from staging.kubernetes.revisions import find_new, list_sets, revision_of
from staging.model import Platform, WorkloadError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from staging.kubernetes.cluster import Cluster
    from staging.kubernetes.store import Object

# Beyond every progress deadline that anybody sets here.
_ROLLOUT_DEADLINE_S = 60.0


class KubernetesWorkload:
    """`staging.model.Workload` by the API's own code."""

    platform: Platform = "kubernetes"

    def __init__(self, cluster: Cluster) -> None:
        """Change and read this cluster."""
        self._cluster = cluster

    async def deploy(
        self, *, version: str = "", env: Mapping[str, str | None] = MappingProxyType({})
    ) -> str:
        """Deploy as `kubectl set image` and `kubectl set env` do; wait for the rollout's end.

        It has ended when it is complete, past its deadline, or when its pods only back off any
        more. Return the ReplicaSet's name. Raise WorkloadError, TimeoutError.
        """

        def change(deployment: Object) -> None:
            container = deployment["spec"]["template"]["spec"]["containers"][0]
            if version:
                container["image"] = f"{REPOSITORY}:{version}"
            _set_env(container, env)

        try:
            self._cluster.writer.change(DEPLOYMENT, SERVICE, change)
        except StatusError as error:
            raise WorkloadError(f"Kubernetes refused: {error}") from error
        async with asyncio.timeout(_ROLLOUT_DEADLINE_S):
            await self._cluster.wait_until(self._has_ended)
        return self._newest_set()["metadata"]["name"]  # type: ignore[no-any-return]

    def _has_ended(self) -> bool:
        deployment = self._cluster.store.get(DEPLOYMENT, SERVICE)
        status = deployment["status"]
        if status.get("observedGeneration") != deployment["metadata"]["generation"]:
            return False
        if is_complete(deployment, status):
            return True
        new = find_new(deployment, list_sets(self._cluster.store, deployment))
        if new is None:
            return False
        if find_condition(deployment, "Progressing").get("reason") == TIMED_OUT:
            return True
        prefix = f"{new['metadata']['name']}-"
        return any(
            worker.name.startswith(prefix) and worker.waiting_reason.endswith("BackOff")
            for worker in self._cluster.pods.workers()
        )

    async def recycle(self) -> None:
        """Evict every pod."""
        await self._cluster.recycle()

    def most_instances(self) -> int:
        """Return the replicas that the Deployment wants."""
        replicas: int = self._cluster.store.get(DEPLOYMENT, SERVICE)["spec"]["replicas"]
        return replicas

    def cpu(self) -> float:
        """Return the vCPUs of one pod: its container's limit, or the node's without one."""
        resources = self._container(self._cluster.store.get(DEPLOYMENT, SERVICE))["resources"]
        return to_cores(resources.get("limits", {}).get("cpu", NODE_CPU))

    def serving_image(self) -> str:
        """Return the image of the ReplicaSet with the largest share of the traffic."""
        image: str = self._container(self._largest_set())["image"]
        return image

    def discard_image(self, image: str) -> None:
        """Take an image from the registry."""
        self._cluster.registry.discard(image)

    def _newest_set(self) -> Object:
        deployment = self._cluster.store.get(DEPLOYMENT, SERVICE)
        sets = list_sets(self._cluster.store, deployment)
        found = find_new(deployment, sets)
        return found if found is not None else max(sets, key=revision_of)

    def _largest_set(self) -> Object:
        shares = self._cluster.shares()
        if not shares:
            return self._newest_set()
        return self._cluster.store.get(REPLICA_SET, max(shares, key=lambda name: shares[name]))

    @staticmethod
    def _container(item: Object) -> dict[str, Any]:
        container: dict[str, Any] = item["spec"]["template"]["spec"]["containers"][0]
        return container


def _set_env(container: dict[str, Any], env: Mapping[str, str | None]) -> None:
    kept = [item for item in container.get("env", []) if item["name"] not in env]
    added = [{"name": name, "value": value} for name, value in env.items() if value is not None]
    container["env"] = kept + added
