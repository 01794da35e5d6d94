"""CPU use of every instance, in memory that the platform shares with them."""

from __future__ import annotations

import mmap
import os
import struct
import time

_RECORD = struct.Struct("=dd")  # CLOCK_MONOTONIC of the writing, busy share
_STALE_S = 1.0


class UsageBoard:
    """A record per slot, written by the slot's instance and read by the fleet."""

    def __init__(self, descriptor: int, slots: int) -> None:
        """Map the board behind an open descriptor; slots count from 1."""
        self.descriptor = descriptor
        self._memory = mmap.mmap(descriptor, _RECORD.size * (slots + 1))

    @classmethod
    def create(cls, slots: int) -> UsageBoard:
        """Return a new board in anonymous memory, whose descriptor a child process may inherit."""
        descriptor = os.memfd_create("convergence-usage")
        os.ftruncate(descriptor, _RECORD.size * (slots + 1))
        return cls(descriptor, slots)

    def write(self, slot: int, share: float) -> None:
        """Publish the busy share (0 to 1) of the instance in `slot`."""
        _RECORD.pack_into(self._memory, slot * _RECORD.size, time.monotonic(), share)

    def read(self, slot: int) -> float:
        """Return the last share of `slot`; 0 when a second old, as a frozen process uses no CPU."""
        written, share = _RECORD.unpack_from(self._memory, slot * _RECORD.size)
        return float(share) if time.monotonic() - written < _STALE_S else 0.0

    def clear(self, slot: int) -> None:
        """Forget what an earlier instance in `slot` wrote."""
        _RECORD.pack_into(self._memory, slot * _RECORD.size, 0.0, 0.0)

    def close(self) -> None:
        """Release the memory and its descriptor."""
        self._memory.close()
        os.close(self.descriptor)
