"""Builds of the site: as it stands, and of copies that something is wrong with."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.docs.sample import ROOT, make_results, write_results

SOURCES = ("docs", "runbook", "checks", "features", "staging", "mkdocs.yml", "invoke.yaml")
BUILD_DEADLINE_S = 120


@dataclass(frozen=True)
class Build:
    """One run of MkDocs: exit code, what it said, where the site is."""

    code: int
    said: str
    site: Path


def build_site(project: Path, site: Path, results: Path) -> Build:
    """Return the strict build of the project with these results."""
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(site)],
        cwd=project,
        env={**os.environ, "RUNBOOK_RESULTS": str(results), "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=BUILD_DEADLINE_S,
        check=False,
    )
    return Build(done.returncode, done.stdout + done.stderr, site)


@pytest.fixture(scope="session")
def proven_site(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """The site with sample results in which everything passed."""
    folder = tmp_path_factory.mktemp("proven")
    return build_site(ROOT, folder / "site", write_results(folder / "results.json", make_results()))


@pytest.fixture(scope="session")
def unproven_site(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """The site when nothing has been verified yet."""
    folder = tmp_path_factory.mktemp("unproven")
    return build_site(ROOT, folder / "site", folder / "none.json")


@pytest.fixture
def build_with_results(tmp_path: Path) -> Callable[[object], Build]:
    """A function that builds the site with the given results."""

    def build(results: object) -> Build:
        return build_site(
            ROOT, tmp_path / "site", write_results(tmp_path / "verification.json", results)
        )

    return build


@pytest.fixture
def build_with_page(tmp_path: Path) -> Callable[[str], Build]:
    """A function that builds a copy of the project with the given text at the end of a page."""

    def build(text: str) -> Build:
        project = tmp_path / "project"
        for name in SOURCES:
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            project.mkdir(exist_ok=True)
            copy(ROOT / name, project / name)
        page = project / "docs" / "reference" / "exit-codes.md"
        page.write_text(f"{page.read_text(encoding='utf-8')}\n{text}\n", encoding="utf-8")
        return build_site(project, tmp_path / "site", tmp_path / "none.json")

    return build
