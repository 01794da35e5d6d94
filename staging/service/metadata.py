"""The metadata log: a bounded queue in memory and the workers that write it to BigQuery."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from staging.service.errors import DatabaseUnreachableError
from staging.service.logs import write_log

if TYPE_CHECKING:
    from staging.service.database import Database, Row
    from staging.service.metrics import Metrics
    from staging.service.settings import Settings

_RETRY_PAUSE_S = 0.2
_DROP_REPORT_S = 1.0


@dataclass(frozen=True)
class Record:
    """One row on its way to a tenant's dataset."""

    tenant_id: str
    table: str
    row: Row


class MetadataLog:
    """Takes records without waiting, drops them when full, and writes them in batches."""

    def __init__(self, settings: Settings, database: Database, metrics: Metrics) -> None:
        """Create the queue; `start` adds the workers."""
        self._settings = settings
        self._database = database
        self._metrics = metrics
        self._queue: asyncio.Queue[Record] = asyncio.Queue(settings.metadata_queue_size)
        self._workers: list[asyncio.Task[None]] = []
        self._dropped = 0
        self._drops_reported_at = float("-inf")
        metrics.queue_size.set_function(self._queue.qsize)

    def start(self) -> None:
        """Start as many flush workers as METADATA_LOG_WORKERS says."""
        count = self._settings.metadata_workers
        self._workers = [asyncio.create_task(self._flush_forever()) for _ in range(count)]

    def put(self, record: Record) -> None:
        """Queue a record; a full queue drops it, and a log line a second says how many."""
        try:
            self._queue.put_nowait(record)
        except asyncio.QueueFull:
            self._dropped += 1
            self._report_drops()

    async def stop(self, grace_s: float) -> None:
        """Stop the workers once the queue is written, or when `grace_s` seconds have passed."""
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        batch: list[Record] = []
        try:
            async with asyncio.timeout(grace_s):
                while batch := self._take_waiting():
                    await self._write(batch)
        except TimeoutError:
            left = self._queue.qsize() + len(batch)
            write_log("ERROR", f"metadata flush failed: {left} records not written at shutdown")

    async def _flush_forever(self) -> None:
        while True:
            batch = await self._collect_batch()
            await self._write(batch)

    async def _collect_batch(self) -> list[Record]:
        batch = [await self._queue.get()]
        try:
            async with asyncio.timeout(self._settings.metadata_flush_interval_s):
                while len(batch) < self._settings.metadata_batch_size:
                    batch.append(await self._queue.get())
        except TimeoutError:
            pass
        except asyncio.CancelledError:
            # A stopping worker gives its half-filled batch back to the last flush.
            for record in batch:
                self.put(record)
            raise
        return batch

    def _take_waiting(self) -> list[Record]:
        size = min(self._queue.qsize(), self._settings.metadata_batch_size)
        return [self._queue.get_nowait() for _ in range(size)]

    async def _write(self, batch: list[Record]) -> None:
        groups: dict[tuple[str, str], list[Row]] = defaultdict(list)
        for record in batch:
            groups[record.tenant_id, record.table].append(record.row)
        started = time.monotonic()
        for (tenant_id, table), rows in groups.items():
            await self._insert_with_retries(tenant_id, table, rows)
        self._metrics.flush_duration.observe(time.monotonic() - started)

    async def _insert_with_retries(self, tenant_id: str, table: str, rows: list[Row]) -> None:
        for attempt in range(self._settings.max_retry_attempts + 1):
            if attempt:
                await asyncio.sleep(_RETRY_PAUSE_S * 2**attempt)
            try:
                await self._database.insert_rows(tenant_id, table, rows)
            except DatabaseUnreachableError as error:
                reason = str(error)
                self._metrics.flush_errors.inc()
            else:
                return
        write_log(
            "ERROR",
            f"metadata flush failed: {reason}",
            tenant_id=tenant_id,
            error_type=DatabaseUnreachableError.error_type,
        )

    def _report_drops(self) -> None:
        now = time.monotonic()
        if now - self._drops_reported_at >= _DROP_REPORT_S:
            write_log("ERROR", f"metadata log full: {self._dropped} records dropped")
            self._drops_reported_at = now
            self._dropped = 0
