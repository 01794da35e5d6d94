"""Cloud Run itself: takes changes from both faces and keeps the fleet as the store says."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any

from staging.cloud_run import knative, knative_schema, v2, v2_schema
from staging.cloud_run.errors import invalid
from staging.cloud_run.instances import InstancePool, Platform
from staging.cloud_run.messages import apply_mask, read_mask, read_value
from staging.cloud_run.models import Condition, LogSink, Place, Revision, Service
from staging.cloud_run.operations import Operation, Operations
from staging.cloud_run.platform_log import PlatformLog
from staging.cloud_run.reconciler import Reconciler
from staging.cloud_run.registry import resolve_image
from staging.cloud_run.store import BASELINE_IMAGES, Store
from staging.cloud_run.validation import read_cpu, read_memory
from staging.model import Fleet, Instance, InstanceSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Coroutine, Mapping

AUTOSCALER_LEAST_INTERVAL_S = 0.25
AUTOSCALER_INTERVAL_S = 5.0
# Long for a machine that is busy with something else; normally instances are ready in 20 ms.
BASELINE_DEADLINE_S = 20.0
ANONYMOUS = "anonymous"
_LOGGER = logging.getLogger(__name__)


def _start_task(work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
    """Start work that never ends by itself; should it fail, that is logged at once."""
    task = asyncio.create_task(work, name=name)
    task.add_done_callback(_report_failure)
    return task


def _report_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        _LOGGER.critical("%s failed", task.get_name(), exc_info=task.exception())


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
        self.place = Place(project, project_number, region, time_scale, service_url)
        self.store = Store(self.place)
        if not service_url:
            name = f"{self.store.service.name}-{project_number}.{region}.run.app"
            self.place = Place(project, project_number, region, time_scale, f"https://{name}")
            self.store.place = self.place
        self.operations = Operations(self.place)
        self.registry: set[str] = set()
        self._images = frozenset({*images, *BASELINE_IMAGES})
        self.registry.update(self._images)
        self._fleet = fleet
        self._default_env = dict(default_env or {})
        self._set_split = set_split
        self._changed = asyncio.Event()
        self._platform = Platform(
            fleet=fleet,
            place=self.place,
            log=PlatformLog(log, self.place, self.store.service.name),
            container_of=self._container_of,
            changed=self._changed.set,
        )
        self._pools: dict[str, InstancePool] = {}
        self._pool_tasks: dict[str, asyncio.Task[None]] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._reconciler = Reconciler(
            self.store,
            self.operations,
            self._pool_of,
            set_split,
            rollback_clears_failure=rollback_clears_failure,
        )
        fleet.subscribe(self._note_instance)

    async def start(self) -> None:
        """Bring the baseline up and keep it so.

        Raises:
            TimeoutError: when its instances are not ready within 20 s.
        """
        self._tasks = [
            _start_task(self._reconcile_forever(), "cloud run reconciler"),
            _start_task(self._autoscale_forever(), "cloud run autoscaler"),
        ]
        await self._bring_up()

    async def stop(self) -> None:
        """End all work and kill every instance."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        await self._clear_fleet()

    async def reset(self) -> None:
        """Kill every instance, go back to the baseline, and return when it serves.

        Raises:
            TimeoutError: when its instances are not ready within 20 s.
        """
        # The loops end first: one that ran half-way would start instances of what is forgotten.
        await self.stop()
        self.operations.clear()
        self._reconciler.clear()
        self.registry.clear()
        self.registry.update(self._images)
        self.store.reset()
        await self.start()

    async def _clear_fleet(self) -> None:
        tasks, pools = list(self._pool_tasks.values()), list(self._pools.values())
        self._pools.clear()
        self._pool_tasks.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(pool.close() for pool in pools))
        instances = self._fleet.instances()
        await asyncio.gather(*(self._fleet.stop(instance, 0.0) for instance in instances))

    async def _bring_up(self) -> None:
        service = self.store.service
        self._reconciler.reconcile()
        pool = self._pool_of(self.store.revisions[service.latest_ready])
        async with asyncio.timeout(BASELINE_DEADLINE_S):
            while len(pool.ready()) < pool.desired:
                self._changed.clear()
                await self._changed.wait()
        self._set_split(service.shares())

    async def _reconcile_forever(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            self._reconciler.reconcile()

    async def _autoscale_forever(self) -> None:
        interval = max(AUTOSCALER_LEAST_INTERVAL_S, self.place.seconds(AUTOSCALER_INTERVAL_S))
        while True:
            await asyncio.sleep(interval)
            usage = {name: self._demand_of(pool) for name, pool in self._pools.items()}
            self._reconciler.observe(time.monotonic(), usage)
            self._reconciler.reconcile()

    def _demand_of(self, pool: InstancePool) -> float:
        return sum(self._fleet.usage(item) * item.spec.cpu for item in pool.ready())

    def _pool_of(self, revision: Revision) -> InstancePool:
        pool = self._pools.get(revision.name)
        if pool is None:
            pool = self._pools[revision.name] = InstancePool(revision, self._platform)
            task = _start_task(pool.run(), f"instances of {revision.name}")
            self._pool_tasks[revision.name] = task
        return pool

    def _note_instance(self, instance: Instance) -> None:
        pool = self._pools.get(instance.spec.revision)
        if instance.state == "exited" and pool is not None:
            pool.note_exit(instance)

    def _container_of(self, revision: Revision) -> InstanceSpec:
        template, service = revision.template, self.store.service.name
        container = template.container
        return InstanceSpec(
            revision=revision.name,
            service=service,
            image=resolve_image(container.image, self.registry),
            env={
                **self._default_env,
                **dict(container.env),
                "PORT": str(container.port),
                "K_SERVICE": service,
                "K_REVISION": revision.name,
                "K_CONFIGURATION": service,
            },
            cpu=read_cpu(container.limits["cpu"]),
            memory_bytes=read_memory(container.limits["memory"]),
            concurrency=template.concurrency,
            timeout_s=float(template.timeout_s),
        )

    def recycle(self, revision: str = "") -> None:
        """Replace the instances of one revision or of all, as the platform may at any time."""
        for name, pool in self._pools.items():
            if revision in ("", name):
                pool.recycle()

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
        self._reconciler.reconcile()
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
        self._reconciler.reconcile()
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
