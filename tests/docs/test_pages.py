"""Pages: one shape for every alert, one name everywhere, and no command typed by hand."""

import re
import shlex
from pathlib import Path

import pytest
from invoke.parser import Parser

from checks.target import load_target
from runbook.catalogue import collect, steps
from runbook.pages.alerts import read_rules, read_scenarios
from runbook.pages.commands import wrap_line
from tests.docs.conftest import Build
from tests.docs.html_reader import read_page
from tests.docs.sample import ROOT

DOCS = ROOT / "docs"
ALERTS = sorted(path.stem for path in (DOCS / "alerts").glob("*.md"))
HEADINGS = [
    "symptoms",
    "immediate-actions",
    "mitigation",
    "resolution",
    "communication",
    "proof",
]
_PROGRAMS = "invoke|inv|gcloud|bq|kubectl|curl|haproxy|promtool|amtool|python3?|export|sudo"
_TYPED = re.compile(rf"^\s*(?:[$>#]\s+)?(?:\./)?(?:{_PROGRAMS})(?:\s|$)", re.MULTILINE)
_MACRO = re.compile(r"\{\{.*?\}\}", re.DOTALL)
_CODE = re.compile(r"^ *(`{3,}|~{3,})[^\n]*\n(.*?)^ *\1|(`+)([^`\n]+)\3", re.MULTILINE | re.DOTALL)


def find_typed_commands(text: str) -> list[str]:
    """Return the code in a page's source that is a command and did not come from a macro."""
    codes = [match[2] or match[4] for match in _CODE.finditer(_MACRO.sub("", text))]
    return [code for code in codes if _TYPED.search(code)]


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=lambda page: page.stem)
def test_a_page_holds_no_command_typed_by_hand(page: Path) -> None:
    """A typed command would drift; a macro's cannot."""
    assert find_typed_commands(page.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "text",
    [
        "```sh\ninvoke assess\n```",
        "~~~\n$ gcloud run services list\n~~~",
        "1. do\n\n    ```\n    # then\n    curl -f x\n    ```",
        "Type `kubectl get pods` now.",
        "``bq ls``",
        "`./inv demo`",
    ],
)
def test_a_typed_command_is_found(text: str) -> None:
    """The rule can fail: each way to type a command into a page is caught."""
    assert find_typed_commands(text)


@pytest.mark.parametrize("text", ['`{{ cmd("assess") }}`', "`--dry-run`", "`up == 0`", "invoke it"])
def test_other_code_is_no_command(text: str) -> None:
    """Options, expressions and plain words may stand in a page."""
    assert not find_typed_commands(text)


def test_rules_pages_and_features_have_the_same_names() -> None:
    """One alert, one name, everywhere."""
    features = sorted(path.stem for path in (ROOT / "features").glob("*.feature"))
    assert sorted(read_rules(ROOT)) == ALERTS == features


def test_steps_speak_of_known_alerts() -> None:
    """A step that serves an alert nobody has would be on no page."""
    named = {alert for step in steps().values() for alert in step.alerts}
    assert named == set(ALERTS)


@pytest.mark.parametrize("alert", ALERTS)
def test_a_rule_links_to_its_page(alert: str, proven_site: Build) -> None:
    """What the pager shows opens the page."""
    link = read_rules(ROOT)[alert].annotations["runbook_url"]
    path = link.split("/", maxsplit=3)[3]
    assert (proven_site.site / path).is_file(), link


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_page_has_the_headings_in_order(alert: str, proven_site: Build) -> None:
    """Whoever knows one page knows them all."""
    page = read_page(proven_site.site / "alerts" / f"{alert}.html")
    assert page.headings == HEADINGS
    title = (DOCS / "alerts" / f"{alert}.md").read_text(encoding="utf-8")
    assert re.findall(r"^# (.+)$", title, re.MULTILINE) == [alert]


@pytest.mark.parametrize("alert", ALERTS)
def test_a_page_offers_what_its_feature_proves(alert: str) -> None:
    """No mitigation without a loop, no loop without its place on the page."""
    text = (DOCS / "alerts" / f"{alert}.md").read_text(encoding="utf-8")
    offered = set(re.findall(rf'mitigation\("{alert}", "([^"]+)"', text))
    proven = {one.mitigation for one in read_scenarios(ROOT, alert) if one.kind == "loop"}
    assert offered == proven


def test_every_command_on_a_page_is_one_that_invoke_takes(proven_site: Build) -> None:
    """Each `invoke` line of the built site is parsed by invoke with the project's own tasks."""
    lines = {
        line
        for path in proven_site.site.rglob("*.html")
        for block in read_page(path).shell_blocks
        for line in block.splitlines()
        if line.startswith("invoke ")
    }
    assert len(lines) > len(ALERTS)
    contexts = collect().to_contexts()
    for line in sorted(lines):
        parsed = Parser(contexts=contexts).parse_argv(shlex.split(line)[1:])
        assert parsed[0].name, line


def test_a_wrapped_vendor_line_is_the_same_line() -> None:
    """Rows are for the eye: a shell reads the same words."""
    target = load_target("production")
    for step in steps().values():
        for argv in step.by_hand_argv(target):
            assert shlex.split(wrap_line(argv).replace(" \\\n", " ")) == argv


def test_every_step_stands_in_the_reference(proven_site: Build) -> None:
    """The reference is generated, so it is complete."""
    page = read_page(proven_site.site / "reference" / "commands.html")
    assert page.headings == [name.replace(".", "-") for name in steps()]


def test_every_staging_api_says_what_it_is_not(proven_site: Build) -> None:
    """The fidelity page has a section for each API that embedded staging has."""
    page = read_page(proven_site.site / "reference" / "staging.html")
    described = sorted(path.parent.name for path in (ROOT / "staging").glob("*/fidelity.py"))
    assert sorted(heading.replace("-", "_") for heading in page.headings) == described
    assert len(described) >= 2


def test_alert_pages_are_short() -> None:
    """A page is for a tired person; the median source stays under a hundred lines."""
    lengths = sorted(
        len((DOCS / "alerts" / f"{alert}.md").read_text(encoding="utf-8").splitlines())
        for alert in ALERTS
    )
    assert lengths[len(lengths) // 2] <= 120
