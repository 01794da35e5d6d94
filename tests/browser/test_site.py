"""The site in a browser: quiet, readable on a phone at night, and honest about its age."""

from collections.abc import Callable

import pytest

from tests.browser.conftest import DESKTOP, PHONE, Visit

pytestmark = pytest.mark.browser

PAGES = {
    "home": "index.html",
    "ServiceDown": "alerts/ServiceDown.html",
    "HighErrorRate": "alerts/HighErrorRate.html",
    "commands": "reference/commands.html",
    "verification": "reference/verification.html",
    "staging": "reference/staging.html",
}
VIEWS = [
    pytest.param(size, scheme, id=f"{name}-{scheme}")
    for name, size in (("phone", PHONE), ("desktop", DESKTOP))
    for scheme in ("light", "dark")
]


@pytest.mark.parametrize(("size", "scheme"), VIEWS)
def test_pages_are_quiet_and_fit(
    size: tuple[int, int], scheme: str, visit: Callable[..., Visit], request: pytest.FixtureRequest
) -> None:
    """No console error, no request to anyone else, no sideways scrolling, the system's colours."""
    here = visit(size, scheme, "2026-11-23T09:00:00Z")
    view = request.node.callspec.id
    for name, path in PAGES.items():
        here.open(path)
        here.show(f"{name}-{view}")
        assert here.page.evaluate("document.documentElement.scrollWidth") <= size[0], name
        wanted = "slate" if scheme == "dark" else "default"
        assert here.page.get_attribute("body", "data-md-color-scheme") == wanted
    assert here.complaints == []
    assert here.away() == []
    assert here.requests


@pytest.mark.parametrize("path", ["index.html", "alerts/ServiceDown.html"])
def test_the_proof_and_the_first_command_are_seen_at_once(
    path: str, visit: Callable[..., Visit]
) -> None:
    """On a phone, without scrolling: what to type, and whether the way out is proven."""
    here = visit(PHONE, "dark")
    here.open(path)
    command = here.page.get_by_text("invoke assess", exact=False).first.bounding_box()
    badge = here.page.locator(".proof").first.bounding_box()
    assert command is not None
    assert badge is not None
    assert command["y"] + command["height"] < PHONE[1]
    assert badge["y"] + badge["height"] < PHONE[1]


def test_a_tab_shows_its_option_and_all_by_hand_tabs_follow(visit: Callable[..., Visit]) -> None:
    """When the tool is down, one click turns the whole page to the vendor's lines."""
    here = visit()
    here.open("alerts/HighErrorRate.html")
    page = here.page
    shown = page.get_by_text("raises the smallest and largest number")
    assert not shown.is_visible()
    page.locator(".tabbed-labels").get_by_text("Scale up", exact=True).click()
    shown.wait_for(state="visible", timeout=5_000)
    page.locator(".tabbed-labels").get_by_text("By hand: Cloud Run", exact=True).first.click()
    vendor = page.locator("code", has_text="gcloud").filter(has_text="--min-instances").first
    vendor.wait_for(state="visible", timeout=5_000)
    assert here.complaints == []


def test_search_finds_a_command_from_a_folder(visit: Callable[..., Visit]) -> None:
    """Search works without a server, which needs the vendored worker shim."""
    here = visit()
    here.open("index.html")
    here.page.locator("input.md-search__input").click()
    here.page.locator("input.md-search__input").press_sequentially("release-traffic")
    found = here.page.locator(".md-search-result__link").first
    here.page.clock.run_for(2_000)
    found.wait_for(state="attached", timeout=10_000)
    results = here.page.locator(".md-search-result__list").inner_text()
    assert "mitigate.release-traffic" in results
    assert here.complaints == []
    assert here.away() == []


@pytest.mark.parametrize(
    ("now", "word", "age", "old"),
    [
        ("2026-11-23T06:10:00Z", "Proven", "10 min ago", False),
        ("2026-11-23T09:00:00Z", "Proven", "3 h ago", False),
        ("2026-11-24T17:59:00Z", "Proven", "36 h ago", False),
        ("2026-11-24T18:01:00Z", "Out of date: proven", "36 h ago", True),
        ("2026-11-30T06:00:00Z", "Out of date: proven", "7 days ago", True),
        ("2026-11-22T06:00:00Z", "Proven", "2026-11-23 06:00 UTC", False),
    ],
)
def test_a_badge_ages_by_itself(
    now: str, word: str, age: str, old: bool, visit: Callable[..., Visit]
) -> None:
    """After 36 hours it turns grey, without a new build."""
    here = visit(now=now)
    here.open("alerts/HighErrorRate.html")
    badge = here.page.locator(".card .proof")
    assert badge.locator("strong").inner_text() == word
    assert badge.locator("time").inner_text() == age
    grey = badge.evaluate("e => getComputedStyle(e).color") == here.page.evaluate(
        "(() => { const e = document.createElement('span'); e.style.color = 'var(--none)';"
        "document.body.append(e); return getComputedStyle(e).color })()"
    )
    assert grey is old


def test_a_badge_turns_grey_while_the_page_is_open(visit: Callable[..., Visit]) -> None:
    """A page left open on a wall screen does not stay green."""
    here = visit(now="2026-11-24T17:50:00Z")
    here.open("alerts/HighErrorRate.html")
    word = here.page.locator(".card .proof strong")
    assert word.inner_text() == "Proven"
    here.page.clock.run_for(20 * 60 * 1000)
    assert word.inner_text() == "Out of date: proven"


def test_a_failure_stays_red_at_any_age(visit: Callable[..., Visit]) -> None:
    """An old failure is still a failure."""
    here = visit(now="2026-12-24T06:00:00Z")
    here.open("alerts/ServiceDown.html")
    badge = here.page.locator(".card .proof")
    assert badge.locator("strong").inner_text() == "Failed"
    assert badge.get_attribute("data-proof") == "failed"


def test_without_scripts_the_time_of_the_proof_is_still_there(visit: Callable[..., Visit]) -> None:
    """The absolute time stands in the page itself."""
    here = visit(scripts=False)
    here.page.goto((here.site / "alerts/HighErrorRate.html").as_uri())
    assert here.page.locator(".card .proof time").inner_text() == "2026-11-23 06:00 UTC"
    assert here.page.get_by_text("invoke assess").first.is_visible()


def test_the_keyboard_reaches_the_tabs(visit: Callable[..., Visit]) -> None:
    """Arrow keys move between a mitigation's options."""
    here = visit()
    here.open("alerts/HighErrorRate.html")
    page = here.page
    options = page.locator("#mitigation ~ .tabbed-set > input").first
    options.focus()
    page.keyboard.press("ArrowRight")
    page.get_by_text("raises the smallest and largest number").wait_for(
        state="visible", timeout=5_000
    )
