"""What became of the requests, since the last reset and over the last seconds."""

from __future__ import annotations

import time
from collections import Counter, deque
from dataclasses import dataclass

RECENT_S = 5.0
_OK = range(200, 400)


@dataclass(frozen=True)
class _Ending:
    at: float
    duration_s: float
    ok: bool


class Statistics:
    """Counts by outcome: a status code, or `timeout`, `unreachable`, `cut`, `shed`."""

    def __init__(self) -> None:
        """Start at zero."""
        self._by_outcome: Counter[str] = Counter()
        self._by_origin: Counter[str] = Counter()
        self._recent: deque[_Ending] = deque()
        self.sent = 0

    def note_answer(self, status: int, origin: str, duration_s: float) -> None:
        """Count an answer; `origin` is who gave it, `service` or `ingress`."""
        self._by_origin[origin] += 1
        self._note(str(status), duration_s, ok=status in _OK)

    def note_failure(self, outcome: str, duration_s: float) -> None:
        """Count a request that got no answer."""
        self._note(outcome, duration_s, ok=False)

    def reset(self) -> None:
        """Start at zero again."""
        self._by_outcome.clear()
        self._by_origin.clear()
        self._recent.clear()
        self.sent = 0

    def describe(self) -> dict[str, object]:
        """Return the counts, and rate, failed share and latency (ms) of the last 5 seconds."""
        self._forget_old()
        ended = sum(self._by_outcome.values())
        ok = sum(n for outcome, n in self._by_outcome.items() if _is_ok(outcome))
        durations = sorted(ending.duration_s for ending in self._recent)
        failed = sum(not ending.ok for ending in self._recent)
        return {
            "sent": self.sent,
            "ok": ok,
            "failed": ended - ok,
            "by_outcome": dict(self._by_outcome),
            "by_origin": dict(self._by_origin),
            "rps": round(len(self._recent) / RECENT_S, 1),
            "failed_share": round(failed / len(self._recent), 4) if self._recent else 0.0,
            "latency_ms": {f"p{q}": _find_quantile(durations, q) for q in (50, 95, 99)},
        }

    def _note(self, outcome: str, duration_s: float, *, ok: bool) -> None:
        self._by_outcome[outcome] += 1
        self._recent.append(_Ending(time.monotonic(), duration_s, ok))
        self._forget_old()

    def _forget_old(self) -> None:
        oldest = time.monotonic() - RECENT_S
        while self._recent and self._recent[0].at < oldest:
            self._recent.popleft()


def _is_ok(outcome: str) -> bool:
    return outcome.isdigit() and int(outcome) in _OK


def _find_quantile(ordered: list[float], percent: int) -> float | None:
    if not ordered:
        return None
    place = min(len(ordered) - 1, len(ordered) * percent // 100)
    return round(ordered[place] * 1000, 1)
