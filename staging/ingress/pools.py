"""Which of haproxy's pools serves which revision, and which share of the requests goes there."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping


class NoPoolError(Exception):
    """More revisions serve at once than there are pools."""


class Pools:
    """A fixed number of pools, lent to revisions; one that nobody needs any more is lent anew."""

    def __init__(self, count: int) -> None:
        """Start with `count` free pools."""
        self._free = [f"pool{number}" for number in range(count)]
        self._lent: dict[str, str] = {}

    def lend(self, needed: Collection[str]) -> dict[str, str]:
        """Return revision → pool for the `needed` revisions; a revision keeps the pool it has.

        Raise NoPoolError when more revisions are needed than there are pools.
        """
        for revision in sorted(set(needed) - set(self._lent)):
            if not self._free:
                self._take_back(needed)
            # The pool that has been free longest: requests may still be under way in the last one.
            self._lent[revision] = self._free.pop(0)
        return {revision: self._lent[revision] for revision in needed}

    def _take_back(self, needed: Collection[str]) -> None:
        unused = [revision for revision in self._lent if revision not in needed]
        if not unused:
            raise NoPoolError(f"{len(needed)} revisions serve, {len(self._lent)} pools exist")
        self._free.extend(self._lent.pop(revision) for revision in unused)


def split_entries(
    split: Mapping[str, int], pools: Mapping[str, str], timeouts_ms: Mapping[str, int]
) -> dict[str, str]:
    """Return the draw (0 to 99) → `pool:revision:timeout in ms` for whole percents.

    Raise ValueError when the percents are not whole numbers from 0 to 100 that add up to 100
    (or to 0: nothing is served).
    """
    total = sum(split.values())
    if total not in {0, 100} or any(percent < 0 for percent in split.values()):
        raise ValueError(f"the traffic split adds up to {total} %: {dict(split)}")
    targets = [
        f"{pools[revision]}:{revision}:{timeouts_ms[revision]}"
        for revision, percent in split.items()
        for _ in range(percent)
    ]
    return {str(draw): target for draw, target in enumerate(targets)}
