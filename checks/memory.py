"""The memory of each instance over its life: which ones filled up, and which did so again.

An address may be taken by one process after the other; the time of its start tells them apart.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from checks import prometheus
from checks.http import DEADLINE_S

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from checks.prometheus import Series
    from checks.target import Target

LOOK_BACK_S = 3 * 3600.0
_POINTS = 240
_SHARE = (
    f'system_memory_usage_bytes{{job="{prometheus.JOB}"}}'
    f' / system_memory_total_bytes{{job="{prometheus.JOB}"}}'
)
_STARTED = f'process_start_time_seconds{{job="{prometheus.JOB}"}}'


@dataclass(frozen=True)
class Life:
    """One process and its memory, as a share of what its container may use.

    Attributes:
        started: When it was started, Unix time.
        peak: Its highest share.
        last: Its newest share.
        seen: When it was last scraped, Unix time.
        passed: When it first was above the threshold, Unix time, or None.
    """

    instance: str
    revision: str
    started: float
    peak: float
    last: float
    seen: float
    passed: float | None


def read_lives(target: Target, threshold: float, *, deadline_s: float = DEADLINE_S) -> list[Life]:
    """Return the processes of the last three hours of the target's time, oldest first.

    Raises:
        RunbookError: As `prometheus.query`.
    """
    end, span = time.time(), target.seconds(LOOK_BACK_S)

    def ask(promql: str) -> list[Series]:
        return prometheus.query_series(
            target,
            promql,
            start=end - span,
            end=end,
            step_s=span / _POINTS,
            deadline_s=deadline_s,
        )

    with ThreadPoolExecutor(2) as pool:
        shares, starts = pool.map(ask, (_SHARE, _STARTED))
    return list_lives(shares, starts, threshold)


def list_lives(shares: Iterable[Series], starts: Iterable[Series], threshold: float) -> list[Life]:
    """Return the processes that both answers tell of, oldest first."""
    started = {(*_place(series), at): value for series in starts for at, value in series.points}
    points: dict[tuple[str, str, float], list[tuple[float, float]]] = {}
    for series in shares:
        place = _place(series)
        for at, share in series.points:
            # Rounded: a float of seconds since 1970 is exact to some hundred nanoseconds only.
            begun = started.get((*place, at))
            if begun is not None:
                points.setdefault((*place, round(begun, 3)), []).append((at, share))
    lives = [
        Life(
            instance=instance,
            revision=revision,
            started=begun,
            peak=max(share for _, share in measured),
            last=measured[-1][1],
            seen=measured[-1][0],
            passed=next((at for at, share in measured if share > threshold), None),
        )
        for (instance, revision, begun), measured in points.items()
    ]
    return sorted(lives, key=lambda life: (life.started, life.instance))


def list_full(lives: Sequence[Life]) -> list[Life]:
    """Return the processes that passed the threshold, the first to do so first."""
    return sorted(
        (life for life in lives if life.passed is not None), key=lambda life: life.passed or 0.0
    )


def list_full_again(lives: Sequence[Life]) -> list[Life]:
    """Return those that passed it although they were started after the first one had.

    A new process that fills up as well says that a restart gives only a little time.
    """
    full = list_full(lives)
    if not full:
        return []
    first = full[0].passed or 0.0
    return [life for life in full if life.started > first]


def _place(series: Series) -> tuple[str, str]:
    return series.labels.get("instance", ""), series.labels.get("revision", "")
