"""How triage is drilled: stagings of its own, a fault at a time, and what triage says first."""

from __future__ import annotations

import json
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runbook.report import Table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_ROOT = Path(__file__).resolve().parent.parent
_RULES = _ROOT / "checks" / "alerts.yml"
_START_DEADLINE_S = 90.0
_ASSESS_DEADLINE_S = 60.0
_HEALTHY_PAST_S = 300.0  # at scale 1: what the widest window of the rules looks back
_QUIET_DEADLINE_S = 60.0
_FIRE_DEADLINE_S = 90.0
_HEALTHY_S = 300.0  # real time: at scale 60 five hours of the service's
HEALTHY = "nothing"
_POLL_S = 0.25


@dataclass(frozen=True)
class Task:
    """One fault to bring about, and what triage must say: the alert and the command's step.

    The fault `nothing` leaves the service healthy; then no alert may fire for five minutes.
    """

    seed: int
    platform: str
    fault: str
    alert: str
    wanted: str


@dataclass(frozen=True)
class Result:
    """What triage said; `seconds` is from the fault to its alert, `problem` is "" when right."""

    task: Task
    first: str = ""
    command: str = ""
    seconds: float = 0.0
    assess_s: float = 0.0
    problem: str = ""


def plan_tasks(seeds: int, faults: Sequence[str], platforms: Sequence[str]) -> list[Task]:
    """Return what to break: what the features promise to mend, each fault once a platform.

    Raises:
        UsageError: No feature has such a fault, or such a platform.
    """
    from checks.errors import UsageError
    from checks.rules import read_alert_rules
    from runbook.pages.alerts import read_scenarios

    faults, platforms = [one for one in faults if one], [one for one in platforms if one]
    promised: dict[tuple[str, str], Task] = {}
    for rule in read_alert_rules():
        for one in read_scenarios(_ROOT, rule.name):
            platform = (one.platform or "Cloud Run").lower().replace(" ", "_")
            if one.kind == "loop" and one.fault and one.mitigation:
                task = Task(0, platform, one.fault, one.alert, one.mitigation)
                promised.setdefault((platform, one.fault), task)
    for platform in dict.fromkeys(platform for platform, _ in list(promised)):
        promised[platform, HEALTHY] = Task(0, platform, HEALTHY, "", "")
    unknown = set(faults) - {fault for _, fault in promised}
    unknown |= set(platforms) - {platform for platform, _ in promised}
    if unknown:
        raise UsageError(
            f"No feature knows {', '.join(sorted(unknown))}.",
            next_step="invoke staging.break lists the faults",
        )
    return [
        replace(task, seed=seed)
        for seed in range(1, seeds + 1)
        for (platform, fault), task in sorted(promised.items())
        if (not faults or fault in faults) and (not platforms or platform in platforms)
    ]


