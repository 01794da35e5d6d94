"""The timeline: what was changed, by whom, from what to what; written before and after the act.

An append-only SQLite table in write-ahead mode, so that several terminals can work at once and a
row that was written survives a kill. It lies in RUNBOOK_STATE_DIR, or in `.runbook` beside
tasks.py, one file a target. Rows hold names, numbers and percentages; never an environment value.
"""

from __future__ import annotations

import getpass
import json
import os
import secrets
import socket
import sqlite3
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from checks.errors import RunbookError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

Phase = Literal["planned", "applied", "verified", "failed", "not-verified", "undone"]
UNDO = "mitigate.undo"

_HOME = Path(__file__).resolve().parent.parent / ".runbook"
_LOCK_WAIT_S = 10.0
_SCHEMA = """
CREATE TABLE IF NOT EXISTS timeline (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    change TEXT NOT NULL,
    at TEXT NOT NULL,
    who TEXT NOT NULL,
    host TEXT NOT NULL,
    target TEXT NOT NULL,
    step TEXT NOT NULL,
    phase TEXT NOT NULL CHECK (
        phase IN ('planned', 'applied', 'verified', 'failed', 'not-verified', 'undone')),
    "before" TEXT NOT NULL,
    "after" TEXT NOT NULL,
    detail TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS timeline_change ON timeline (change);
CREATE TRIGGER IF NOT EXISTS timeline_keep BEFORE UPDATE ON timeline
    BEGIN SELECT RAISE(ABORT, 'the timeline is append-only'); END;
CREATE TRIGGER IF NOT EXISTS timeline_stay BEFORE DELETE ON timeline
    BEGIN SELECT RAISE(ABORT, 'the timeline is append-only'); END;
"""
_COLUMNS = 'seq, change, at, who, host, target, step, phase, "before", "after", detail'


@dataclass(frozen=True)
class Row:
    """One line of the timeline; `before` and `after` hold the fields that the step writes."""

    seq: int
    change: str
    at: str
    who: str
    host: str
    target: str
    step: str
    phase: Phase
    before: dict[str, Any]
    after: dict[str, Any]
    detail: dict[str, Any]


@dataclass(frozen=True)
class Change:
    """A change and its undo, if there was one, as the timeline's rows tell it."""

    rows: tuple[Row, ...]

    @property
    def id(self) -> str:
        """The name by which `mitigate.undo` knows it."""
        return self.rows[0].change

    @property
    def step(self) -> str:
        """The step that made it, such as `mitigate.rollback`."""
        return self.rows[0].step

    @property
    def system(self) -> str:
        """The name of the system that it changes; rows without one are Cloud Run's."""
        return str(self.intent.detail.get("system") or "cloud_run")

    @property
    def expires_at(self) -> str:
        """When it is to be taken back, RFC 3339, or ""."""
        return str(self.intent.detail.get("expires_at") or "")

    @property
    def intent(self) -> Row:
        """The row that was written before anything was touched."""
        return self.rows[0]

    @property
    def last(self) -> Row:
        """The newest row."""
        return self.rows[-1]

    @property
    def undo(self) -> Row | None:
        """The newest intent to undo it, or None."""
        intents = [r for r in self.rows if r.step == UNDO and r.phase == "planned"]
        return intents[-1] if intents else None

    @property
    def applied(self) -> bool:
        """Whether the API is known to have taken it."""
        return any(r.step != UNDO and r.phase in _TAKEN for r in self.rows)

    @property
    def interrupted(self) -> bool:
        """Whether its command, or that of its undo, ended before it could tell the outcome."""
        return self.last.phase in {"planned", "applied"}

    @property
    def open(self) -> bool:
        """Whether it is in force or unfinished, as far as its own rows tell."""
        if self.last.phase == "undone":
            return False
        own = [r for r in self.rows if r.step != UNDO]
        if own[-1].phase == "failed":
            return False
        return own[-1].phase != "verified" or bool(self.lasting)

    @property
    def lasting(self) -> frozenset[str]:
        """The fields that stay as it left them until somebody writes them again."""
        return frozenset(self.intent.detail.get("lasting", ()))


