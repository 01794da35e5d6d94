"""The service on Cloud Run, as faults and mitigations by hand see it on any platform."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from staging.baseline import REPOSITORY, SERVICE
from staging.cloud_run.autoscaler import bounds_for
from staging.cloud_run.errors import CloudRunError
from staging.cloud_run.validation import read_cpu
from staging.model import Platform, WorkloadError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from staging.cloud_run.control_plane import CloudRun
    from staging.cloud_run.models import Revision

_EVERYTHING = 100


class CloudRunWorkload:
    """`staging.model.Workload` by Cloud Run's own code."""

    platform: Platform = "cloud_run"

    def __init__(self, cloud_run: CloudRun) -> None:
        """Change and read this Cloud Run."""
        self._cloud_run = cloud_run

    async def deploy(
        self, *, version: str = "", env: Mapping[str, str | None] = MappingProxyType({})
    ) -> str:
        """Deploy as the team's pipeline does; traffic follows the split in force.

        Return the new revision's name. Raise WorkloadError, TimeoutError.
        """
        try:
            await self._cloud_run.update_service(_template_change(version, env), "template")
        except CloudRunError as error:
            raise WorkloadError(f"Cloud Run refused: {error}") from error
        return self._cloud_run.store.service.latest_created

    async def recycle(self) -> None:
        """Replace every instance."""
        self._cloud_run.recycle()

    def most_instances(self) -> int:
        """Return the maximum of the serving revision, within the service's."""
        spec = self._cloud_run.store.service.spec
        return bounds_for(self._serving().template, spec, _EVERYTHING, listed=True).most

    def cpu(self) -> float:
        """Return the vCPUs of an instance of the serving revision."""
        return read_cpu(self._serving().template.container.limits["cpu"])

    def serving_image(self) -> str:
        """Return the image of the revision with the largest share of the traffic."""
        return self._serving().template.container.image

    def discard_image(self, image: str) -> None:
        """Take an image from the registry."""
        self._cloud_run.registry.discard(image)

    def _serving(self) -> Revision:
        shares = self._cloud_run.store.find_service(SERVICE).shares()
        return self._cloud_run.store.revisions[max(shares, key=lambda name: shares[name])]


def _template_change(
    version: str, env: Mapping[str, str | None]
) -> Callable[[dict[str, Any]], None]:
    def change(service: dict[str, Any]) -> None:
        container = service["template"]["containers"][0]
        if version:
            container["image"] = f"{REPOSITORY}:{version}"
        kept = [item for item in container.get("env", []) if item["name"] not in env]
        added = [{"name": name, "value": value} for name, value in env.items() if value is not None]
        container["env"] = kept + added
        # A name that was given to the last revision cannot be given to this one.
        service["template"].pop("revision", None)

    return change
