"""The timeline: append-only, private, shared by several processes, and what it says is open."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from checks.errors import RunbookError
from runbook.changes.in_force import find_left
from runbook.timeline import UNDO, Timeline, find_open, new_change_id, open_timeline

REPOSITORY = Path(__file__).resolve().parents[2]
PINNED = {"traffic": [{"revision": "api-00001-abc", "percent": 100}]}
LATEST = {"traffic": [{"revision": "LATEST", "percent": 100}]}


@pytest.fixture
def timeline(tmp_path: Path) -> Timeline:
    """Return a timeline in a folder that does not exist yet."""
    return Timeline(tmp_path / "state" / "local.sqlite3", "local")


def add(timeline: Timeline, change: str, step: str, *phases: str, lasting: bool = True) -> None:
    """Append one row for each phase of a change from LATEST to a pin."""
    for phase in phases:
        row_step, _, plain = phase.rpartition(":")
        timeline.append(
            change,
            UNDO if row_step == "undo" else step,
            plain,  # type: ignore[arg-type]
            before=LATEST,
            after=PINNED,
            detail={"lasting": ["traffic"] if lasting else []},
        )


def test_rows_come_back_as_they_were_written(timeline: Timeline) -> None:
    """A row read equals the row that the write returned."""
    written = timeline.append(
        "a1b2c3", "mitigate.rollback", "planned", before=LATEST, after=PINNED, detail={"n": 1}
    )
    assert timeline.rows() == [written]
    assert written.at.endswith("Z")
    assert written.target == "local"
    assert written.who


def test_a_missing_file_is_an_empty_timeline(timeline: Timeline) -> None:
    """Reading makes no file."""
    assert timeline.changes() == []
    assert not timeline.path.exists()


def test_file_is_private(timeline: Timeline) -> None:
    """Folder and files, the journal too, are readable by their owner alone."""
    old = os.umask(0)
    try:
        add(timeline, "a1b2c3", "mitigate.rollback", "planned")
    finally:
        os.umask(old)
    assert stat.S_IMODE(timeline.path.parent.stat().st_mode) == 0o700
    for file in timeline.path.parent.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file


@pytest.mark.parametrize("sql", ["UPDATE timeline SET phase = 'undone'", "DELETE FROM timeline"])
def test_rows_cannot_be_changed(timeline: Timeline, sql: str) -> None:
    """The database itself refuses to rewrite history."""
    add(timeline, "a1b2c3", "mitigate.rollback", "planned")
    database = sqlite3.connect(timeline.path)
    try:
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            database.execute(sql)
    finally:
        database.close()


def test_unknown_phase_is_refused(timeline: Timeline) -> None:
    """A phase that no reader knows never gets in."""
    with pytest.raises(RunbookError, match="cannot be used"):
        add(timeline, "a1b2c3", "mitigate.rollback", "almost")


@pytest.mark.parametrize("content", [b"", b"this is no database, whatever it may be" * 10])
def test_damaged_file(timeline: Timeline, content: bytes) -> None:
    """An empty file is a new timeline; a damaged one stops a change before it begins."""
    timeline.path.parent.mkdir()
    timeline.path.write_bytes(content)
    if content:
        with pytest.raises(RunbookError, match="cannot be used"):
            add(timeline, "a1b2c3", "mitigate.rollback", "planned")
    else:
        add(timeline, "a1b2c3", "mitigate.rollback", "planned")
        assert len(timeline.rows()) == 1


def test_several_processes_write_at_once(timeline: Timeline) -> None:
    """Six terminals append at the same time; no row is lost and none is refused."""
    script = (
        "import sys; from pathlib import Path; from runbook.timeline import Timeline\n"
        "timeline = Timeline(Path(sys.argv[1]), 'local')\n"
        "for n in range(20):\n"
        "    timeline.append(sys.argv[2], 'mitigate.restart', 'planned', before={}, after={'n': n})"
    )
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(timeline.path), f"writer{n}"], cwd=REPOSITORY
        )
        for n in range(6)
    ]
    assert [writer.wait(timeout=60) for writer in writers] == [0] * 6
    rows = timeline.rows()
    assert len(rows) == 120
    for n in range(6):
        assert [r.after["n"] for r in rows if r.change == f"writer{n}"] == list(range(20))


@pytest.mark.parametrize(
    ("phases", "lasting", "is_open", "interrupted"),
    [
        (["planned"], True, True, True),
        (["planned"], False, True, True),
        (["planned", "applied"], False, True, True),
        (["planned", "failed"], True, False, False),
        (["planned", "applied", "not-verified"], False, True, False),
        (["planned", "applied", "verified"], True, True, False),
        (["planned", "applied", "verified"], False, False, False),
        (["planned", "applied", "verified", "undo:planned"], True, True, True),
        (["planned", "applied", "verified", "undo:planned", "undo:undone"], True, False, False),
        (["planned", "applied", "verified", "undo:planned", "undo:failed"], True, True, False),
        (["planned", "undo:planned", "undo:applied"], True, True, True),
    ],
)
def test_what_is_open(
    timeline: Timeline, phases: list[str], lasting: bool, is_open: bool, interrupted: bool
) -> None:
    """A change is open while it is in force or unfinished."""
    add(timeline, "a1b2c3", "mitigate.rollback", *phases, lasting=lasting)
    [change] = timeline.changes()
    assert change.open is is_open
    assert change.interrupted is interrupted
    assert [c.id for c in find_open(timeline.changes())] == (["a1b2c3"] if is_open else [])


def test_release_ends_rollback_until_it_is_undone(timeline: Timeline) -> None:
    """A later change of the same field takes an earlier one out of force."""
    add(timeline, "aaaaaa", "mitigate.rollback", "planned", "applied", "verified")
    add(
        timeline,
        "bbbbbb",
        "mitigate.release-traffic",
        "planned",
        "applied",
        "verified",
        lasting=False,
    )
    assert find_open(timeline.changes()) == []
    add(timeline, "bbbbbb", "mitigate.release-traffic", "undo:planned", "undo:undone")
    assert [change.id for change in find_open(timeline.changes())] == ["aaaaaa"]


def test_a_copy_of_what_was_left_is_left_too(timeline: Timeline) -> None:
    """Undoing a scale-up behind a rollback's pin makes the bad template again, by another name."""
    left = {"lasting": ["traffic"], "left": ["api-00002-bad"]}
    copied = {"patch": {"copy_of": "api-00002-bad", "revision": "api-undo-d"}}
    nothing: dict[str, object] = {}
    timeline.append(
        "aaaaaa", "mitigate.rollback", "verified", before=LATEST, after=PINNED, detail=left
    )
    timeline.append("bbbbbb", "mitigate.scale-up", "planned", before=nothing, after=nothing)
    timeline.append("bbbbbb", UNDO, "planned", before=nothing, after=nothing, detail=copied)
    assert set(find_left(timeline.changes())) == {"api-00002-bad", "api-undo-d"}


