"""The builds of the service by image tag: the good ones, and those with a defect of their own.

A defect is code that fails by itself, where such a mistake is really made: at start, in a native
extension, in the rendering of a renamed column, on data that only one tenant has.
"""

from __future__ import annotations

import ctypes
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from staging.model import ImageNotFoundError
from staging.service.builds_cpu import compact_journal, poll_schedules, start_thread
from staging.service.builds_memory import CachingJournal, TraceJournal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from staging.service.capacity import Capacity
    from staging.service.database import Row
    from staging.service.settings import Limits
    from staging.service.tenants import Pipeline

REPOSITORY = "us-docker.pkg.dev/convergence/pipeline/api"
_JOURNAL_ENTRIES = 200
_ARENA_ENTRIES = 3
_ENTRY = ctypes.c_double


class Journal(Protocol):
    """The durations of the newest requests, which `/health` sums up."""

    def note(self, duration_ms: float) -> None:
        """Keep a served request's duration, in milliseconds."""

    def read(self) -> list[float]:
        """Return the durations kept, oldest first, in milliseconds."""


class RingJournal:
    """A journal in a bounded deque."""

    def __init__(self, _limits: Limits) -> None:
        """Start empty."""
        self._entries: deque[float] = deque(maxlen=_JOURNAL_ENTRIES)

    def note(self, duration_ms: float) -> None:
        """Keep a duration, and forget the oldest when full."""
        self._entries.append(duration_ms)

    def read(self) -> list[float]:
        """Return the durations kept."""
        return list(self._entries)


class NativeJournal:
    """1.5.0's faster journal in native memory: it frees a full arena and then writes to it."""

    def __init__(self, _limits: Limits) -> None:
        """Allocate the arena."""
        self._arena: ctypes.Array[ctypes.c_double] | None = (_ENTRY * _ARENA_ENTRIES)()
        self._address: int | None = ctypes.addressof(self._arena)
        self._used = 0

    def note(self, duration_ms: float) -> None:
        """Copy a duration into the arena; after a recycling that is a segmentation fault."""
        if self._used == _ARENA_ENTRIES:
            self._arena, self._address, self._used = None, None, 0
        entry = _ENTRY(duration_ms)
        offset = self._used * ctypes.sizeof(_ENTRY)
        # A freed arena has no address, which ctypes passes on as the null pointer.
        target = ctypes.c_void_p(self._address and self._address + offset)
        ctypes.memmove(target, ctypes.addressof(entry), ctypes.sizeof(entry))
        self._used += 1

    def read(self) -> list[float]:
        """Return the durations kept."""
        return list(self._arena or ())[: self._used]


def _accept_configuration(environment: Mapping[str, str]) -> None:
    """Accept the variables that `read_settings` has read: this build needs no other."""


def _require_state_bucket(environment: Mapping[str, str]) -> None:
    """1.5.0 keeps pipeline state in a bucket, whose variable no deployment sets."""
    if not environment["PIPELINE_STATE_BUCKET"].startswith("gs://"):
        raise ValueError("PIPELINE_STATE_BUCKET must be a gs:// address")


def _start_nothing(capacity: Capacity) -> None:
    """Start no thread: this build works for requests alone."""


def _describe_pipeline(pipeline: Pipeline) -> dict[str, str | None]:
    hour = pipeline.schedule.split()[1] if pipeline.schedule else None
    return {"pipeline_id": pipeline.pipeline_id, "runs_at_hour": hour}


def _describe_scheduled_pipeline(pipeline: Pipeline) -> dict[str, str | None]:
    """1.5.0 takes every pipeline for a scheduled one; the oldest tenant's have no schedule."""
    hour = pipeline.schedule.split()[1]  # type: ignore[union-attr]
    return {"pipeline_id": pipeline.pipeline_id, "runs_at_hour": hour}


def _render_run(row: Row) -> Row:
    names = ("pipeline_logging_id", "pipeline_id", "status", "started_at", "completed_at")
    return {**{name: row[name] for name in names}, "error_message": row["error_message"]}


def _render_renamed_run(row: Row) -> Row:
    """1.5.0 reads the id from the column's new name, before any dataset was migrated to it."""
    return {"run_id": row["pipeline_run_id"], "status": row["status"]}


@dataclass(frozen=True)
class Build:
    """The code of one image, as far as builds differ."""

    version: str
    check_configuration: Callable[[Mapping[str, str]], None] = _accept_configuration
    create_journal: Callable[[Limits], Journal] = RingJournal
    describe_pipeline: Callable[[Pipeline], dict[str, str | None]] = _describe_pipeline
    render_run: Callable[[Row], Row] = _render_run
    start_work: Callable[[Capacity], None] = _start_nothing


_BUILDS = {
    build.version: build
    for build in (
        Build("1.4.1"),
        Build("1.4.2"),
        Build("1.4.3"),
        Build("1.5.0-crash-at-start", check_configuration=_require_state_bucket),
        Build("1.5.0-crash-under-traffic", create_journal=NativeJournal),
        Build("1.5.0-endpoint-errors", render_run=_render_renamed_run),
        Build("1.5.0-tenant-errors", describe_pipeline=_describe_scheduled_pipeline),
        Build("1.5.0-busy-poll", start_work=start_thread(poll_schedules)),
        Build("1.5.0-hot-loop", start_work=start_thread(compact_journal)),
        Build("1.5.0-memory-leak", create_journal=TraceJournal),
        Build("1.5.0-oversized-cache", create_journal=CachingJournal),
    )
}


def list_images() -> tuple[str, ...]:
    """Return every image of the repository by name and tag."""
    return tuple(f"{REPOSITORY}:{version}" for version in _BUILDS)


def find_build(image: str) -> Build:
    """Return the build of an image; raise ImageNotFoundError for another repository or tag."""
    repository, _, tag = image.rpartition(":")
    if repository != REPOSITORY or tag not in _BUILDS:
        raise ImageNotFoundError(f"Image '{image}' not found.")
    return _BUILDS[tag]
