"""A histogram by one label whose text is made quickly: a scrape comes four times a second."""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class LabelledHistogram:
    """Durations in buckets, a series of them for each value of `label`.

    prometheus_client's own costs ten times as much a scrape, as it makes an object a sample.
    """

    def __init__(self, name: str, documentation: str, label: str, buckets: Sequence[float]) -> None:
        """Take the buckets' upper bounds in rising order; +Inf is added."""
        self._label = label
        self._name = name
        self._head = [f"# HELP {name} {documentation}", f"# TYPE {name} histogram"]
        self._bounds = tuple(buckets)
        self._counts: dict[str, list[int]] = {}
        self._sums: dict[str, float] = {}
        self._prefixes: dict[str, list[str]] = {}

    def create(self, value: str) -> None:
        """Create the series of a label's value at 0, unless it is there."""
        if value not in self._counts:
            self._counts[value] = [0] * (len(self._bounds) + 1)
            self._sums[value] = 0.0

    def observe(self, value: str, amount: float) -> None:
        """Count `amount` for a label's value."""
        self.create(value)
        self._counts[value][bisect_left(self._bounds, amount)] += 1
        self._sums[value] += amount

    def render(self, format_labels: Callable[[dict[str, str]], str]) -> list[str]:
        """Return the lines of the text format; `format_labels` writes labels in their braces."""
        lines = list(self._head)
        for value, counts in self._counts.items():
            if value not in self._prefixes:
                self._prefixes[value] = self._format_prefixes(value, format_labels)
            *buckets, total, count = self._prefixes[value]
            summed = list(accumulate(counts))
            lines += [
                f"{prefix} {amount}.0" for prefix, amount in zip(buckets, summed, strict=True)
            ]
            lines += [f"{total} {self._sums[value]!r}", f"{count} {summed[-1]}.0"]
        return lines

    def _format_prefixes(
        self, value: str, format_labels: Callable[[dict[str, str]], str]
    ) -> list[str]:
        bounds = [*(repr(float(bound)) for bound in self._bounds), "+Inf"]
        return [
            *(
                f"{self._name}_bucket{format_labels({self._label: value, 'le': bound})}"
                for bound in bounds
            ),
            f"{self._name}_sum{format_labels({self._label: value})}",
            f"{self._name}_count{format_labels({self._label: value})}",
        ]
