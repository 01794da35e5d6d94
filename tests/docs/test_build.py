"""The build: strict, and seen failing for each thing it should fail for."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from runbook.pages.alerts import read_rules
from runbook.pages.results import load_results
from runbook.pages.text import PageError
from tests.docs.conftest import Build
from tests.docs.html_reader import read_page
from tests.docs.sample import ROOT, make_by_hand, make_results, write_results

HOSTILE = (
    "</pre></details></div><script>alert(1)</script><img src=x onerror=alert(2)>"
    '" onmouseover="alert(3)\x1b[31m\x07\u202e\n\n# heading\n\n```\n{{ 7*7 }} {% raw %}'
    "\x02wzxhzdk:0\x03 &lt;b&gt; [a](javascript:alert(4)) \ud800"
)


def test_the_site_builds_strictly(proven_site: Build, unproven_site: Build) -> None:
    """With results and without, no warning is left."""
    assert proven_site.code == 0, proven_site.said
    assert unproven_site.code == 0, unproven_site.said


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('{{ command("mitigate.nothing") }}', "mitigate.nothing"),
        ('{{ command("mitigate.rollback", speed=3) }}', "speed"),
        ('{{ mitigation("ServiceDown", "mitigate.scale-up") }}', "mitigate.scale-up"),
        ('{{ badge("NoSuchAlert") }}', "NoSuchAlert"),
        ('{{ alert_card("NoSuchAlert", first="assess") }}', "NoSuchAlert"),
        ("{{ nosuchvariable }}", "nosuchvariable"),
        ("{{ unclosed", ""),
        ("[gone](../alerts/Gone.md)", "Gone.md"),
        ("[gone](../alerts/ServiceDown.md#gone)", "#gone"),
        ("[gone](/alerts/ServiceDown.html)", "/alerts/ServiceDown.html"),
    ],
)
def test_a_mistake_in_a_page_fails_the_build(
    text: str, named: str, build_with_page: Callable[[str], Build]
) -> None:
    """Unknown step, option, alert or variable, broken syntax, link or anchor."""
    build = build_with_page(text)
    assert build.code != 0
    assert named in build.said


def test_the_copy_that_mistakes_are_put_into_builds(
    build_with_page: Callable[[str], Build],
) -> None:
    """The control: the same copy without a mistake builds."""
    build = build_with_page("Nothing wrong.")
    assert build.code == 0, build.said


def test_nothing_is_fetched_from_anyone_else(proven_site: Build) -> None:
    """No page names another host; the only other addresses are fragments and files beside it."""
    pages = sorted(proven_site.site.rglob("*.html"))
    assert pages
    for path in pages:
        away = [
            reference
            for reference in read_page(path).references()
            if "://" in reference or reference.startswith("//")
        ]
        assert away == [], path.name


def test_pages_without_results_say_so(unproven_site: Build) -> None:
    """A missing file is visible as such, on the home page and on each alert's."""
    home = (unproven_site.site / "index.html").read_text(encoding="utf-8")
    assert home.count("Not verified yet") == len(read_rules(ROOT))
    for alert in read_rules(ROOT):
        page = read_page(unproven_site.site / "alerts" / f"{alert}.html")
        states = [found["data-proof"] for _, found in page.elements if "data-proof" in found]
        assert set(states) == {"unverified"}


def test_pages_with_results_carry_the_proof(proven_site: Build) -> None:
    """Verdict, age, commit, environment and time to mitigate stand on the page."""
    for alert in read_rules(ROOT):
        path = proven_site.site / "alerts" / f"{alert}.html"
        page = read_page(path)
        states = {found["data-proof"] for _, found in page.elements if "data-proof" in found}
        times = {found["data-when"] for _, found in page.elements if "data-when" in found}
        assert states == {"passed"}
        assert times == {"2026-11-23T06:00:00Z"}
        text = path.read_text(encoding="utf-8")
        for fact in ("0123456", "embedded staging", "mitigated in 4.1 s", "2026-11-23 06:00 UTC"):
            assert fact in text


