"""A counter of many series that costs little: some hundred of them are in every instance."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class LabelledCounter:
    """Counts by several labels.

    prometheus_client's own keeps four objects a series: half a megabyte an instance.
    """

    def __init__(self, name: str, documentation: str, labels: Sequence[str]) -> None:
        """Take the full name, `_total` included, and the labels' names."""
        self._name = name
        self._labels = tuple(labels)
        self._head = [f"# HELP {name} {documentation}", f"# TYPE {name} counter"]
        self._counts: dict[tuple[str, ...], int] = {}
        self._prefixes: dict[tuple[str, ...], str] = {}

    def create(self, *values: str) -> None:
        """Create the series of these labels' values at 0, unless it is there."""
        self._counts.setdefault(values, 0)

    def inc(self, *values: str) -> None:
        """Count one more for these labels' values."""
        self._counts[values] = self._counts.get(values, 0) + 1

    def render(self, format_labels: Callable[[dict[str, str]], str]) -> list[str]:
        """Return the lines of the text format; `format_labels` writes labels in their braces."""
        lines = list(self._head)
        for values, count in self._counts.items():
            prefix = self._prefixes.get(values)
            if prefix is None:
                labels = dict(zip(self._labels, values, strict=True))
                prefix = self._prefixes[values] = f"{self._name}{format_labels(labels)}"
            lines.append(f"{prefix} {count}.0")
        return lines
