"""No scenario is lost in silence: all are counted, every step is bound, loops have controls."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from gherkin.parser import Parser

REPOSITORY = Path(__file__).resolve().parents[2]
FEATURES = sorted((REPOSITORY / "features").rglob("*"))


def parse(path: Path) -> dict[str, Any]:
    """Return the feature as gherkin-official reads it; it raises on text that is no Gherkin."""
    return dict(Parser().parse(path.read_text())["feature"])


def scenarios_of(feature: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the feature's scenarios, those inside rules too."""
    children = list(feature["children"])
    children += [inner for child in children for inner in child.get("rule", {}).get("children", [])]
    return [child["scenario"] for child in children if "scenario" in child]


def rows_of(scenario: dict[str, Any]) -> list[tuple[str, ...]]:
    """Return the rows of the scenario's examples."""
    return [
        tuple(cell["value"] for cell in row["cells"])
        for examples in scenario["examples"]
        for row in examples["tableBody"]
    ]


@pytest.mark.parametrize("path", FEATURES, ids=lambda path: path.name)
def test_feature_is_whole(path: Path) -> None:
    """A feature's file is named like it, and its scenarios have names of their own."""
    assert path.suffix == ".feature"
    feature = parse(path)
    assert feature["name"] == path.stem
    assert [tag["name"] for tag in feature["tags"]] == [f"@{path.stem}"]
    names = [scenario["name"] for scenario in scenarios_of(feature)]
    assert names
    assert [name for name, times in Counter(names).items() if times > 1] == []


@pytest.mark.parametrize("path", FEATURES, ids=lambda path: path.name)
def test_every_loop_has_its_control(path: Path) -> None:
    """Each fault, platform and mitigation of the loops is also run with it withheld."""
    pairs: dict[str, set[tuple[str, ...]]] = {"@loop": set(), "@control": set()}
    for scenario in scenarios_of(parse(path)):
        for tag in scenario["tags"]:
            pairs[tag["name"]] |= {row[:3] for row in rows_of(scenario)}
    assert pairs["@loop"]
    assert pairs["@loop"] == pairs["@control"]


def test_collected_count_is_the_features_own() -> None:
    """Pytest collects as many scenarios as the files hold: none is lost to a misspelt keyword."""
    written = sum(
        max(len(rows_of(scenario)), 0 if scenario["examples"] else 1)
        for path in FEATURES
        for scenario in scenarios_of(parse(path))
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "tests/features/test_features.py"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    collected = [line for line in done.stdout.splitlines() if "::" in line]
    assert len(collected) == written


def test_every_step_is_bound() -> None:
    """pytest-bdd finds no scenario or step without code."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--generate-missing", "--feature", "features", "tests"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode in {0, 100}, done.stdout
    missing = [line for line in done.stdout.splitlines() if "is not defined" in line]
    assert [line for line in missing if "<" not in line] == []
