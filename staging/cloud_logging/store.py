"""The newest log entries of embedded staging, in memory.

An entry is kept as JSON bytes. What many entries share (log, resource, labels, severity) is kept
once, and a filter's tests of it are asked once a combination.
"""

from __future__ import annotations

import base64
import bisect
import hashlib
import json
import threading
import time
import uuid
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from staging.cloud_logging.entries import check_entry
from staging.cloud_logging.errors import LoggingError
from staging.cloud_logging.query import SHARED_FIELDS, Query, compile_query
from staging.cloud_logging.values import format_timestamp, parse_timestamp

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_ENTRIES: Final = 20_000
MAX_BYTES: Final = 48 * 1024 * 1024
MAX_PAGE: Final = 1000
_DEFAULT_PAGE: Final = 50
_PAGE_BYTES: Final = 8 * 1024 * 1024
_ORDERS: Final = {"": False, "timestamp": False, "timestamp asc": False, "timestamp desc": True}


class Shared:
    """What many entries have in common: their SHARED_FIELDS."""

    __slots__ = ("__weakref__", "fields")

    def __init__(self, fields: dict[str, Any]) -> None:
        """Keep `fields`, which nobody changes from here on."""
        self.fields = fields


class Record(NamedTuple):
    """One kept entry; `at` is its timestamp in nanoseconds, `number` the order of arrival."""

    at: int
    number: int
    shared: Shared
    rest: bytes
    insert_id: str


_Records = list[Record]
_Entries = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Page:
    """The entries of one answer, in JSON form, and the token of the next page ("" for none)."""

    entries: list[dict[str, Any]]
    next_page_token: str


@dataclass(frozen=True, slots=True)
class _Cursor:
    """Where a listing goes on: after a record, among those that existed when it began."""

    newest: int
    at: int
    number: int

    def encode(self, request: str) -> str:
        fields = [request, self.newest, self.at, self.number]
        return base64.urlsafe_b64encode(json.dumps(fields).encode()).decode()

    @classmethod
    def decode(cls, token: str, request: str) -> _Cursor:
        try:
            digest, *numbers = json.loads(base64.b64decode(token, b"-_", validate=True))
            newest, at, number = (int(part) for part in numbers)
        except (ValueError, TypeError, RecursionError):
            raise LoggingError("INVALID_ARGUMENT", "page_token is not valid") from None
        if digest != request:
            raise LoggingError("INVALID_ARGUMENT", "page_token belongs to another request")
        return cls(newest, at, number)


