"""Run every feature, control and by-hand line against the target, and write what came out."""

from __future__ import annotations

import json as json_module
import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invoke.exceptions import Exit

from checks.errors import RefusedError, RunbookError, UsageError
from runbook.step import step

if TYPE_CHECKING:
    from invoke.context import Context

REPOSITORY = Path(__file__).resolve().parents[1]
ROOT_TASKS = ("verify",)
DEADLINE_S = 45 * 60
FORMAT = 2


@step(
    needs_target=False,
    help={
        "alert": "verify only this alert; the results then go to a file that you name",
        "workers": "how many embedded stagings run side by side",
        "time_scale": "divide the durations of rules and platform by this",
        "results": "where the results go; the site reads results/verification.json",
        "json": "print the summary as one JSON object",
    },
)
def verify(
    _c: Context,
    alert: str = "",
    workers: int = 2,
    time_scale: float = 60.0,
    results: str = "",
    json: bool = False,
) -> None:
    """Prove every alert's mitigations, their controls and the lines by hand."""
    path = choose_results(alert, results)
    target = find_target()
    found = run_suite(alert, workers, time_scale, quiet=json)
    verification = describe_run(target, found, time_scale)
    write_whole(path, verification)
    summary = summarise(verification)
    print_summary(summary, path, json=json)
    if found["exit_code"] != 0 or not is_proven(summary):
        raise Exit(code=1)


def choose_results(alert: str, results: str) -> Path:
    """Return where the results go; raise UsageError when part of them would replace the whole."""
    known = sorted(path.stem for path in (REPOSITORY / "features").glob("*.feature"))
    if alert and alert not in known:
        raise UsageError(
            f"There is no feature for an alert named {alert!r}; there are {', '.join(known)}.",
            next_step=f"invoke verify --alert={known[0]} --results=results/{known[0]}.json",
        )
    if alert and not results:
        raise UsageError(
            f"The results of {alert} alone would replace those of every alert.",
            next_step=f"invoke verify --alert={alert} --results=results/{alert}.json",
        )
    return Path(results) if results else REPOSITORY / "results" / "verification.json"


def find_target() -> dict[str, str]:
    """Return the target's name and kind; raise RefusedError where no fault can be injected."""
    name = os.environ.get("RUNBOOK_TARGET") or "local"
    if name != "local":
        raise RefusedError(
            f"The target {name} offers no way to inject a fault, so nothing could be proven there.",
            next_step="RUNBOOK_TARGET=local invoke verify",
        )
    return {"target": name, "environment": "embedded staging"}


def run_suite(alert: str, workers: int, time_scale: float, *, quiet: bool) -> dict[str, Any]:
    """Return the suite's records, exit code and times; raise RunbookError when it wrote none."""
    started, began = datetime.now(UTC), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="verify-") as folder:
        records = Path(folder) / "records.json"
        command = [sys.executable, "-m", "pytest", "tests/features", "tests/vendor", "-v"]
        command += ["-m", alert] if alert else []
        command += [f"--results={records}", f"--time-scale={time_scale}"]
        command += ["-n", str(workers), "--dist=worksteal"] if workers > 1 else []
        done = subprocess.run(
            command,
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr if quiet else None,
            timeout=DEADLINE_S,
            check=False,
        )
        if not records.exists():
            raise RunbookError(
                f"The suite ended with exit code {done.returncode} and wrote no results.",
                next_step=" ".join(["python", *command[1:3], "tests/features", "-x"]),
            )
        found: dict[str, Any] = json_module.loads(records.read_text())
    found["exit_code"] = done.returncode
    found["started"] = started.strftime("%Y-%m-%dT%H:%M:%SZ")
    found["seconds"] = round(time.monotonic() - began, 1)
    return found


def describe_run(
    target: dict[str, str], found: dict[str, Any], time_scale: float
) -> dict[str, Any]:
    """Return the whole of results/verification.json."""
    return {
        "format": FORMAT,
        **target,
        "time_scale": time_scale,
        **read_commit(),
        "started": found["started"],
        "seconds": found["seconds"],
        "scenarios": found["scenarios"],
        "by_hand": found["by_hand"],
    }


