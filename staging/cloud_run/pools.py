"""The instance pools of all revisions, on one fleet."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from staging.cloud_run.instances import InstancePool, Platform
from staging.cloud_run.registry import resolve_image
from staging.cloud_run.validation import read_cpu, read_memory
from staging.model import InstanceSpec

if TYPE_CHECKING:
    from collections.abc import Collection, Coroutine, Mapping

    from staging.cloud_run.models import Revision
    from staging.cloud_run.platform_log import PlatformLog
    from staging.cloud_run.store import Store
    from staging.model import Fleet, Instance

_LOGGER = logging.getLogger(__name__)


def start_task(work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
    """Start work that never ends by itself and return its task; a failure is logged at once."""
    task = asyncio.create_task(work, name=name)
    task.add_done_callback(_report_failure)
    return task


def _report_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        _LOGGER.critical("%s failed", task.get_name(), exc_info=task.exception())


class Pools:
    """Makes a pool for each revision, and tells it what happens to its instances."""

    def __init__(
        self,
        fleet: Fleet,
        store: Store,
        log: PlatformLog,
        default_env: Mapping[str, str],
        images: Collection[str],
    ) -> None:
        """Set `default_env` in every container; `images` is what the registry holds."""
        self.changed = asyncio.Event()
        self.registry: set[str] = set(images)
        self._images = frozenset(images)
        self._fleet = fleet
        self._store = store
        self._default_env = dict(default_env)
        self._platform = Platform(fleet, store.place, log, self._container_of, self.changed.set)
        self._pools: dict[str, InstancePool] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        fleet.subscribe(self._note_instance)

    def find(self, revision: Revision) -> InstancePool:
        """Return the revision's pool; it wants no instance until it is told."""
        pool = self._pools.get(revision.name)
        if pool is None:
            pool = self._pools[revision.name] = InstancePool(revision, self._platform)
            name = f"instances of {revision.name}"
            self._tasks[revision.name] = start_task(pool.run(), name)
        return pool

    def usage(self) -> dict[str, float]:
        """Return the CPU in use by each revision, in vCPUs."""
        return {
            name: sum(self._fleet.usage(item) * item.spec.cpu for item in pool.ready())
            for name, pool in self._pools.items()
        }

    def recycle(self, revision: str = "") -> None:
        """Replace the instances of one revision, or of all when none is named."""
        for name, pool in self._pools.items():
            if revision in ("", name):
                pool.recycle()

    async def clear(self) -> None:
        """Kill every instance, forget every pool, and hold all images again."""
        tasks, pools = list(self._tasks.values()), list(self._pools.values())
        self._pools.clear()
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(pool.close() for pool in pools))
        instances = self._fleet.instances()
        await asyncio.gather(*(self._fleet.stop(instance, 0.0) for instance in instances))
        self.registry.clear()
        self.registry.update(self._images)

    def _note_instance(self, instance: Instance) -> None:
        pool = self._pools.get(instance.spec.revision)
        if instance.state == "exited" and pool is not None:
            pool.note_exit(instance)

    def _container_of(self, revision: Revision) -> InstanceSpec:
        template, service = revision.template, self._store.service.name
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
            timeout_s=template.timeout_s,
        )
