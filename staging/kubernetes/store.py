"""The objects, their versions, and what watchers have to be told; etcd's part."""

from __future__ import annotations

import asyncio
import copy
import time
import uuid
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from staging.kubernetes.errors import conflict, expired, not_found
from staging.kubernetes.kinds import NAMESPACE, STORED, Kind

if TYPE_CHECKING:
    from collections.abc import Callable

Object = dict[str, Any]
_REMEMBERED = 4000


@dataclass(frozen=True)
class Change:
    """One write: `old` is None for a new object, `new` for one that is gone."""

    kind: Kind
    version: int
    old: Object | None
    new: Object | None


class Watch:
    """The changes of one kind, from a version on; None ends it."""

    def __init__(self, kind: Kind) -> None:
        """Hear of nothing until the store adds to the queue."""
        self.kind = kind
        self.changes: asyncio.Queue[Change | None] = asyncio.Queue()


class Store:
    """Keeps every object; an object that was handed out is never changed in place."""

    def __init__(self, note_change: Callable[[Kind], None]) -> None:
        """Call `note_change` after every write."""
        # Rising over resets, so that a client's old version is never taken for a new one.
        self.version = time.time_ns() // 1_000_000_000
        self._note_change = note_change
        self._objects: dict[str, dict[str, Object]] = {kind.qualified: {} for kind in STORED}
        self._history: deque[Change] = deque(maxlen=_REMEMBERED)
        self._forgotten = self.version
        self._watches: set[Watch] = set()

    def clear(self) -> None:
        """Forget every object and end every watch."""
        for objects in self._objects.values():
            objects.clear()
        self._history.clear()
        self.version += 1
        self._forgotten = self.version
        for watch in self._watches:
            watch.changes.put_nowait(None)
        self._watches.clear()

    def find(self, kind: Kind, name: str) -> Object | None:
        """Return an object, None when there is none of that name."""
        return self._objects[kind.qualified].get(name)

    def get(self, kind: Kind, name: str) -> Object:
        """Return an object. Raise StatusError NotFound."""
        found = self.find(kind, name)
        if found is None:
            raise not_found(kind, name)
        return found

    def list(self, kind: Kind) -> list[Object]:
        """Return every object of a kind by name, as etcd has them."""
        objects = self._objects[kind.qualified]
        return [objects[name] for name in sorted(objects)]

    def create(self, kind: Kind, value: Object) -> Object:
        """Keep a new object: it gets its uid and, unless it has one, its creation time."""
        given = value["metadata"]
        place = {"namespace": NAMESPACE} if kind.namespaced else {}
        metadata = {"uid": str(uuid.uuid4()), "creationTimestamp": now(), **place, **given}
        value = {"apiVersion": kind.api_version, "kind": kind.kind, **value, "metadata": metadata}
        return self._keep(kind, None, value)

    def update(self, kind: Kind, value: Object) -> Object:
        """Keep an object's new state and return it; one that is the same changes nothing.

        Raise StatusError NotFound, or Conflict when its resourceVersion is no longer the stored.
        """
        name = value["metadata"]["name"]
        old = self.get(kind, name)
        if value["metadata"].get("resourceVersion") != old["metadata"]["resourceVersion"]:
            raise conflict(kind, name)
        return old if value == old else self._keep(kind, old, value)

    def change(self, kind: Kind, name: str, mutate: Callable[[Object], None]) -> Object:
        """Apply `mutate` to a copy of the stored object and keep it. Raise StatusError NotFound."""
        value = copy.deepcopy(self.get(kind, name))
        mutate(value)
        return self.update(kind, value)

    def delete(self, kind: Kind, name: str) -> None:
        """Remove an object; one that is gone already changes nothing."""
        old = self._objects[kind.qualified].pop(name, None)
        if old is not None:
            self.version += 1
            self._tell(Change(kind, self.version, old, None))

    def _keep(self, kind: Kind, old: Object | None, value: Object) -> Object:
        self.version += 1
        value = {**value, "metadata": {**value["metadata"], "resourceVersion": str(self.version)}}
        self._objects[kind.qualified][value["metadata"]["name"]] = value
        self._tell(Change(kind, self.version, old, value))
        return value

    def _tell(self, change: Change) -> None:
        if len(self._history) == self._history.maxlen:
            self._forgotten = self._history[0].version
        self._history.append(change)
        for watch in self._watches:
            if watch.kind is change.kind:
                watch.changes.put_nowait(change)
        self._note_change(change.kind)

    def watch(self, kind: Kind, version: int | None) -> Watch:
        """Return a watch of what comes, after `version` when one is given; `unwatch` ends it.

        Raise StatusError Expired when the changes since then are no longer remembered.
        """
        watch = Watch(kind)
        if version is not None:
            if version < self._forgotten:
                raise expired(str(version))
            for change in self._history:
                if change.kind is kind and change.version > version:
                    watch.changes.put_nowait(change)
        self._watches.add(watch)
        return watch

    def unwatch(self, watch: Watch) -> None:
        """Tell a watch nothing any more."""
        self._watches.discard(watch)


def now() -> str:
    """Return this moment as the API writes it: RFC 3339 in UTC, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_time(text: str) -> datetime:
    """Return the moment that an API timestamp means. Raise ValueError."""
    return datetime.fromisoformat(text)
