"""Events, counted and combined as client-go's recorder does it."""

from __future__ import annotations

import secrets
from collections import defaultdict
from typing import TYPE_CHECKING

from staging.kubernetes.kinds import EVENT, NAMESPACE
from staging.kubernetes.store import now

if TYPE_CHECKING:
    from staging.kubernetes.store import Object, Store

# client-go, tools/record/events_cache.go: the eleventh different message of one kind is combined.
_MOST_ALIKE = 10
_COMBINED = "(combined from similar events): "
# An API server forgets them after an hour; here the number is bounded.
_KEPT = 1000


class Recorder:
    """Writes events about objects into the store."""

    def __init__(self, store: Store) -> None:
        """Write into `store`."""
        self._store = store
        self._names: dict[tuple[str, ...], str] = {}
        self._alike: dict[tuple[str, ...], set[str]] = defaultdict(set)

    def clear(self) -> None:
        """Forget what was counted."""
        self._names.clear()
        self._alike.clear()

    def normal(self, about: Object, reason: str, message: str, source: str, part: str = "") -> None:
        """Tell of something that belongs to the normal course."""
        self._write(about, ("Normal", reason, message), source, part)

    def warn(self, about: Object, reason: str, message: str, source: str, part: str = "") -> None:
        """Tell of something that somebody should look at."""
        self._write(about, ("Warning", reason, message), source, part)

    def _write(
        self, about: Object, said: tuple[str, str, str], source: str, field_path: str
    ) -> None:
        severity, reason, message = said
        uid = about["metadata"]["uid"]
        group = (uid, severity, reason, source)
        self._alike[group].add(message)
        combined = len(self._alike[group]) > _MOST_ALIKE
        key = (*group, "" if combined else message)
        text = f"{_COMBINED}{message}" if combined else message
        name = self._names.get(key)
        if name and self._store.find(EVENT, name):
            self._store.change(EVENT, name, lambda event: _count(event, text))
            return
        self._names[key] = self._create(about, (severity, reason, text), source, field_path)

    def _create(
        self, about: Object, said: tuple[str, str, str], source: str, field_path: str
    ) -> str:
        severity, reason, text = said
        metadata, moment = about["metadata"], now()
        name = f"{metadata['name']}.{secrets.token_hex(8)}"
        involved = {
            "kind": about["kind"],
            "namespace": NAMESPACE,
            "name": metadata["name"],
            "uid": metadata["uid"],
            "apiVersion": about["apiVersion"],
            "resourceVersion": metadata.get("resourceVersion", ""),
            **({"fieldPath": field_path} if field_path else {}),
        }
        self._store.create(
            EVENT,
            {
                "metadata": {"name": name},
                "involvedObject": involved,
                "reason": reason,
                "message": text,
                "source": {"component": source},
                "firstTimestamp": moment,
                "lastTimestamp": moment,
                "count": 1,
                "type": severity,
                "eventTime": None,
                "reportingComponent": source,
                "reportingInstance": "",
            },
        )
        self._forget_oldest()
        return name

    def _forget_oldest(self) -> None:
        events = self._store.list(EVENT)
        if len(events) > _KEPT:
            oldest = min(events, key=lambda event: str(event["lastTimestamp"]))
            self._store.delete(EVENT, oldest["metadata"]["name"])


def _count(event: Object, text: str) -> None:
    event["count"] += 1
    event["message"] = text
    event["lastTimestamp"] = now()
