"""What staging is doing right now, and what it costs."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

import psutil

if TYPE_CHECKING:
    from collections.abc import Mapping

    from staging.control.plant import Plant

_MEGABYTE = 1024 * 1024


async def read_status(plant: Plant) -> dict[str, Any]:
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
    names = {instance["pid"]: str(instance["name"]) for instance in instances}
    processes = await asyncio.to_thread(measure_processes, names)
    return {
        "time_scale": plant.time_scale,
        "faults": list(plant.faults),
        "instances": instances,
        "traffic": dict(plant.cloud_run.store.service.shares()),
        "load": plant.load.status(),
        "processes": processes,
        "pss_mb": round(sum(process["pss_mb"] for process in processes), 1),
    }


def measure_processes(names: Mapping[Any, str]) -> list[dict[str, Any]]:
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