class LogStore:
    """Entries of one project, ordered by timestamp, then by arrival. Safe for use by threads."""

    def __init__(
        self,
        project: str,
        project_number: str = "",
        *,
        max_entries: int = MAX_ENTRIES,
        scan_s: float = 5.0,
    ) -> None:
        """Keep `max_entries`; look for at most `scan_s` seconds before a page is cut short."""
        self.project = project
        self._names = {f"projects/{name}" for name in (project, project_number) if name}
        self._max_entries = max_entries
        self._scan_s = scan_s
        self._lock = threading.Lock()
        self._records: _Records = []
        self._seen: set[tuple[int, str]] = set()
        self._shared: weakref.WeakValueDictionary[bytes, Shared] = weakref.WeakValueDictionary()
        self._bytes = 0
        self._number = 0

    def __len__(self) -> int:
        """Return how many entries are kept."""
        return len(self._records)

    @property
    def size_bytes(self) -> int:
        """Return the bytes of the kept entries' JSON, without what they share."""
        return self._bytes

    def write(self, entry: dict[str, Any]) -> bool:
        """Keep `entry`, a LogEntry in JSON form; fill in insertId, timestamp, receiveTimestamp.

        Returns False when an entry with the same timestamp and insertId is kept already, or when
        it is older than all that fit. Raises InvalidEntryError.
        """
        fields = check_entry(entry, self.project)
        now = time.time_ns()
        given = parse_timestamp(fields.get("timestamp", ""))
        at = now if given is None else given
        fields.setdefault("timestamp", format_timestamp(at))
        fields["receiveTimestamp"] = format_timestamp(now)
        insert_id = fields.setdefault("insertId", uuid.uuid4().hex[:20])
        common = {name: fields.pop(name) for name in SHARED_FIELDS if name in fields}
        rest = _encode(fields)
        with self._lock:
            if (at, insert_id) in self._seen:
                return False
            self._number += 1
            record = Record(at, self._number, self._intern(common), rest, insert_id)
            self._insert(record)
        return True

    def check(self, entry: object) -> dict[str, Any]:
        """Return `entry` as `write` would keep it. Raises InvalidEntryError."""
        return check_entry(entry, self.project)

    def clear(self) -> None:
        """Forget every entry."""
        with self._lock:
            self._records = []
            self._seen = set()
            self._bytes = 0

    def list(
        self,
        filter_: str = "",
        *,
        order_by: str = "",
        page_size: int = 0,
        page_token: str = "",
        resource_names: Sequence[str] = (),
    ) -> Page:
        """Return the next page of matching entries, as entries.list does.

        A page may be shorter than `page_size`, even empty, and still have a next one: the search
        stops after `scan_s` seconds or 8 MiB. Entries written after the first page never appear in
        a later one. Raises QueryError, LoggingError.
        """
        self._check_resources(resource_names)
        if order_by not in _ORDERS:
            raise LoggingError("INVALID_ARGUMENT", f"order_by is not supported: '{order_by[:80]}'")
        if page_size < 0:
            raise LoggingError("INVALID_ARGUMENT", "page_size must not be negative")
        query = compile_query(filter_)
        newest_first = _ORDERS[order_by]
        request = _digest(filter_, newest_first=newest_first)
        cursor = _Cursor.decode(page_token, request) if page_token else None
        newest = cursor.newest if cursor else self._number
        records = self._select(query, cursor, newest, newest_first=newest_first)
        size = min(page_size or _DEFAULT_PAGE, MAX_PAGE)
        entries, last = self._scan(records, query, size)
        if last is None:
            return Page(entries, "")
        return Page(entries, _Cursor(newest, last.at, last.number).encode(request))

    def _check_resources(self, names: Sequence[str]) -> None:
        if not names:
            raise LoggingError("INVALID_ARGUMENT", "resource_names is required")
        for name in names:
            if name in self._names:
                continue
            if name.startswith("projects/") and name.count("/") == 1:
                raise LoggingError(
                    "PERMISSION_DENIED", f"Permission denied for resource '{name[:100]}'"
                )
            raise LoggingError(
                "INVALID_ARGUMENT",
                f"not supported by embedded staging: the resource name '{name[:100]}'",
            )

    def _intern(self, common: dict[str, Any]) -> Shared:
        key = hashlib.blake2b(_encode(common), digest_size=16).digest()
        shared = self._shared.get(key)
        if shared is None:
            shared = self._shared[key] = Shared(json.loads(_encode(common)))
        return shared

    def _insert(self, record: Record) -> None:
        records = self._records
        if records and record < records[-1]:
            bisect.insort(records, record)
        else:
            records.append(record)
        self._seen.add((record.at, record.insert_id))
        self._bytes += len(record.rest)
        surplus = 0
        while len(records) - surplus > self._max_entries or self._bytes > MAX_BYTES:
            oldest = records[surplus]
            self._seen.discard((oldest.at, oldest.insert_id))
            self._bytes -= len(oldest.rest)
            surplus += 1
        del records[:surplus]

    def _select(
        self, query: Query, cursor: _Cursor | None, newest: int, *, newest_first: bool
    ) -> _Records:
        """Return the records that time and cursor leave, in the order asked for."""
        with self._lock:
            start = bisect.bisect_left(self._records, (query.first,))
            end = bisect.bisect_left(self._records, (query.last + 1,))
            if cursor and newest_first:
                end = min(end, bisect.bisect_left(self._records, (cursor.at, cursor.number)))
            elif cursor:
                start = max(
                    start, bisect.bisect_left(self._records, (cursor.at, cursor.number + 1))
                )
            records = self._records[start:end]
        if newest_first:
            records.reverse()
        return [record for record in records if record.number <= newest]

    def _scan(self, records: _Records, query: Query, size: int) -> tuple[_Entries, Record | None]:
        """Return the page and, if there is more to look at, the record that it ends with."""
        deadline = time.monotonic() + self._scan_s
        answers: dict[Shared, bool] = {}
        entries: _Entries = []
        found_bytes = 0
        last: Record | None = None
        for record in records:
            full = len(entries) >= size or found_bytes > _PAGE_BYTES
            if last and (full or time.monotonic() > deadline):
                return entries, last
            last = record
            entry = _match(record, query, answers)
            if entry is not None:
                entries.append(entry)
                found_bytes += len(record.rest)
        return entries, None


def _match(record: Record, query: Query, answers: dict[Shared, bool]) -> dict[str, Any] | None:
    shared = record.shared
    is_candidate = answers.get(shared)
    if is_candidate is None:
        is_candidate = answers[shared] = query.shared(shared.fields)
    if not is_candidate:
        return None
    entry: dict[str, Any] = {**json.loads(record.rest), **shared.fields}
    return entry if query.rest(entry) else None


def _encode(value: object) -> bytes:
    """Return compact JSON; half of a surrogate pair, which is no character, becomes U+FFFD."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


def _digest(filter_: str, *, newest_first: bool) -> str:
    text = f"{newest_first}:{filter_}".encode(errors="replace")
    return hashlib.blake2b(text, digest_size=8).hexdigest()