def read_commit() -> dict[str, Any]:
    """Return the commit that was verified, and whether the tree differed from it."""

    def ask(*arguments: str) -> str:
        done = subprocess.run(
            ["git", *arguments],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        return done.stdout.strip() if done.returncode == 0 else ""

    commit = ask("rev-parse", "HEAD")
    return {"commit": commit or "unknown", "dirty": bool(ask("status", "--porcelain"))}


def write_whole(path: Path, verification: dict[str, Any]) -> None:
    """Replace the results file at once, so that no reader meets half of one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json_module.dumps(verification, indent=1) + "\n")
    partial.replace(path)


def summarise(verification: dict[str, Any]) -> dict[str, Any]:
    """Return the contract for scripts: counts of loops, controls and lines, times per alert."""
    scenarios, lines = verification["scenarios"], verification["by_hand"]
    names = sorted({scenario["alert"] for scenario in scenarios})
    outcomes = [line["outcome"] for line in lines]
    return {
        **{key: verification[key] for key in ("target", "commit", "started", "seconds")},
        "loops": count(scenarios, "loop", "passed"),
        "controls": count(scenarios, "control", "red"),
        "by_hand": {
            "equal": outcomes.count("equal"),
            "total": len(outcomes),
            "unverified": outcomes.count("unverified"),
        },
        "alerts": {
            name: summarise_alert([one for one in scenarios if one["alert"] == name])
            for name in names
        },
    }


def summarise_alert(scenarios: list[dict[str, Any]]) -> dict[str, Any]:
    """Return one alert's counts, its seconds in all, and the medians of its passed loops."""
    return {
        "loops": count(scenarios, "loop", "passed"),
        "controls": count(scenarios, "control", "red"),
        "seconds": round(sum(one["seconds"] for one in scenarios), 1),
        "time_to_detect_s": take_median(scenarios, "time_to_detect_s"),
        "time_to_mitigate_s": take_median(scenarios, "time_to_mitigate_s"),
    }


def count(scenarios: list[dict[str, Any]], kind: str, good: str) -> dict[str, int]:
    """Return how many scenarios of a kind there are, and how many came out as they must."""
    outcomes = [one["outcome"] for one in scenarios if one["kind"] == kind]
    return {good: outcomes.count("passed"), "total": len(outcomes)}


def take_median(scenarios: list[dict[str, Any]], key: str) -> float | None:
    """Return the median of a time over the passed loops, in seconds, or None without any."""
    from statistics import median

    times = [
        one[key]
        for one in scenarios
        if one["kind"] == "loop" and one["outcome"] == "passed" and one[key] is not None
    ]
    return round(median(times), 2) if times else None


def is_proven(summary: dict[str, Any]) -> bool:
    """Return whether every loop closed, every control stayed red and no line differed."""
    loops, controls, by_hand = summary["loops"], summary["controls"], summary["by_hand"]
    return bool(
        loops["total"]
        and loops["passed"] == loops["total"]
        and controls["red"] == controls["total"] > 0
        and by_hand["equal"] + by_hand["unverified"] == by_hand["total"] > 0
    )


def print_summary(summary: dict[str, Any], path: Path, *, json: bool) -> None:
    """Print what was proven: the finding first, then a line for each alert."""
    if json:
        sys.stdout.write(json_module.dumps(summary) + "\n")
        return
    loops, controls, lines = summary["loops"], summary["controls"], summary["by_hand"]
    verdict = "Proven" if is_proven(summary) else "NOT PROVEN"
    finding = (
        f"{verdict}: {loops['passed']} of {loops['total']} loops closed, {controls['red']} of"
        f" {controls['total']} controls stayed red, {lines['equal']} of {lines['total']} lines by"
        f" hand equal their task ({lines['unverified']} not verified),"
        f" in {summary['seconds']:.0f} s."
    )
    text = ["", finding]
    for name, alert in summary["alerts"].items():
        text.append(
            f"  {name}: {alert['loops']['passed']}/{alert['loops']['total']} loops,"
            f" {alert['controls']['red']}/{alert['controls']['total']} controls,"
            f" {alert['seconds']:.0f} s; detected in {show_seconds(alert['time_to_detect_s'])},"
            f" mitigated in {show_seconds(alert['time_to_mitigate_s'])} (medians)"
        )
    text += [f"Results: {path}", "Next: invoke site.build"]
    sys.stdout.write("\n".join(text) + "\n")


def show_seconds(seconds: float | None) -> str:
    """Return seconds as text, or that nothing was measured."""
    return "not measured" if seconds is None else f"{seconds:.1f} s"
