"""Brings what is so towards what the spec wants: revisions, traffic, instances, conditions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from staging.cloud_run.autoscaler import Autoscaler, bounds_for, instances_for
from staging.cloud_run.models import Revision, Service, TrafficTarget, utc_now
from staging.cloud_run.v2 import render_service
from staging.cloud_run.validation import read_cpu

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from staging.cloud_run.instances import InstancePool
    from staging.cloud_run.operations import Operations
    from staging.cloud_run.store import Store

ROLLOUT = (
    "DEPLOYMENT_ROLLOUT - Instance started due to traffic shifting between revisions due to"
    " deployment, traffic split adjustment, or deployment health check."
)
AUTOSCALING = (
    "AUTOSCALING - Instance started due to configured scaling factors (e.g. CPU utilization,"
    " request throughput, etc.) or no existing capacity for current traffic."
)
GUIDANCE = "https://cloud.google.com/run/docs/troubleshooting#container-failed-to-start"


@dataclass(frozen=True)
class Route:
    """What became of the traffic that the spec wants: `status` True, False or None (not yet)."""

    status: bool | None
    targets: tuple[TrafficTarget, ...] = ()
    code: str = ""
    message: str = ""


class Reconciler:
    """Looks at the whole state each time, so that no event can be missed."""

    def __init__(
        self,
        store: Store,
        operations: Operations,
        pool_of: Callable[[Revision], InstancePool],
        set_split: Callable[[Mapping[str, int]], None],
        *,
        rollback_clears_failure: bool,
    ) -> None:
        """Take the parts; `rollback_clears_failure` is explained in CloudRun."""
        self._store = store
        self._operations = operations
        self._pool_of = pool_of
        self._set_split = set_split
        self._rollback_clears_failure = rollback_clears_failure
        self._scalers: dict[str, Autoscaler] = {}
        self._starting: dict[str, int] = {}
        self._failed_route: tuple[int, Route] | None = None

    def clear(self) -> None:
        """Forget everything that was observed."""
        self._scalers.clear()
        self._starting.clear()
        self._failed_route = None

    def observe(self, now: float, usage: Mapping[str, float]) -> None:
        """Note each revision's CPU in use, in vCPUs, at `now` (monotonic seconds)."""
        for name, demand in usage.items():
            self._scaler(self._store.revisions[name]).observe(now, demand)

    def _scaler(self, revision: Revision) -> Autoscaler:
        if revision.name not in self._scalers:
            cpu = read_cpu(revision.template.container.limits["cpu"])
            self._scalers[revision.name] = Autoscaler(self._store.place, cpu)
        return self._scalers[revision.name]

    def reconcile(self) -> None:
        """Take every step that can be taken now; starting and stopping go on by themselves."""
        service = self._store.service
        for revision in self._store.revisions.values():
            if revision.phase == "deploying":
                self._settle_revision(revision, service)
        route = self._settle_route(service)
        self._settle_pools(service, route)
        self._settle_conditions(service, route)
        if service.observed_generation == service.generation:
            self._finish_operations(service, route)

    def _settle_revision(self, revision: Revision, service: Service) -> None:
        pool = self._pool_of(revision)
        wanted = self._instances_to_start(revision, service)
        pool.want(wanted, ROLLOUT)
        if pool.failure:
            revision.phase = "failed"
            revision.message = self._failure_message(revision, pool.failure)
        elif len(pool.ready()) >= wanted:
            revision.phase = "ready"
            current = self._store.revisions.get(service.latest_ready)
            if current is None or revision.generation > current.generation:
                service.latest_ready = revision.name
        else:
            return
        revision.changed = utc_now()

    def _failure_message(self, revision: Revision, failure: str) -> str:
        place = self._store.place
        return (
            f"Revision '{revision.name}' is not ready and cannot serve traffic. {failure}\n\n"
            f"Logs URL: https://console.cloud.google.com/logs/viewer?project={place.project}"
            f"&resource=cloud_run_revision/service_name/{self._store.service.name}"
            f"/revision_name/{revision.name}\n"
            f"For more troubleshooting guidance, see {GUIDANCE}"
        )

    def _instances_to_start(self, revision: Revision, service: Service) -> int:
        """Return how many instances must be ready before the revision gets its traffic.

        The number is fixed when the rollout begins, so that a growing load cannot put it off.
        """
        if revision.name not in self._starting:
            percent = sum(
                target.percent
                for target in service.spec.traffic
                if target.revision == revision.name
                or (target.latest and revision.name == service.latest_created)
            )
            listed = percent > 0 or any(
                target.revision == revision.name for target in service.spec.traffic
            )
            bounds = bounds_for(revision.template, service.spec, percent, listed=listed)
            demand = sum(scaler.demand() for scaler in self._scalers.values()) * percent / 100
            cpu = read_cpu(revision.template.container.limits["cpu"])
            self._starting[revision.name] = max(1, bounds.clamp(instances_for(demand, cpu)))
        return self._starting[revision.name]

    def _settle_route(self, service: Service) -> Route:
        if self._failed_route and self._failed_route[0] == service.generation:
            return self._failed_route[1]
        route = self._resolve(service)
        if route.status is None or not route.targets:
            return route
        failed = self._first_failure(service, route.targets)
        if failed is not None:
            self._failed_route = (service.generation, failed)
            return failed
        if any(self._is_cold(service, target) for target in route.targets):
            return replace(route, status=None)
        if service.served != route.targets:
            service.served = route.targets
            self._set_split(service.shares())
        return route

    def _resolve(self, service: Service) -> Route:
        targets = []
        for target in service.spec.traffic:
            name = service.latest_ready if target.latest else target.revision
            revision = self._store.revisions.get(name)
            if revision is None:
                return Route(
                    status=False,
                    code="INTERNAL",
                    message=f"Revision '{name}' does not exist or is deleted. Update all traffic"
                    " to route to currently available revisions.",
                )
            if revision.phase == "failed":
                return Route(status=False, code="FAILED_PRECONDITION", message=revision.message)
            if revision.phase == "deploying":
                return Route(status=None)
            targets.append(replace(target, revision=name))
        return Route(status=True, targets=tuple(targets))

    def _is_cold(self, service: Service, target: TrafficTarget) -> bool:
        """Return whether a revision that is to get traffic still lacks instances for it."""
        if not target.percent or service.shares().get(target.revision):
            return False
        revision = self._store.revisions[target.revision]
        ready = len(self._pool_of(revision).ready())
        return ready < self._instances_to_start(revision, service)

    def _first_failure(self, service: Service, targets: tuple[TrafficTarget, ...]) -> Route | None:
        for target in targets:
            revision = self._store.revisions[target.revision]
            failure = self._pool_of(revision).failure
            if failure and self._is_cold(service, target):
                message = self._failure_message(revision, failure)
                return Route(status=False, code="FAILED_PRECONDITION", message=message)
        return None

    def _settle_pools(self, service: Service, route: Route) -> None:
        shares, warming = service.shares(), set[str]()
        if route.status is None:
            warming = {item.revision for item in route.targets if self._is_cold(service, item)}
        for revision in self._store.revisions.values():
            pool, name = self._pool_of(revision), revision.name
            if revision.phase == "deploying":
                continue
            if name in warming:
                pool.want(self._instances_to_start(revision, service), ROLLOUT)
                continue
            self._starting.pop(name, None)
            revision.active = name in shares and revision.phase == "ready"
            bounds = bounds_for(
                revision.template, service.spec, shares.get(name, 0), listed=revision.active
            )
            wanted = bounds.clamp(self._scaler(revision).recommend() if revision.active else 0)
            pool.want(wanted, AUTOSCALING)

    def _settle_conditions(self, service: Service, route: Route) -> None:
        created = self._store.revisions[service.latest_created]
        configurations, routes = service.configurations_ready, service.routes_ready
        configurations.update(
            created.ready, created.message, "HealthCheckContainerError" if created.message else ""
        )
        to_latest = any(target.latest for target in service.spec.traffic)
        waits = to_latest and configurations.status is None
        routes.update(None if waits else route.status, route.message)
        counts = to_latest or not self._rollback_clears_failure
        parts = [configurations, routes] if counts else [routes]
        failed = next((part for part in parts if part.status is False), None)
        if failed is not None:
            service.ready.update(status=False, message=failed.message, reason=failed.reason)
        else:
            known = all(part.status for part in parts)
            service.ready.update(status=True if known else None)
        if configurations.status is not None and routes.status is not None:
            service.observed_generation = service.generation

    def _finish_operations(self, service: Service, route: Route) -> None:
        for operation in self._operations.pending(service.generation):
            if service.ready.status is False:
                operation.fail(route.code or "FAILED_PRECONDITION", service.ready.message)
            else:
                operation.succeed(render_service(service, self._store.place))
