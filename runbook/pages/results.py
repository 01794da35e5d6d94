"""The verification's results, read strictly: a wrong type stops the build, a missing file not."""

import json
import math
import os
import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

from runbook.pages.text import PageError

FORMAT = 2
DEFAULT_PATH = "results/verification.json"
# A tree without git has a commit that nobody knows.
_COMMIT = re.compile(r"[0-9a-f]{7,64}|unknown")


@dataclass(frozen=True)
class StepResult:
    """One Gherkin step as it ran."""

    keyword: str
    text: str
    seconds: float | None
    outcome: str
    command: str | None
    output: str | None


@dataclass(frozen=True)
class ScenarioResult:
    """One scenario as it ran; `kind` is loop, control or other."""

    alert: str
    name: str
    kind: str
    mitigation: str | None
    fault: str | None
    outcome: str
    error: str | None
    started: datetime
    seconds: float
    time_to_detect_s: float | None
    time_to_mitigate_s: float | None
    steps: tuple[StepResult, ...]


@dataclass(frozen=True)
class ByHandResult:
    """One vendor line, run with the vendor's own client and compared with its task."""

    step: str
    platform: str
    line: str
    outcome: str
    why: str
    seconds: float | None


@dataclass(frozen=True)
class Verification:
    """One run of the verification."""

    target: str
    environment: str
    time_scale: float
    commit: str
    dirty: bool
    started: datetime
    seconds: float
    scenarios: tuple[ScenarioResult, ...]
    by_hand: tuple[ByHandResult, ...]

    def of_alert(self, alert: str) -> tuple[ScenarioResult, ...]:
        """Return the alert's scenarios, in the order in which they ran."""
        return tuple(scenario for scenario in self.scenarios if scenario.alert == alert)


def results_path(root: Path) -> Path:
    """Return where the results stand: RUNBOOK_RESULTS, else `results/verification.json`."""
    return root / os.environ.get("RUNBOOK_RESULTS", DEFAULT_PATH)


def load_results(path: Path) -> Verification | None:
    """Return the results, or None when nothing has been verified yet.

    Raises:
        PageError: the file is there and is not what it should be; the message names the field.

    """
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise PageError(f"{path.name} cannot be read: {error.strerror}") from error
    try:
        data = json.loads(raw.decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise PageError(f"{path.name} is not JSON: {error}") from error
    return _read_verification(_Record(data, path.name))


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")


class _Record:
    """A JSON object whose fields are read with their types checked."""

    def __init__(self, data: object, where: str) -> None:
        if not isinstance(data, dict):
            raise PageError(f"{where} should be an object, is {_kind(data)}")
        self.data: dict[str, Any] = data
        self.where = where

    def text(self, name: str) -> str:
        return self._read(name, str, "a text")  # type: ignore[no-any-return]

    def text_or_none(self, name: str) -> str | None:
        return None if self.data.get(name) is None else self.text(name)

    def flag(self, name: str) -> bool:
        return self._read(name, bool, "true or false")  # type: ignore[no-any-return]

    def choice(self, name: str, *allowed: str) -> str:
        value = self.text(name)
        if value not in allowed:
            raise PageError(
                f"{self.where}.{name} should be one of {', '.join(allowed)}, is {value[:60]!r}"
            )
        return value

    def number(self, name: str) -> float:
        value = self._read(name, (int, float), "a number")
        if isinstance(value, bool) or not math.isfinite(value) or value < 0:
            raise PageError(f"{self.where}.{name} should be a number from 0 up, is {value!r:.60}")
        return float(value)

    def number_or_none(self, name: str) -> float | None:
        return None if self.data.get(name) is None else self.number(name)

    def moment(self, name: str) -> datetime:
        value = self.text(name)
        try:
            moment = datetime.fromisoformat(value)
        except ValueError as error:
            raise PageError(f"{self.where}.{name} should be a time, is {value[:60]!r}") from error
        if moment.tzinfo is None:
            raise PageError(f"{self.where}.{name} should say its time zone, is {value[:60]!r}")
        return moment

    def records(self, name: str) -> list["_Record"]:
        items = self._read(name, list, "a list")
        return [_Record(item, f"{self.where}.{name}[{index}]") for index, item in enumerate(items)]

    def _read(self, name: str, types: type | tuple[type, ...], wanted: str) -> Any:  # noqa: ANN401
        if name not in self.data:
            raise PageError(f"{self.where}.{name} is missing")
        value = self.data[name]
        if not isinstance(value, types):
            raise PageError(f"{self.where}.{name} should be {wanted}, is {_kind(value)}")
        return value


def _kind(value: object) -> str:
    return "null" if value is None else type(value).__name__


def _read_verification(record: _Record) -> Verification:
    if record.data.get("format") != FORMAT:
        raise PageError(
            f"{record.where}.format should be {FORMAT}, is {record.data.get('format')!r:.60}"
        )
    commit = record.text("commit")
    if not _COMMIT.fullmatch(commit):
        raise PageError(f"{record.where}.commit should be a commit's hash, is {commit[:60]!r}")
    return Verification(
        target=record.text("target"),
        environment=record.text("environment"),
        time_scale=record.number("time_scale"),
        commit=commit,
        dirty=record.flag("dirty"),
        started=record.moment("started"),
        seconds=record.number("seconds"),
        scenarios=tuple(_read_scenario(one) for one in record.records("scenarios")),
        by_hand=tuple(_read_by_hand(one) for one in record.records("by_hand")),
    )


def _read_scenario(record: _Record) -> ScenarioResult:
    return ScenarioResult(
        alert=record.text("alert"),
        name=record.text("name"),
        kind=record.choice("kind", "loop", "control", "other"),
        mitigation=record.text_or_none("mitigation"),
        fault=record.text_or_none("fault"),
        outcome=record.choice("outcome", "passed", "failed"),
        error=record.text_or_none("error"),
        started=record.moment("started"),
        seconds=record.number("seconds"),
        time_to_detect_s=record.number_or_none("time_to_detect_s"),
        time_to_mitigate_s=record.number_or_none("time_to_mitigate_s"),
        steps=tuple(_read_step(one) for one in record.records("steps")),
    )


def _read_step(record: _Record) -> StepResult:
    return StepResult(
        keyword=record.text("keyword"),
        text=record.text("text"),
        seconds=record.number_or_none("seconds"),
        outcome=record.choice("outcome", "passed", "failed", "not run"),
        command=record.text_or_none("command"),
        output=record.text_or_none("output"),
    )


def _read_by_hand(record: _Record) -> ByHandResult:
    return ByHandResult(
        step=record.text("step"),
        platform=record.text("platform"),
        line=record.text("line"),
        outcome=record.choice("outcome", "equal", "different", "unverified"),
        why=record.text_or_none("why") or "",
        seconds=record.number_or_none("seconds"),
    )
