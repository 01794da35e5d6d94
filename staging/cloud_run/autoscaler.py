"""How many instances a revision wants: 60 % CPU over a minute, idle ones kept 15 minutes."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

from staging.cloud_run.models import DEFAULT_MAX_INSTANCES, Place, ServiceSpec, Template

# https://cloud.google.com/run/docs/about-instance-autoscaling
TARGET_UTILISATION = 0.6
WINDOW_S = 60.0
IDLE_S = 900.0


@dataclass(frozen=True)
class Bounds:
    """The fewest and the most instances of one revision."""

    least: int
    most: int

    def clamp(self, wanted: int) -> int:
        """Return `wanted` kept within the bounds; the maximum wins over the minimum."""
        return min(max(wanted, self.least), self.most)


def bounds_for(template: Template, spec: ServiceSpec, percent: int, *, listed: bool) -> Bounds:
    """Return the bounds of a revision with `percent` of the traffic.

    A revision-level minimum counts whenever the revision is `listed` in the traffic or has a tag;
    a service-level one is divided by the share of traffic. Nothing wakes an instance from zero
    here, so a revision with traffic keeps one at least.
    Source: https://cloud.google.com/run/docs/configuring/min-instances.
    """
    if not listed:
        return Bounds(0, 0)
    scaling = spec.scaling
    most = template.max_instances or DEFAULT_MAX_INSTANCES
    if scaling.manual:
        count = _share(scaling.manual_instances, percent)
        return Bounds(count, count)
    if scaling.max_instances:
        most = min(most, max(1, _share(scaling.max_instances, percent)))
    least = max(template.min_instances, _share(scaling.min_instances, percent))
    return Bounds(min(max(least, 1 if percent else 0), most), most)


def _share(count: int, percent: int) -> int:
    return -(-count * percent // 100)


class Autoscaler:
    """Remembers one revision's demand, in vCPUs, and recommends a number of instances."""

    def __init__(self, place: Place, cpu: float) -> None:
        """Take the vCPUs of one instance of the revision."""
        self._cpu = cpu
        self._window_s = place.seconds(WINDOW_S)
        self._idle_s = place.seconds(IDLE_S)
        self._samples: deque[tuple[float, float]] = deque()
        self._recommended: deque[tuple[float, int]] = deque()

    def observe(self, now: float, demand: float) -> None:
        """Note the vCPUs in use by all instances together at `now` (monotonic seconds)."""
        self._samples.append((now, demand))
        while self._samples[0][0] < now - self._window_s:
            self._samples.popleft()
        self._recommended.append((now, instances_for(self.demand(), self._cpu)))
        while self._recommended[0][0] < now - self._idle_s:
            self._recommended.popleft()

    def demand(self) -> float:
        """Return the mean demand over the window, in vCPUs; 0 before the first observation."""
        if not self._samples:
            return 0.0
        return sum(demand for _, demand in self._samples) / len(self._samples)

    def recommend(self) -> int:
        """Return the instances to run: as many as the busiest moment of the idle time wanted."""
        return max((count for _, count in self._recommended), default=0)


def instances_for(demand: float, cpu: float) -> int:
    """Return how many instances of `cpu` vCPUs carry `demand` vCPUs at the target utilisation."""
    return math.ceil(round(demand / (TARGET_UTILISATION * cpu), 6))