_TAKEN = frozenset({"applied", "verified", "not-verified"})


class Timeline:
    """One target's timeline in one file; every call opens and closes it."""

    def __init__(self, path: Path, target: str) -> None:
        """Name the file; it is made, readable by its owner alone, when it is first written."""
        self.path = path
        self.target = target

    def append(
        self,
        change: str,
        step: str,
        phase: Phase,
        *,
        before: Mapping[str, Any],
        after: Mapping[str, Any],
        detail: Mapping[str, Any] | None = None,
    ) -> Row:
        """Write one row and return it; when this returns, the row is on the disk.

        Raises:
            RunbookError: The file cannot be written.
        """
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        values = (change, now, _user(), socket.gethostname(), self.target, step, phase)
        states = tuple(json.dumps(dict(part or {})) for part in (before, after, detail))
        with self._connect() as database:
            cursor = database.execute(
                f"INSERT INTO timeline ({_COLUMNS.removeprefix('seq, ')})"  # noqa: S608 - constant
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                values + states,
            )
            database.commit()
            seq = int(cursor.lastrowid or 0)
        return _parse_row((seq, *values, *states))

    def rows(self) -> list[Row]:
        """Return every row, oldest first; none when the file does not exist yet.

        Raises:
            RunbookError: The file cannot be read.
        """
        if not self.path.exists():
            return []
        with self._connect() as database:
            found = database.execute(f"SELECT {_COLUMNS} FROM timeline ORDER BY seq")  # noqa: S608 - constant
            return [_parse_row(row) for row in found]

    def changes(self) -> list[Change]:
        """Return every change, in the order in which they were begun."""
        grouped: dict[str, list[Row]] = {}
        for row in self.rows():
            grouped.setdefault(row.change, []).append(row)
        return [Change(tuple(rows)) for rows in grouped.values()]

    @contextmanager
    def _connect(self) -> Iterator[sqlite3.Connection]:
        try:
            _make_private(self.path)
            database = sqlite3.connect(self.path, timeout=_LOCK_WAIT_S)
            try:
                database.execute("PRAGMA journal_mode=WAL")
                database.execute("PRAGMA synchronous=FULL")
                database.executescript(_SCHEMA)
                yield database
            finally:
                database.close()
        except (OSError, sqlite3.Error) as error:
            raise RunbookError(
                f"The timeline {self.path} cannot be used: {error}.",
                next_step="Free the disk or the file, or name another folder in"
                " RUNBOOK_STATE_DIR; nothing is changed without a record.",
                subject=str(self.path),
            ) from error


def open_timeline(target: str) -> Timeline:
    """Return the timeline of the target with this name."""
    folder = Path(os.environ.get("RUNBOOK_STATE_DIR") or _HOME)
    return Timeline(folder / f"{target}.sqlite3", target)


def new_change_id() -> str:
    """Return a short name for a change, easy to type: 6 hexadecimal digits."""
    return secrets.token_hex(3)


def find_open(changes: Sequence[Change]) -> list[Change]:
    """Return the changes that are in force or unfinished, newest first.

    A change whose lasting fields were all written again by later ones is out of force: a release
    of traffic ends a rollback; undoing the release brings the rollback back.
    """
    return [
        change
        for change in reversed(changes)
        if change.open
        and not (change.lasting or set(change.intent.after)) <= find_overwritten(changes, change)
    ]


def find_overwritten(changes: Sequence[Change], change: Change) -> set[str]:
    """Return the fields that later changes, applied and not undone, have written again."""
    written: set[str] = set()
    for later in list(changes)[[c.id for c in changes].index(change.id) + 1 :]:
        same = later.system == change.system
        if same and later.applied and later.last.phase != "undone":
            written |= set(later.intent.after)
    return written


def _parse_row(values: tuple[Any, ...]) -> Row:
    return Row(*values[:8], *(json.loads(state) for state in values[8:]))


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's numeric user has no name
        return str(os.getuid())


def _make_private(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