def run_tasks(tasks: Sequence[Task], workers: int, time_scale: float) -> list[Result]:
    """Return the result of each task, in order; each worker has a staging of its own a seed."""
    waiting: queue.SimpleQueue[tuple[int, list[Task]]] = queue.SimpleQueue()
    by_seed: dict[tuple[int, int], list[Task]] = {}
    for number, task in enumerate(tasks):
        by_seed.setdefault((task.seed, number % workers), []).append(task)
    for (seed, _), some in by_seed.items():
        waiting.put((seed, some))
    results: dict[Task, Result] = {}

    def work() -> None:
        while True:
            try:
                seed, some = waiting.get_nowait()
            except queue.Empty:
                return
            results.update(_run_seed(seed, some, time_scale))

    threads = [threading.Thread(target=work) for _ in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [results.get(task, Result(task, problem="not run")) for task in tasks]


def _run_seed(seed: int, tasks: Sequence[Task], time_scale: float) -> dict[Task, Result]:
    # Not below a test's own folder: a unix socket's path may have at most 107 bytes.
    folder = Path(tempfile.mkdtemp(prefix="drill-"))
    staging = Staging(folder, time_scale)
    found: dict[Task, Result] = {}
    try:
        staging.start(seed)
        for task in tasks:
            found[task] = _run_task(staging, task)
            _tell(found[task])
    except Exception as error:  # noqa: BLE001 - one staging that fails must not end the drill
        told = f"{type(error).__name__}: {str(error)[:200]}"
        found |= {task: Result(task, problem=told) for task in tasks if task not in found}
    finally:
        staging.stop()
    return found


def _run_task(staging: Staging, task: Task) -> Result:
    from checks.errors import RunbookError

    try:
        staging.reset(task.platform)
        if task.fault == HEALTHY:
            return _watch(staging, task)
        began = time.monotonic()
        staging.control("/break", {"fault": task.fault})
        _wait(
            lambda: staging.alerts().get(task.alert) == "firing",
            _FIRE_DEADLINE_S,
            f"{task.alert} fires",
        )
        fired = time.monotonic()
        content = staging.assess()
    except RunbookError as error:
        return Result(task, problem=str(error))
    first = content["data"]["alerts"][0]
    command = str(first["recommend"])
    result = Result(task, first["alert"], command, fired - began, time.monotonic() - fired)
    if first["alert"] != task.alert:
        return replace(result, problem=f"another alert first ({first['state']})")
    words = command.split()
    if words[:2] != ["invoke", task.wanted]:
        return replace(result, problem=f"wanted {task.wanted}: {first['why'][:160]}")
    return result


def _watch(staging: Staging, task: Task) -> Result:
    began = time.monotonic()
    while (seconds := time.monotonic() - began) < _HEALTHY_S:
        if firing := [name for name, state in staging.alerts().items() if state == "firing"]:
            problem = f"a false alarm after {seconds:.0f} s"
            return Result(task, first=firing[0], seconds=seconds, problem=problem)
        time.sleep(_POLL_S)
    return Result(task, first="no alert", seconds=seconds)


class Staging:
    """One embedded staging of the drill's own."""

    def __init__(self, folder: Path, time_scale: float) -> None:
        """Keep it in `folder`, which is removed at its end."""
        self._folder = folder
        self._time_scale = time_scale
        self._places: dict[str, Any] = {}
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("RUNBOOK_", "INVOKE_"))}
        self._environment = kept | {
            "RUNBOOK_TARGET": "local",
            "RUNBOOK_STAGING_DIR": str(folder),
            "RUNBOOK_STATE_DIR": str(folder / "runbook"),
        }

    def start(self, seed: int) -> None:
        """Start it; raise RunbookError when it does not come up."""
        scale = f"{self._time_scale:g}"
        self._run("up", "--rules", str(_RULES), "--time-scale", scale, "--seed", str(seed))
        self._places = json.loads((self._folder / "endpoints.json").read_text(encoding="utf-8"))

    def stop(self) -> None:
        """Stop it and remove its folder; one that cannot be stopped keeps its folder."""
        from checks.errors import RunbookError

        try:
            self._run("down")
        except RunbookError as error:
            _say(f"{error} End it with: python -m staging down --dir {self._folder}")
            return
        shutil.rmtree(self._folder, ignore_errors=True)

    def reset(self, platform: str) -> None:
        """Bring the clean baseline back, and wait until the rules' windows have a healthy past."""
        self.control("/reset", {"platform": platform})
        shutil.rmtree(self._folder / "runbook", ignore_errors=True)
        since = [time.monotonic()]

        def is_healthy_for_long() -> bool:
            if self.alerts():
                since[0] = time.monotonic()
            return time.monotonic() - since[0] >= _HEALTHY_PAST_S / self._time_scale

        _wait(is_healthy_for_long, _QUIET_DEADLINE_S, "no alert is pending")

    def control(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Return the control API's answer; raise RunbookError when it is an error."""
        from checks.target import Target
        from runbook.staging import ask_control

        names = ("project", "region", "service", "service_url", "control")
        place = {name: self._places[name] for name in names}
        target = Target(name="drill", environment="embedded staging", **place)
        return ask_control(target, "POST", path, body)

    def alerts(self) -> dict[str, str]:
        """Return the states of the active alerts by name, as Prometheus tells them."""
        from checks.http import get_json

        found = get_json(self._places["prometheus"] + "/api/v1/alerts")
        return {one["labels"]["alertname"]: one["state"] for one in found["data"]["alerts"]}

    def assess(self) -> dict[str, Any]:
        """Return what `invoke assess --json` says; raise RunbookError when it says nothing."""
        from checks.errors import RunbookError

        done = subprocess.run(
            [sys.executable, "-m", "invoke", "assess", "--json"],
            cwd=_ROOT,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_ASSESS_DEADLINE_S,
            check=False,
        )
        try:
            content: dict[str, Any] = json.loads(done.stdout)
        except ValueError as error:
            raise RunbookError(
                f"invoke assess said nothing: {done.stderr[-200:]}", next_step="invoke assess"
            ) from error
        return content

    def _run(self, verb: str, *arguments: str) -> None:
        from checks.errors import RunbookError

        done = subprocess.run(
            [sys.executable, "-m", "staging", verb, "--dir", str(self._folder), *arguments],
            cwd=_ROOT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_START_DEADLINE_S,
            check=False,
        )
        if done.returncode:
            raise RunbookError(
                f"A staging did not go {verb}: {done.stderr[-200:]}", next_step="run it again"
            )


def _wait(condition: Callable[[], bool], deadline_s: float, what: str) -> None:
    from checks.errors import RunbookError

    end = time.monotonic() + deadline_s
    while True:
        try:
            if condition():
                return
        except RunbookError:
            pass  # a machine that is busy may keep Prometheus waiting
        if time.monotonic() > end:
            raise RunbookError(
                f"Within {deadline_s:.0f} s it was not so that {what}.", next_step="run it again"
            )
        time.sleep(_POLL_S)


def _tell(result: Result) -> None:
    task, verdict = result.task, result.problem or "right"
    _say(f"seed {task.seed}, {task.platform}, {task.fault}: {verdict} ({result.command})")


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def tabulate(results: Sequence[Result]) -> Table:
    """Return a row for each result."""
    return Table(
        columns=("seed", "platform", "fault", "fires", "assess", "first", "command", "problem"),
        rows=tuple(
            (
                str(result.task.seed),
                result.task.platform,
                result.task.fault,
                f"{result.seconds:.1f} s",
                f"{result.assess_s:.2f} s",
                result.first,
                result.command.removeprefix("invoke "),
                result.problem,
            )
            for result in results
        ),
        right=("fires", "assess"),
    )


def result_as_data(result: Result) -> dict[str, Any]:
    """Return a result as `--json` gives it; times in seconds."""
    task = result.task
    return {
        "seed": task.seed,
        "platform": task.platform,
        "fault": task.fault,
        "alert": task.alert,
        "wanted": task.wanted,
        "first": result.first,
        "command": result.command,
        "fires_s": round(result.seconds, 2),
        "assess_s": round(result.assess_s, 2),
        "problem": result.problem,
    }