def test_planned_change_does_not_end_an_earlier_one(timeline: Timeline) -> None:
    """Only what is known to have been taken overwrites a field."""
    add(timeline, "aaaaaa", "mitigate.rollback", "planned", "applied", "verified")
    add(timeline, "bbbbbb", "mitigate.rollback", "planned")
    assert [change.id for change in find_open(timeline.changes())] == ["bbbbbb", "aaaaaa"]


def test_a_copy_of_what_serves_keeps_its_scaling(timeline: Timeline) -> None:
    """A restart behind a pin makes its revision from the one that serves, wider range and all."""
    done = ("planned", "applied", "verified")
    for phase in done:
        timeline.append(
            "aaaaaa",
            "mitigate.scale-up",
            phase,  # type: ignore[arg-type]
            before={"scaling": 1},
            after={"scaling": 2},
            detail={"lasting": ["scaling"]},
        )
    for phase in done:
        timeline.append(
            "bbbbbb",
            "mitigate.restart",
            phase,  # type: ignore[arg-type]
            before={"template": "a"},
            after={"template": "b"},
        )
    assert [change.id for change in find_open(timeline.changes())] == ["aaaaaa"]


def test_state_folder_is_named_by_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RUNBOOK_STATE_DIR moves it; without it, it lies beside tasks.py."""
    monkeypatch.setenv("RUNBOOK_STATE_DIR", str(tmp_path))
    assert open_timeline("local").path == tmp_path / "local.sqlite3"
    monkeypatch.delenv("RUNBOOK_STATE_DIR")
    assert open_timeline("local").path == REPOSITORY / ".runbook" / "local.sqlite3"


def test_change_ids_are_short_and_differ() -> None:
    """Six digits are enough to type and to tell apart."""
    ids = {new_change_id() for _ in range(200)}
    assert all(len(one) == 6 for one in ids)
    assert len(ids) > 190
