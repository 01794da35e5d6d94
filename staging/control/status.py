"""What staging is doing right now, and what it costs."""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING, Any

import psutil

if TYPE_CHECKING:
    from collections.abc import Mapping

    from staging.control.plant import Plant

_MEGABYTE = 1024 * 1024
MEASURED_EVERY_S = 1.0


class MemoryMeter:
    """Measures the processes' memory; asked often, it answers from its last measurement.

    The kernel walks every process's page tables for it, which twenty instances make felt.
    """

    def __init__(self) -> None:
        """Measure at the first question."""
        self._lock = asyncio.Lock()
        self._measured_at = float("-inf")
        self._processes: list[dict[str, Any]] = []

    async def read(self, names: Mapping[int, str]) -> list[dict[str, Any]]:
        """Return what `measure_processes` does, at most MEASURED_EVERY_S old."""
        async with self._lock:
            if time.monotonic() - self._measured_at > MEASURED_EVERY_S:
                self._processes = await asyncio.to_thread(measure_processes, names)
                self._measured_at = time.monotonic()
            return self._processes


async def read_status(plant: Plant, meter: MemoryMeter) -> dict[str, Any]:
    """Return instances, traffic, load, faults in force, and every process with its memory.

    Memory is PSS in MB (/proc/PID/smaps_rollup): pages that processes share count once in all.
    """
    instances = [
        {
            "name": instance.name,
            "slot": instance.slot,
            "address": instance.address,
            "pid": instance.pid,
            "revision": instance.spec.revision,
            "state": instance.state,
        }
        for instance in plant.fleet.instances()
    ]
    names = {instance.pid: instance.name for instance in plant.fleet.instances()}
    processes = await meter.read(names)
    return {
        "time_scale": plant.time_scale,
        "faults": list(plant.faults),
        "instances": instances,
        "platform": plant.platforms.current,
        "traffic": plant.platforms.shares(),
        "load": plant.load.status(),
        "processes": processes,
        "pss_mb": round(sum(process["pss_mb"] for process in processes), 1),
    }


def measure_processes(names: Mapping[int, str]) -> list[dict[str, Any]]:
    """Return this process and all its descendants: name (from `names`, by pid), pid, PSS in MB."""
    this = psutil.Process(os.getpid())
    measured = []
    for process in (this, *this.children(recursive=True)):
        try:
            memory = process.memory_full_info().pss
            name = "supervisor" if process == this else names.get(process.pid) or process.name()
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
        measured.append({"name": name, "pid": process.pid, "pss_mb": round(memory / _MEGABYTE, 2)})
    return measured
