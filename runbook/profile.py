"""Assess what burns the CPU: sample the very process, and draw a flame graph."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from runbook.assess_usage import ON_CLUSTER
from runbook.report import Line, Report, Table
from runbook.step import step

if TYPE_CHECKING:
    from collections.abc import Sequence

    from invoke.context import Context

    from checks.target import Target
    from checks.usage import Usage
    from runbook.profile_page import Recording
    from runbook.profile_stacks import Frame, Function

_MAX_SECONDS = 60
_MIN_RATE, _MAX_RATE = 10, 500
_SHOWN = 6
_FEW = 20
_MUCH = 0.5


@step(
    alerts=("HighCPUUsage", "CriticalCPUUsage"),
    # On Cloud Run there is no such line: nobody gets into an instance.
    by_hand={
        "kubernetes": f"{ON_CLUSTER} exec deployment/{{deployment}} --container=app"
        " -- py-spy record --pid=1 --format=raw --full-filenames --duration={seconds}"
        " --rate={rate} --output=/dev/stdout",
    },
    original=("C43",),
    help={
        "instance": "The instance or pod, or the end of its name; the busiest one by default.",
        "seconds": "Sample for so long.",
        "rate": "Samples a second.",
        "output": "Where to write the flame graph, an .html file.",
        "platform": "Look at cloud_run or kubernetes, whatever the target says.",
    },
)
def profile(
    _c: Context,
    instance: str = "",
    seconds: int = 5,
    rate: int = 100,
    output: str = "",
    platform: str = "",
) -> Report:
    """Sample the busiest instance's stacks with py-spy: what burns the CPU, as a flame graph."""
    from checks.inputs import check_count
    from checks.target import load_target
    from checks.usage import read_usage
    from runbook.profile_page import write_page
    from runbook.profile_sampling import check_instance, pick_instance
    from runbook.render import show_progress

    check_count("--seconds", seconds, minimum=1, maximum=_MAX_SECONDS)
    check_count("--rate", rate, minimum=_MIN_RATE, maximum=_MAX_RATE)
    check_instance(instance)
    target = load_target().on_platform(platform)
    picked = pick_instance(read_usage(target), instance)
    path = _choose_path(target, picked, output)
    show_progress(f"Sampling {picked.name} for {seconds} s, {rate} times a second")
    recording = _record(target, picked, seconds=seconds, rate=rate)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.write_text(write_page(recording), encoding="utf-8")
    return describe_recording(recording, picked, path, embedded=target.embedded)


def _record(target: Target, picked: Usage, *, seconds: int, rate: int) -> Recording:
    from runbook.profile_page import Recording
    from runbook.profile_sampling import sample
    from runbook.profile_stacks import parse_raw

    began = datetime.now(UTC).isoformat(timespec="seconds")
    pid, raw = sample(target, picked, seconds=seconds, rate=rate)
    place = f"{target.project} / {target.region} / {target.service}"
    return Recording(
        where=f"{target.name} ({target.environment}) · {place}",
        instance=picked.name,
        revision=picked.revision,
        pid=pid,
        began=began,
        seconds=seconds,
        taken=seconds * rate,
        samples=parse_raw(raw),
    )


def _choose_path(target: Target, picked: Usage, output: str) -> Path:
    from checks.errors import UsageError
    from runbook.timeline import open_timeline

    if output:
        path = Path(output).expanduser()
        if path.suffix != ".html" or "\0" in output or not path.parent.is_dir():
            raise UsageError(
                f"{output[:200]!r} is no .html file in a folder that exists.",
                next_step="give --output a name such as profile.html, or leave it out",
                subject=output,
            )
        return path
    folder = open_timeline(target.name).path.parent / "profiles"
    safe = "".join(char if char.isalnum() or char in "-_." else "-" for char in picked.name)
    return folder / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{safe[-80:]}.html"


def describe_recording(
    recording: Recording, picked: Usage, path: Path, *, embedded: bool
) -> Report:
    """Return what the samples say, the hottest function first."""
    from runbook.profile_page import tell_busy
    from runbook.profile_stacks import find_hottest_path, list_functions

    samples = recording.samples
    functions = list_functions(samples)
    hottest_path = find_hottest_path(samples)
    notes = [f"Process {recording.pid}: {tell_busy(recording)}."]
    if picked.cpu_percent is not None:
        notes.append(f"By its metrics it uses {picked.cpu_percent:.0f}% of its container's CPU.")
    if embedded:
        notes.append("Embedded staging computes most of that CPU; it burns a small part of it.")
    if samples.errors:
        notes.append(f"{samples.errors} stacks could not be read.")
    share = functions[0].own / samples.busy if functions else 0.0
    return Report(
        finding=state_hottest(recording, functions, hottest_path),
        level="warn" if samples.busy >= _FEW and share >= _MUCH else "info",
        evidence=(
            tabulate(functions, samples.busy),
            f"Hottest path: {' > '.join(frame.function for frame in hottest_path[-_SHOWN:])}",
            " ".join(notes),
            Line(f"Flame graph: {path}"),
        ),
        next_steps=("open the flame graph in a browser", "invoke assess"),
        data=_recording_as_data(recording, functions, hottest_path) | {"flame_graph": str(path)},
    )


def _recording_as_data(
    recording: Recording, functions: Sequence[Function], hottest_path: Sequence[Frame]
) -> dict[str, object]:
    samples = recording.samples
    return {
        "instance": recording.instance,
        "revision": recording.revision,
        "pid": recording.pid,
        "seconds": recording.seconds,
        "samples_taken": recording.taken,
        "samples_busy": samples.busy,
        "errors": samples.errors,
        "hottest": function_as_data(functions[0], samples.busy) if functions else None,
        "functions": [function_as_data(one, samples.busy) for one in functions[:50]],
        "path": [f"{frame.function} ({frame.place})" for frame in hottest_path],
    }


def state_hottest(
    recording: Recording, functions: Sequence[Function], hottest_path: Sequence[Frame]
) -> str:
    """Return in one sentence which function burns the CPU, and who calls it."""
    busy = recording.samples.busy
    if not functions:
        return f"{recording.instance} was idle: none of {recording.taken} samples met it at work."
    first = functions[0]
    told = f"{first.function} ({first.place}) burns {first.own / busy:.0%} of the CPU time"
    told += f" of {recording.instance}"
    caller = next((f for f in reversed(hottest_path[:-1]) if f.kind == "service"), None)
    if caller and caller.function != first.function:
        told += f", called by {caller.function} ({caller.place})"
    if busy < _FEW:
        told += f". It was hardly at work: {busy} of {recording.taken} samples are too few to blame"
    return f"{told}."


def tabulate(functions: Sequence[Function], busy: int) -> Table:
    """Return the functions that burn most CPU by themselves."""
    shown = [one for one in functions if one.own][:_SHOWN]
    return Table(
        columns=("itself", "with calls", "function", "file"),
        rows=tuple(
            (f"{one.own / busy:.0%}", f"{one.total / busy:.0%}", one.function, one.place)
            for one in shown
        ),
        right=("itself", "with calls"),
    )


def function_as_data(one: Function, busy: int) -> dict[str, object]:
    """Return a function's part in the samples as data, shares from 0 to 1."""
    return {
        "function": one.function,
        "place": one.place,
        "share_own": round(one.own / busy, 4),
        "share_total": round(one.total / busy, 4),
    }
