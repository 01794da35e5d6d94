"""The platforms that can run the service, one at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from staging.cloud_run.workload import CloudRunWorkload
from staging.kubernetes.workload import KubernetesWorkload

if TYPE_CHECKING:
    from staging.cloud_run.control_plane import CloudRun
    from staging.kubernetes.cluster import Cluster
    from staging.model import Platform, Workload


class Platforms:
    """Cloud Run at first; `reset` moves the service, which then is nowhere else."""

    def __init__(self, cloud_run: CloudRun, cluster: Cluster) -> None:
        """Take both; Cloud Run serves already."""
        self._cloud_run = cloud_run
        self._cluster = cluster
        self._workloads: dict[Platform, Workload] = {
            "cloud_run": CloudRunWorkload(cloud_run),
            "kubernetes": KubernetesWorkload(cluster),
        }
        self.current: Platform = "cloud_run"

    @property
    def workload(self) -> Workload:
        """The service on the platform in force."""
        return self._workloads[self.current]

    def shares(self) -> dict[str, int]:
        """Return revision or ReplicaSet → whole percent of the requests."""
        if self.current == "kubernetes":
            return self._cluster.shares()
        return dict(self._cloud_run.store.service.shares())

    async def reset(self, platform: Platform) -> None:
        """Bring the baseline up on `platform` and return when it serves; the other has nothing.

        Raise TimeoutError when its instances do not become ready.
        """
        if platform != self.current:
            await (self._cloud_run.remove() if platform == "kubernetes" else self._cluster.stop())
            self.current = platform
        await (self._cluster.reset() if platform == "kubernetes" else self._cloud_run.reset())