def hostile_results() -> dict[str, object]:
    """Return results whose every free text is an attack on the page."""
    results = make_results(environment=HOSTILE, target=HOSTILE)
    for scenario in results["scenarios"]:
        scenario.update(error=HOSTILE, name=HOSTILE if scenario["kind"] == "other" else "x")
        for step in scenario["steps"]:
            step.update(keyword=HOSTILE, text=HOSTILE, output=HOSTILE)
            step["command"] = f"{step['command'] or ''} {HOSTILE}"
    results["by_hand"] = [make_by_hand("mitigate.rollback", "different", HOSTILE)]
    results["by_hand"][0].update(line=HOSTILE)
    return results


def test_hostile_results_cannot_alter_a_page(
    proven_site: Build, build_with_results: Callable[[object], Build]
) -> None:
    """Whatever a log line held, the page shows it as text."""
    build = build_with_results(hostile_results())
    assert build.code == 0, build.said
    for path in sorted(build.site.rglob("*.html")):
        page = read_page(path)
        usual = read_page(proven_site.site / path.relative_to(build.site))
        for tag in ("script", "img", "iframe", "style", "link", "h1", "h2"):
            assert page.count(tag) == usual.count(tag), (path.name, tag)
        handlers = [name for _, found in page.elements for name in found if name.startswith("on")]
        assert handlers == []
        assert not any("javascript:alert" in reference for reference in page.references())
        text = path.read_text(encoding="utf-8")
        assert not set("\x1b\x07\x02\x03\u202e") & set(text), path.name
        assert "49 {%" not in text


@pytest.mark.parametrize(
    ("results", "said"),
    [
        ([], "should be an object, is list"),
        ({}, "format should be 2"),
        (make_results(format=1), "format should be 2, is 1"),
        (make_results(started="yesterday"), "started should be a time"),
        (make_results(started="2026-11-23T06:00:00"), "started should say its time zone"),
        (make_results(commit="<script>"), "commit should be a commit's hash"),
        (make_results(time_scale="60"), "time_scale should be a number, is str"),
        (make_results(seconds=True), "seconds should be a number from 0 up"),
        (make_results(seconds=-1), "seconds should be a number from 0 up"),
        (make_results(seconds=float("nan")), "NaN is not a number"),
        (make_results(scenarios=None), "scenarios should be a list, is null"),
        (make_results(scenarios=["x"]), "scenarios[0] should be an object, is str"),
        (make_results(by_hand=[{"step": 1}]), "by_hand[0].step should be a text, is int"),
    ],
)
def test_broken_results_are_refused_by_name(results: object, said: str, tmp_path: Path) -> None:
    """A wrong type is told by its field."""
    with pytest.raises(PageError, match=re.escape(said)):
        load_results(write_results(tmp_path / "verification.json", results))


def test_broken_results_fail_the_build_in_one_line(
    build_with_results: Callable[[object], Build],
) -> None:
    """Whoever builds the site did not write the results, and gets no traceback."""
    build = build_with_results(make_results(seconds="long"))
    assert build.code != 0
    assert "verification.json.seconds should be a number, is str" in build.said
    assert "Traceback" not in build.said


def test_an_unknown_outcome_is_refused(tmp_path: Path) -> None:
    """A scenario that neither passed nor failed is not shown as if it had."""
    results = make_results()
    results["scenarios"][0]["outcome"] = "skipped"
    said = r"scenarios\[0\].outcome should be one of passed, failed"
    with pytest.raises(PageError, match=said):
        load_results(write_results(tmp_path / "verification.json", results))


@pytest.mark.parametrize("raw", [b"", b'{"format": 1, "scen', b"\xff\xfe", b"[" * 100_000])
def test_results_that_are_no_json_are_refused(raw: bytes, tmp_path: Path) -> None:
    """A file cut short, empty, of another encoding, or absurdly deep is told as such."""
    path = tmp_path / "verification.json"
    path.write_bytes(raw)
    with pytest.raises(PageError, match=r"verification\.json is not JSON"):
        load_results(path)
