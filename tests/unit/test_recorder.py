"""The record of a verification is complete: also under xdist, also of what failed or never ran."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.embedded import REPOSITORY, Embedded
from tests.support.vendor import run_by_hand

DEADLINE_S = 60
CONFTEST = """
import pytest
from tests.support.recorder import Recorder, RunningStep

@pytest.fixture
def running_step(request):
    return RunningStep(request.node)

def pytest_addoption(parser):
    parser.addoption("--results", type=__import__("pathlib").Path)

def pytest_configure(config):
    config.addinivalue_line("markers", "loop: closes")
    config.addinivalue_line("markers", "control: stays red")
    config.pluginmanager.register(Recorder(config))
"""
FEATURE = """
Feature: Lamp
  @loop
  Scenario Outline: the <lamp> lamp shines
    Given a <lamp> lamp
    When it is switched on
    Then it shines

    Examples:
      | lamp   |
      | whole  |
      | broken |

  @control
  Scenario: a lamp that nobody switched on stays dark
    Given a whole lamp
"""
STEPS = """
from pytest_bdd import given, parsers, scenarios, then, when
scenarios("lamp.feature")

@given(parsers.parse("a {kind} lamp"), target_fixture="lamp")
def lamp(kind, running_step):
    running_step.keep(f"a {kind} lamp", "buy")
    return {"kind": kind, "on": False}

@when("it is switched on")
def switch(lamp, running_step):
    running_step.keep("click", "switch")
    assert lamp["kind"] == "whole", "this lamp is broken"
    lamp["on"] = True

@then("it shines")
def shines(lamp):
    assert lamp["on"]
"""


def run_features(folder: Path, *options: str) -> dict[str, Any]:
    """Return what a suite of three scenarios, one of them failing, writes as its results."""
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "lamp.feature").write_text(FEATURE)
    (folder / "test_lamp.py").write_text(STEPS)
    (folder / "pytest.ini").write_text("[pytest]\n")
    results = folder / "results.json"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", f"--results={results}", *options, str(folder)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(results.read_text())
    return found


@pytest.mark.parametrize("options", [(), ("-n", "2")], ids=["alone", "xdist"])
def test_every_scenario_is_recorded_step_by_step(tmp_path: Path, options: tuple[str, ...]) -> None:
    """Passed, failed and never reached steps are told apart, with the failure's own words."""
    found = run_features(tmp_path, *options)["scenarios"]
    outcomes = {one["name"]: one["outcome"] for one in found}
    assert outcomes == {
        "the whole lamp shines": "passed",
        "the broken lamp shines": "failed",
        "a lamp that nobody switched on stays dark": "passed",
    }
    [whole] = [one for one in found if one["name"] == "the whole lamp shines"]
    kept = [(step["command"], step["output"]) for step in whole["steps"]]
    assert kept == [("buy", "a whole lamp"), ("switch", "click"), (None, None)]
    [broken] = [one for one in found if one["outcome"] == "failed"]
    assert broken["kind"] == "loop"
    assert [step["outcome"] for step in broken["steps"]] == ["passed", "failed", "not run"]
    assert "this lamp is broken" in broken["error"]


def test_a_line_without_its_program_is_not_verified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a machine without gcloud the line is skipped with its reason, never passed."""
    monkeypatch.setenv("PATH", str(tmp_path))
    staging = Embedded(time_scale=60)
    with pytest.raises(pytest.skip.Exception, match="gcloud is not installed here"):
        run_by_hand(staging, ["gcloud", "version"], "gcloud version")
    staging.directory.rmdir()
