"""`invoke site.build`: writes the site and says where, or fails without emptying anything."""

from pathlib import Path

import pytest
from invoke.context import Context
from invoke.exceptions import Exit

from runbook import site
from tests.docs.sample import ROOT


def test_build_says_pages_seconds_and_path(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last line is the one a person opens."""
    monkeypatch.setenv("RUNBOOK_RESULTS", str(tmp_path / "none.json"))
    site.build(Context(), to=str(tmp_path / "site"))
    last = capfd.readouterr().out.strip().splitlines()[-1]
    assert last.endswith(str(tmp_path / "site" / "index.html"))
    pages = len(list((ROOT / "docs").rglob("*.md")))
    assert f"{pages} pages in" in last


@pytest.mark.parametrize("folder", [".", "..", "/", "docs", "tests", str(ROOT.parent)])
def test_build_never_empties_the_project(folder: str) -> None:
    """MkDocs empties the folder that it writes to."""
    with pytest.raises(Exit, match="would be emptied") as refused:
        site.build(Context(), to=folder)
    assert refused.value.code == 2
    assert (ROOT / "mkdocs.yml").exists()


def test_a_failed_build_fails_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 1, so that nothing is published."""
    broken = tmp_path / "broken.json"
    broken.write_text("[]", encoding="utf-8")
    monkeypatch.setenv("RUNBOOK_RESULTS", str(broken))
    with pytest.raises(Exit, match="not built") as failed:
        site.build(Context(), to=str(tmp_path / "site"))
    assert failed.value.code == 1
