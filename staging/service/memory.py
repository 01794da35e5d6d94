"""An instance's memory: what the process really holds, counted larger than life.

A container of 4 GiB would be a real 4 GiB here, and twenty of them do not fit into a workstation:
so one real byte counts as 40, and the limit of 4 GiB is met by real 102 MiB. With 40 an idle
instance, whose interpreter and libraries are most of it, uses between a quarter and a third.
"""

from __future__ import annotations

import asyncio
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


async def fill_in_slices(used_bytes: int) -> list[bytearray]:
    """Return memory that counts as `used_bytes`, and let others work between its slices."""
    slices = []
    left = used_bytes
    while left > 0:
        slices.append(fill(min(left, _SLICE_BYTES * REAL_BYTE)))
        left -= _SLICE_BYTES * REAL_BYTE
        await asyncio.sleep(0)
    return slices
