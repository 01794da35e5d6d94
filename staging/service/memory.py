"""An instance's memory: what the process really holds, counted larger than life.

A container of 4 GiB would be a real 4 GiB here, and twenty of them do not fit into a workstation:
so one real byte counts as 40, and the limit of 4 GiB is met by real 102 MiB. With 40 an idle
instance, whose interpreter and libraries are most of it, uses between a quarter and a third.
"""

from __future__ import annotations

import asyncio
import mmap
import resource
from pathlib import Path
from typing import Final

REAL_BYTE: Final = 40
_PAGE_BYTES: Final = resource.getpagesize()
# Filling 256 KiB takes a fraction of a millisecond: requests are served between two slices.
_SLICE_BYTES: Final = 256 * 1024


def read_used_bytes(pid: int | None = None) -> int:
    """Return the memory that a process uses, this one by default, as its container counts it.

    It is the resident set (/proc/PID/statm) times REAL_BYTE. Raise OSError when there is no such
    process.
    """
    text = Path(f"/proc/{pid or 'self'}/statm").read_text()
    return int(text.split()[1]) * _PAGE_BYTES * REAL_BYTE


def fill(used_bytes: int) -> bytearray:
    """Return memory that counts as `used_bytes`, every page of it written to."""
    return bytearray(b"\xa5") * (used_bytes // REAL_BYTE)


async def fill_in_slices(used_bytes: int) -> list[mmap.mmap]:
    """Return memory that counts as `used_bytes`, and let others work between its slices.

    Each slice is mapped: let go of, it is free, where an allocator may keep a bytearray's room.
    """
    slices = []
    left = used_bytes
    while left > 0:
        slices.append(_map_filled(min(left, _SLICE_BYTES * REAL_BYTE) // REAL_BYTE))
        left -= _SLICE_BYTES * REAL_BYTE
        await asyncio.sleep(0)
    return slices


def _map_filled(real_bytes: int) -> mmap.mmap:
    size = max(real_bytes, _PAGE_BYTES)
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for start in range(0, size, _PAGE_BYTES):
        memory[start] = 1
    return memory
