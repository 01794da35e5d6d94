"""metrics.k8s.io: what pods use, from the fleet's own measurement."""

from __future__ import annotations

from typing import TYPE_CHECKING

from staging.kubernetes.kinds import POD, POD_METRICS
from staging.kubernetes.settings import CONTAINER
from staging.kubernetes.store import now

if TYPE_CHECKING:
    from staging.kubernetes.cluster import Cluster
    from staging.kubernetes.store import Object

_NANO = 1_000_000_000
_KIBI = 1024


def measure_pods(cluster: Cluster) -> list[Object]:
    """Return the PodMetrics of every pod whose container runs."""
    measured = (measure_pod(cluster, item) for item in cluster.store.list(POD))
    return [item for item in measured if item is not None]


def measure_pod(cluster: Cluster, pod: Object) -> Object | None:
    """Return a pod's PodMetrics, None while its container does not run."""
    metadata = pod["metadata"]
    worker = cluster.pods.find(metadata["name"])
    instance = worker.instance if worker else None
    if instance is None:
        return None
    cores = cluster.fleet.usage(instance) * instance.spec.cpu
    return {
        "kind": POD_METRICS.kind,
        "apiVersion": POD_METRICS.api_version,
        "metadata": {
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "creationTimestamp": now(),
            "labels": metadata.get("labels", {}),
        },
        "timestamp": now(),
        "window": "1s",
        "containers": [
            {
                "name": CONTAINER,
                "usage": {
                    "cpu": f"{round(cores * _NANO)}n",
                    "memory": f"{cluster.fleet.memory(instance) // _KIBI}Ki",
                },
            }
        ],
    }
