"""What became of the requests, since the last reset and over the last seconds."""

from __future__ import annotations

import time
from collections import Counter, defaultdict, deque
from dataclasses import dataclass

RECENT_S = 5.0
_OK = range(200, 400)
_FIRST_SERVER_ERROR = 500


@dataclass(frozen=True)
class _Ending:
    at: float
    duration_s: float
    tenant: str
    outcome: str


class Statistics:
    """Counts by outcome: a status code, or `timeout`, `unreachable`, `cut`, `shed`."""

    def __init__(self) -> None:
        """Start at zero."""
        self._by_outcome: Counter[str] = Counter()
        self._by_origin: Counter[str] = Counter()
        self._recent: deque[_Ending] = deque()
        self.sent = 0

    def note_answer(self, tenant: str, status: int, origin: str, duration_s: float) -> None:
        """Count an answer; `origin` is who gave it, `service` or `ingress`."""
        self._by_origin[origin] += 1
        self._note(tenant, str(status), duration_s)

    def note_failure(self, tenant: str, outcome: str, duration_s: float) -> None:
        """Count a request that got no answer."""
        self._note(tenant, outcome, duration_s)

    def reset(self) -> None:
        """Start at zero again."""
        self._by_outcome.clear()
        self._by_origin.clear()
        self._recent.clear()
        self.sent = 0

    def count(self) -> dict[str, object]:
        """Return the counts, and the rate of the last 5 seconds."""
        self._forget_old()
        ended = sum(self._by_outcome.values())
        ok = sum(n for outcome, n in self._by_outcome.items() if _is_ok(outcome))
        return {
            "sent": self.sent,
            "ok": ok,
            "failed": ended - ok,
            "by_outcome": dict(self._by_outcome),
            "by_origin": dict(self._by_origin),
            "rps": round(len(self._recent) / RECENT_S, 1),
        }

    def describe(self) -> dict[str, object]:
        """Return `count`, and failed share and latency (ms) of the last 5 seconds."""
        counts = self.count()
        durations = sorted(ending.duration_s for ending in self._recent)
        failed = sum(not _is_ok(ending.outcome) for ending in self._recent)
        return {
            **counts,
            "failed_share": round(failed / len(self._recent), 4) if self._recent else 0.0,
            "latency_ms": {f"p{q}": _find_quantile(durations, q) for q in (50, 95, 99)},
        }

    def describe_tenants(self) -> dict[str, dict[str, float | None]]:
        """Return rate, failed share and P95 (ms) of the last 5 seconds by tenant.

        Failed is what the service failed at: 5xx, or no answer. A refusal is an answer.
        """
        self._forget_old()
        by_tenant: dict[str, list[_Ending]] = defaultdict(list)
        for ending in self._recent:
            by_tenant[ending.tenant].append(ending)
        return {
            tenant: {
                "rps": round(len(endings) / RECENT_S, 1),
                "failed_share": round(
                    sum(_is_failed(ending.outcome) for ending in endings) / len(endings), 4
                ),
                "p95_ms": _find_quantile(sorted(ending.duration_s for ending in endings), 95),
            }
            for tenant, endings in sorted(by_tenant.items())
        }

    def _note(self, tenant: str, outcome: str, duration_s: float) -> None:
        self._by_outcome[outcome] += 1
        self._recent.append(_Ending(time.monotonic(), duration_s, tenant, outcome))
        self._forget_old()

    def _forget_old(self) -> None:
        oldest = time.monotonic() - RECENT_S
        while self._recent and self._recent[0].at < oldest:
            self._recent.popleft()


def _is_ok(outcome: str) -> bool:
    return outcome.isdigit() and int(outcome) in _OK


def _is_failed(outcome: str) -> bool:
    return not outcome.isdigit() or int(outcome) >= _FIRST_SERVER_ERROR


def _find_quantile(ordered: list[float], percent: int) -> float | None:
    if not ordered:
        return None
    place = min(len(ordered) - 1, len(ordered) * percent // 100)
    return round(ordered[place] * 1000, 1)
