"""Builds that waste CPU: a thread of theirs takes what requests leave.

The waste is real, so that ps and a profiler find the thread, but small: a CPU-second of the
container is burnt as a fortieth of a real one, or ten instances would starve their host. The
thread hashes without the interpreter's lock and at the lowest priority.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from typing import TYPE_CHECKING, Final

from staging.service.process import set_process_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from staging.service.capacity import Capacity

REAL_CPU_SECOND: Final = 40
_LOWEST_PRIORITY: Final = 19
# One hashing takes about a millisecond, most of it without the lock.
_TABLE: Final = 1024 * 1024
# A thread that did not say for so long that it goes on has ended; on a busy host, where it comes
# last, a round takes a second at times.
_LASTS_S: Final = 3.0
# What the loop takes; its pauses leave the rest.
_POLL_SHARE: Final = 0.87


class _Pace:
    """Turns the CPU that the thread really took into what its container lost by it."""

    def __init__(self, capacity: Capacity, share: float) -> None:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _LOWEST_PRIORITY)
        self._capacity = capacity
        self._share = share
        self._used = time.thread_time()
        self._never = threading.Event()

    def keep(self) -> None:
        used = time.thread_time()
        self._capacity.take_idle(self._share, _LASTS_S)
        # A wait that profilers know for one: at this priority its end often waits for the host.
        self._never.wait((used - self._used) * REAL_CPU_SECOND / (self._share * self._capacity.cpu))
        self._used = used


def poll_schedules(capacity: Capacity) -> None:
    """1.5.0 asks whether a schedule has changed, and waits microseconds for seconds."""
    pace, schedules, known = _Pace(capacity, _POLL_SHARE), bytes(_TABLE), b""
    while True:
        found = digest_schedules(schedules)
        known = known if found == known else found
        pace.keep()


def digest_schedules(schedules: bytes) -> bytes:
    """Return what tells one state of the schedules from another."""
    return hashlib.sha256(schedules).digest()


def compact_journal(capacity: Capacity) -> None:
    """1.5.0 compacts its journal, and never moves on from the first segment."""
    pace, segments, place = _Pace(capacity, 1.0), [bytes(_TABLE)], 0
    while place < len(segments):
        checksum_segment(segments[place])
        pace.keep()


def checksum_segment(segment: bytes) -> str:
    """Return a segment's checksum."""
    return hashlib.sha256(segment).hexdigest()


def start_thread(work: Callable[[Capacity], None]) -> Callable[[Capacity], None]:
    """Return what runs `work` in a thread of its own, for as long as the process lives."""

    def run(capacity: Capacity) -> None:
        set_process_name(work.__name__)
        work(capacity)

    def start(capacity: Capacity) -> None:
        threading.Thread(target=run, args=(capacity,), name=work.__name__, daemon=True).start()

    return start
