"""What queueing theory expects of instances behind an ingress that picks the least busy one."""

from __future__ import annotations

import math
import random
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from staging.service.work import SPREAD

if TYPE_CHECKING:
    from collections.abc import Iterable

_PERCENTILE = 0.95
_REPLICAS = 60
_STEPS = 40


@dataclass(frozen=True)
class System:
    """Instances, each a first-come-first-served server, and requests that arrive by chance."""

    instances: int
    rho: float
    """Load over capacity, from 0 to 1."""
    service_s: float
    """How long an instance works on a request on average; evenly spread by +/- 50 %."""

    @property
    def rate(self) -> float:
        """The requests a second."""
        return self.rho * self.instances / self.service_s


@dataclass(frozen=True)
class Prediction:
    """The 95th percentile that a measurement of limited length will see, in seconds."""

    median_s: float
    low_s: float
    """One measurement in twenty stays below it."""
    high_s: float
    """One measurement in twenty goes beyond it."""


def find_quantile(values: Iterable[float], share: float) -> float:
    """Return the value below which `share` of the values lie; raise ValueError for none."""
    ordered = sorted(values)
    if not ordered:
        raise ValueError("there are no values")
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def predict(system: System, *, warm_up_s: float, seconds: float, seed: int = 1) -> Prediction:
    """Simulate as many measurements of `seconds` after a start from empty, and sum them up."""
    chance = random.Random(f"{seed}/{system}")  # noqa: S311 - a repeatable simulation
    found = [
        find_quantile(_simulate(system, warm_up_s, seconds, chance), _PERCENTILE)
        for _ in range(_REPLICAS)
    ]
    return Prediction(
        find_quantile(found, 0.5), find_quantile(found, 0.05), find_quantile(found, _PERCENTILE)
    )


def _simulate(
    system: System, warm_up_s: float, seconds: float, chance: random.Random
) -> list[float]:
    """Return how long each request took that arrived after the warm-up.

    A request joins the instance that holds the fewest, by chance among equals: haproxy's leastconn.
    """
    ends: list[deque[float]] = [deque() for _ in range(system.instances)]
    now, taken = 0.0, []
    while (now := now + chance.expovariate(system.rate)) < warm_up_s + seconds:
        for held in ends:
            while held and held[0] <= now:
                held.popleft()
        joined = min(ends, key=lambda held: (len(held), chance.random()))
        begin = joined[-1] if joined else now
        joined.append(begin + system.service_s * chance.uniform(*SPREAD))
        if now >= warm_up_s:
            taken.append(joined[-1] - now)
    return taken


def bound_pooled(system: System) -> float:
    """Return the 95th percentile in the long run if all instances had one queue, in seconds.

    No way to pick an instance does better. Erlang's C with the correction by Allen and Cunneen
    for the spread of the work: https://en.wikipedia.org/wiki/M/G/k_queue.
    """
    offered = system.rho * system.instances
    waits = _find_erlang_c(system.instances, offered)
    # The squared coefficient of variation of an even spread between two bounds.
    low, high = SPREAD
    variation = (high - low) ** 2 / 12
    decay = 2 / (1 + variation) * system.instances * (1 - system.rho) / system.service_s

    def exceeds(moment: float) -> float:
        shares = (low + (high - low) * (step + 0.5) / _STEPS for step in range(_STEPS))
        left = [moment - system.service_s * share for share in shares]
        return sum(1.0 if t < 0 else waits * math.exp(-decay * t) for t in left) / _STEPS

    below, above = 0.0, 1000 * system.service_s
    for _ in range(_STEPS):
        middle = (below + above) / 2
        below, above = (middle, above) if exceeds(middle) > 1 - _PERCENTILE else (below, middle)
    return above


def _find_erlang_c(servers: int, offered: float) -> float:
    """Return the share of requests that find every server busy."""
    blocked = 1.0
    for count in range(1, servers + 1):
        blocked = offered * blocked / (count + offered * blocked)
    return blocked / (1 - offered / servers * (1 - blocked))
