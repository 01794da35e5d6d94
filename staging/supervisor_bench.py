"""What embedded staging costs: start, reset, memory, many instances, and an end by kill -9."""

from __future__ import annotations

import os
import signal
import statistics
import time
from typing import TYPE_CHECKING, Any

import psutil

from staging import supervisor_client as client
from staging.control.status import MEASURED_EVERY_S
from staging.local_http import request_json

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from staging.supervisor_directory import StagingDirectory

_RESETS = 10
_MANY = 20
_DEADLINE_S = 20.0


def run_bench(
    directory: StagingDirectory, rules: Path, time_scale: float, say: Callable[[str], None]
) -> int:
    """Measure a staging in `directory`, which must not run yet; return 0, or 1 for a miss.

    Every line has the measure, its limit where there is one, and whether it was kept.
    """
    if directory.find_supervisor():
        raise client.StagingError(f"a staging runs in {directory.path}; name another --dir")
    started = time.monotonic()
    client.start(directory, rules, time_scale, lambda _: None)
    kept = [_judge(say, "start to healthy, loaded, scraped (s)", time.monotonic() - started, 8)]
    try:
        endpoints = directory.read_endpoints() or {}
        kept += _measure_resets(endpoints, say)
        kept += _measure_memory(endpoints, say)
    finally:
        kept += _measure_kill(directory, say)
    return 0 if all(kept) else 1


def _measure_resets(endpoints: dict[str, Any], say: Callable[[str], None]) -> list[bool]:
    times = []
    for _ in range(_RESETS):
        started = time.monotonic()
        request_json(f"{endpoints['control']}/reset", method="POST", timeout_s=_DEADLINE_S)
        times.append(time.monotonic() - started)
    say(f"{_RESETS} resets (s): {min(times):.2f} to {max(times):.2f}")
    return [
        _judge(say, "reset, median (s)", statistics.median(times), 1),
        _measure_reset_from_alert(endpoints, say),
    ]


def _measure_reset_from_alert(endpoints: dict[str, Any], say: Callable[[str], None]) -> bool:
    control, fault = endpoints["control"], {"fault": "frozen-instances"}
    request_json(f"{control}/break", method="POST", body=fault, timeout_s=_DEADLINE_S)
    started = time.monotonic()
    while True:
        alerts = request_json(f"{endpoints['prometheus']}/api/v1/alerts")["data"]["alerts"]
        if any(alert["state"] == "firing" for alert in alerts):
            break
        if time.monotonic() - started > _DEADLINE_S:
            raise client.StagingError("no alert fired for frozen instances")
        time.sleep(0.1)
    started = time.monotonic()
    request_json(f"{control}/reset", method="POST", timeout_s=_DEADLINE_S)
    return _judge(say, "reset while ServiceDown fires (s)", time.monotonic() - started, 1)


def _measure_memory(endpoints: dict[str, Any], say: Callable[[str], None]) -> list[bool]:
    control = endpoints["control"]
    status = request_json(f"{control}/status", timeout_s=_DEADLINE_S)
    for process in status["processes"]:
        say(f"  {process['name']:<50} {process['pss_mb']:>7.1f} MB")
    kept = [_judge(say, "memory at the baseline, PSS (MB)", status["pss_mb"], 400)]
    parent = (
        f"{endpoints['api']}/v2/projects/{endpoints['project']}"
        f"/locations/{endpoints['region']}/services/{endpoints['service']}"
    )
    body = {"template": {"scaling": {"minInstanceCount": _MANY, "maxInstanceCount": _MANY}}}
    started = time.monotonic()
    request_json(f"{parent}?updateMask=template.scaling", method="PATCH", body=body)
    while True:
        status = request_json(f"{control}/status", timeout_s=_DEADLINE_S)
        ready = sum(item["state"] == "ready" for item in status["instances"])
        if ready == len(status["instances"]) == _MANY:
            break
        if time.monotonic() - started > _DEADLINE_S:
            raise client.StagingError(f"only {ready} of {_MANY} instances became ready")
        time.sleep(0.1)
    say(f"scaled to {_MANY} instances after {time.monotonic() - started:.2f} s")
    time.sleep(MEASURED_EVERY_S)
    status = request_json(f"{control}/status", timeout_s=_DEADLINE_S)
    return [*kept, _judge(say, f"memory at {_MANY} instances, PSS (MB)", status["pss_mb"], 400)]


def _measure_kill(directory: StagingDirectory, say: Callable[[str], None]) -> list[bool]:
    supervisor = psutil.Process(directory.find_supervisor())
    descendants = supervisor.children(recursive=True)
    started = time.monotonic()
    os.kill(supervisor.pid, signal.SIGKILL)
    alive = descendants
    while alive and time.monotonic() - started < _DEADLINE_S:
        alive = [process for process in alive if not has_ended(process)]
    seconds = time.monotonic() - started
    directory.remove_endpoints()
    for process in alive:
        say(f"  left over: {process.pid}")
        process.kill()
    what = f"kill -9 to the last of {len(descendants)} processes gone (s)"
    return [_judge(say, what, seconds, 1)]


def has_ended(process: psutil.Process) -> bool:
    """Return whether a process is gone, or a zombie that only its new parent has to collect."""
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def _judge(say: Callable[[str], None], what: str, measured: float, limit: float) -> bool:
    say(f"{what}: {measured:.2f}, limit {limit:g}: {'kept' if measured < limit else 'MISSED'}")
    return measured < limit
