"""Cloud Run itself: takes changes from both faces and keeps the fleet as the store says."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from staging.baseline import BASELINE_IMAGES, SERVICE
from staging.cloud_run import knative, knative_schema, v2, v2_schema
from staging.cloud_run.errors import invalid
from staging.cloud_run.messages import apply_mask, read_mask, read_value
from staging.cloud_run.models import Condition, LogSink, Place, Revision, Service
from staging.cloud_run.operations import Operation, Operations
from staging.cloud_run.platform_log import PlatformLog
from staging.cloud_run.pools import Pools, start_task
from staging.cloud_run.reconciler import Reconciler
from staging.cloud_run.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from staging.model import Fleet

AUTOSCALER_LEAST_INTERVAL_S = 0.25
AUTOSCALER_INTERVAL_S = 5.0
# Long for a machine that is busy with something else; normally instances are ready in 20 ms.
BASELINE_DEADLINE_S = 20.0
ANONYMOUS = "anonymous"


class CloudRun:
    """One project's Cloud Run in one region, with one service.

    `rollback_clears_failure` decides what has not been observed on a real project: whether the
    Ready condition turns True when traffic is pinned to an older revision while the latest one
    has failed. By default it stays False with the failed revision's message, as field reports
    have it, and only the served traffic shows that the rollback worked.
    """

    def __init__(  # noqa: PLR0913 - keyword-only settings, each with a meaning of its own
        self,
        fleet: Fleet,
        *,
        project: str,
        project_number: str,
        region: str,
        time_scale: float,
        set_split: Callable[[Mapping[str, int]], None],
        log: LogSink | None = None,
        default_env: Mapping[str, str] | None = None,
        images: Collection[str] = (),
        service_url: str = "",
        rollback_clears_failure: bool = False,
    ) -> None:
        """Take the fleet to run instances on and the ingress's `set_split`.

        `default_env` is set in every container unless its template says otherwise; `images` are
        the references that the registry holds besides those of the baseline.
        """
        url = service_url or f"https://{SERVICE}-{project_number}.{region}.run.app"
        self.place = Place(project, project_number, region, time_scale, url)
        self.store = Store(self.place)
        self.operations = Operations(self.place)
        platform_log = PlatformLog(log, self.place, SERVICE)
        known = {*images, *BASELINE_IMAGES}
        self._pools = Pools(fleet, self.store, platform_log, default_env or {}, known)
        self.registry = self._pools.registry
        self._set_split = set_split
        self._tasks: list[asyncio.Task[None]] = []
        # While instances are being killed, nothing may start new ones.
        self._paused = False
        self._reconciler = Reconciler(
            self.store,
            self.operations,
            self._pools.find,
            set_split,
            rollback_clears_failure=rollback_clears_failure,
        )

    async def start(self) -> None:
        """Bring the baseline up and keep it so.

        Raises:
            TimeoutError: when its instances are not ready within 20 s.
        """
        self._paused = False
        self._tasks = [
            start_task(self._reconcile_forever(), "cloud run reconciler"),
            start_task(self._autoscale_forever(), "cloud run autoscaler"),
        ]
        await self._bring_up()

    async def stop(self) -> None:
        """End all work and kill every instance."""
        self._paused = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        await self._pools.clear()

    async def reset(self) -> None:
        """Kill every instance, go back to the baseline, and return when it serves.

        Raises:
            TimeoutError: when its instances are not ready within 20 s.
        """
        # The loops end first: one that ran half-way would start instances of what is forgotten.
        await self.stop()
        self.operations.clear()
        self._reconciler.clear()
        self.store.reset()
        await self.start()

    async def remove(self) -> None:
        """Kill every instance and hold no service, until `reset` brings the baseline back."""
        await self.stop()
        self.operations.clear()
        self._reconciler.clear()
        self.store.delete()
        self._set_split({})

    async def _bring_up(self) -> None:
        service = self.store.service
        self._reconcile()
        pool = self._pools.find(self.store.revisions[service.latest_ready])
        async with asyncio.timeout(BASELINE_DEADLINE_S):
            while len(pool.ready()) < pool.desired:
                self._pools.changed.clear()
                await self._pools.changed.wait()
        self._set_split(service.shares())

    def _reconcile(self) -> None:
        if not self._paused:
            self._reconciler.reconcile()

    async def _reconcile_forever(self) -> None:
        while True:
            await self._pools.changed.wait()
            self._pools.changed.clear()
            self._reconcile()

    async def _autoscale_forever(self) -> None:
        interval = max(AUTOSCALER_LEAST_INTERVAL_S, self.place.seconds(AUTOSCALER_INTERVAL_S))
        while True:
            await asyncio.sleep(interval)
            self._reconciler.observe(time.monotonic(), self._pools.usage())
            self._reconcile()

    def recycle(self, revision: str = "") -> None:
        """Replace the instances of one revision or of all, as the platform may at any time."""
        self._pools.recycle(revision)

    def conditions_of(self, revision: Revision) -> list[Condition]:
        """Return a revision's conditions as both faces show them."""
        reason = "HealthCheckContainerError" if revision.message else ""
        active = revision.active and revision.phase == "ready"
        return [
            Condition("Ready", revision.ready, revision.message, reason, changed=revision.changed),
            Condition(
                "ContainerHealthy",
                revision.ready,
                revision.message,
                reason,
                changed=revision.changed,
            ),
            Condition("ResourcesAvailable", changed=revision.created),
            Condition(
                "Active",
                active,
                reason="" if active else "Retired",
                message="" if active else "Revision retired.",
                severity="Info",
                changed=revision.changed,
            ),
        ]

    def patch_service(
        self,
        body: Mapping[str, Any],
        mask: str,
        *,
        validate_only: bool = False,
        modifier: str = ANONYMOUS,
    ) -> Operation:
        """Change the service as v2 `services.patch` does; return the operation under way.

        Without a mask the whole service is replaced.

        Raises:
            CloudRunError: INVALID_ARGUMENT, ABORTED on a stale etag, ALREADY_EXISTS for a
                revision's name, UNIMPLEMENTED; nothing has changed then.
        """
        given = read_value(body, v2_schema.SERVICE, "service")
        desired = dict(given)
        if mask:
            paths = read_mask(mask, v2_schema.SERVICE, "service")
            settings = v2.render_settings(self.store.service.spec)
            current = read_value(settings, v2_schema.SERVICE, "service")
            desired = apply_mask(current, given, paths)
        spec = v2.keep_client(v2.parse_service(desired), self.store.service.spec.template)
        version = given.get("etag", "").strip('"')
        if validate_only:
            self.store.check(spec, version)
            preview = v2.render_service(self.store.preview(spec), self.place)
            operation = self.operations.open(self.store.service.generation, preview)
            operation.succeed(preview)
            return operation
        self.store.apply(spec, version, modifier)
        service = self.store.service
        rendered = v2.render_service(service, self.place)
        operation = self.operations.open(service.generation, rendered)
        self._reconcile()
        return operation

    def replace_service(
        self, name: str, body: object, *, dry_run: bool = False, modifier: str = ANONYMOUS
    ) -> Service:
        """Change the service as v1 `ReplaceService` does; return it as it is then.

        Raises:
            CloudRunError: as `patch_service`, with the resourceVersion in the etag's place.
        """
        message = read_value(body, knative_schema.SERVICE, "service")
        metadata = message.get("metadata", {})
        if metadata.get("name") != name:
            raise invalid(f"metadata.name: must be '{name}', as in the address.")
        namespace = metadata.get("namespace", self.place.project)
        if namespace not in (self.place.project, self.place.project_number):
            raise invalid(f"metadata.namespace: '{namespace}' is not the project of the address.")
        spec, version = knative.parse_service(message), metadata.get("resourceVersion", "")
        if dry_run:
            self.store.check(spec, version)
            return self.store.preview(spec)
        self.store.apply(spec, version, modifier)
        self._reconcile()
        return self.store.service

    async def update_service(
        self, mutate: Callable[[dict[str, Any]], None], field_mask: str
    ) -> Operation:
        """Deploy as a team's pipeline would; return the operation when it is done.

        `mutate` is given the service's v2 JSON to change in place; `field_mask` says which of it
        counts.

        Raises:
            CloudRunError: as `patch_service`.
            TimeoutError: when the rollout takes longer than any startup probe allows.
        """
        body = v2.render_settings(self.store.service.spec)
        mutate(body)
        operation = self.patch_service(body, field_mask, modifier=self.store.deployer)
        probe = self.store.service.spec.template.container.probe
        async with asyncio.timeout(self.place.seconds(probe.deadline_s) + BASELINE_DEADLINE_S):
            await operation.finished.wait()
        return operation
