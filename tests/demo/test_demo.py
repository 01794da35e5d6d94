"""./inv demo closes one loop, proves it on a page, and leaves nothing running."""

from __future__ import annotations

import ast
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from gherkin.parser import Parser

from runbook import demo
from tests.support.waiting import wait_until

REPOSITORY = Path(__file__).resolve().parents[2]
DEMO_DEADLINE_S = 300
CLEAR_DEADLINE_S = 60


def start(temporary: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start the demo in a process group of its own, as a terminal does."""
    return subprocess.Popen(
        [sys.executable, "-m", "invoke", "demo", *arguments],
        cwd=REPOSITORY,
        env=os.environ | {"TMPDIR": str(temporary), "COLUMNS": "100"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def left_by(temporary: Path) -> list[str]:
    """Return the processes that still have to do with a demo in `temporary`."""
    found = []
    for process in psutil.process_iter(["cmdline", "environ"]):
        told = " ".join(process.info["cmdline"] or ())
        told += (process.info["environ"] or {}).get("RUNBOOK_STAGING_DIR", "")
        if str(temporary) in told:
            found.append(told[:200])
    return found


@pytest.fixture
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Yield a short folder for the demo; nothing of it may be left running."""
    folder = tmp_path_factory.mktemp("d", numbered=True)
    yield folder
    for left in folder.glob("demo-*"):
        down = [sys.executable, "-m", "staging", "down", "--dir", str(left)]
        subprocess.run(down, cwd=REPOSITORY, timeout=CLEAR_DEADLINE_S, check=False)


def test_the_demo_closes_the_loop_and_leaves_nothing_running(temporary: Path) -> None:
    results = REPOSITORY / "results" / "demo.json"
    results.unlink(missing_ok=True)
    shown, _ = start(temporary).communicate(timeout=DEMO_DEADLINE_S)
    address = shown.rstrip().splitlines()[-1].split("file://")[-1]
    page = Path(address).read_text()
    assert "the page with the proof just made" in shown.splitlines()[-1]
    [scenario] = json.loads(results.read_text())["scenarios"]
    assert scenario["outcome"] == "passed"
    assert {step["outcome"] for step in scenario["steps"]} == {"passed"}
    assert scenario["started"] in page
    assert list(temporary.glob("demo-*")) == []
    assert left_by(temporary) == []


@pytest.mark.parametrize("moment", ["Staging comes up", "A bad revision goes out"])
def test_ctrl_c_leaves_nothing_running(temporary: Path, moment: str) -> None:
    running = start(temporary)
    for line in running.stdout or ():
        if moment in line:
            break
    time.sleep(1)  # so that the command under the heading is in the midst of its work
    os.killpg(running.pid, signal.SIGINT)
    running.communicate(timeout=CLEAR_DEADLINE_S)
    assert running.returncode == demo.INTERRUPTED_EXIT
    assert list(temporary.glob("demo-*")) == []
    wait_until(lambda: not left_by(temporary), deadline_s=CLEAR_DEADLINE_S, what="all has ended")


def test_the_demo_runs_the_features_own_scenario() -> None:
    text = (REPOSITORY / "features" / f"{demo.ALERT}.feature").read_text()
    feature: dict[str, Any] = dict(Parser().parse(text)["feature"])
    children = feature["children"]
    loop = next(
        child["scenario"]
        for child in children
        if "@loop" in [tag["name"] for tag in child.get("scenario", {}).get("tags", ())]
    )
    names = {
        "fault": demo.FAULT,
        "platform": demo.PLATFORM,
        "mitigation": demo.MITIGATION,
        "restore": demo.RESTORE,
    }
    written = {(step["keyword"].strip(), fill_in(step["text"], names)) for step in loop["steps"]}
    assert steps_in_code() == written
    rows = [[cell["value"] for cell in row["cells"]] for row in loop["examples"][0]["tableBody"]]
    assert list(names.values()) in rows


def fill_in(text: str, names: dict[str, str]) -> str:
    """Return a step of the outline with the row's values."""
    return re.sub(r"<(\w+)>", lambda match: names[match.group(1)], text)


def steps_in_code() -> set[tuple[str, str]]:
    """Return keyword and text of each step that the demo's code records."""
    tree = ast.parse(Path(demo.__file__).read_text())
    return {
        (read_string(call.args[0]), read_string(call.args[1]))
        for call in ast.walk(tree)
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and call.func.attr == "step"
    }


def read_string(node: ast.expr) -> str:
    """Return a string, an f-string of the demo's own constants too."""
    parts = node.values if isinstance(node, ast.JoinedStr) else [node]
    found = ""
    for part in parts:
        if isinstance(part, ast.FormattedValue) and isinstance(part.value, ast.Name):
            found += str(getattr(demo, part.value.id))
        elif isinstance(part, ast.Constant):
            found += str(part.value)
    return found
