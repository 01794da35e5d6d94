"""Chromium on the built site, opened from its folder as a responder without network would."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.docs.conftest import Build, build_site
from tests.docs.sample import ROOT, STARTED, make_results, write_results

CHROMIUM = "/usr/bin/chromium"
ARTIFACTS = ROOT / "test-artifacts"
PHONE = (390, 844)
DESKTOP = (1280, 900)


@dataclass
class Visit:
    """An open page, and what went wrong on it so far."""

    page: Page
    site: Path
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def open(self, name: str) -> None:
        """Open a page of the site from its folder and wait until Material's script has run."""
        self.page.goto((self.site / name).as_uri())
        self.page.wait_for_selector("html.js, body[data-md-color-scheme]", state="attached")

    def show(self, name: str) -> None:
        """Keep a screenshot for people to look at."""
        ARTIFACTS.mkdir(exist_ok=True)
        self.page.screenshot(path=ARTIFACTS / f"{name}.png")

    def away(self) -> list[str]:
        """Return the requests that left the folder."""
        root = self.site.as_uri()
        return [url for url in self.requests if not url.startswith((root, "data:", "blob:"))]


@pytest.fixture(scope="session")
def proven_site(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """The site with sample results, one mitigation of them failed."""
    folder = tmp_path_factory.mktemp("browser")
    results = make_results()
    failed = next(one for one in results["scenarios"] if one["alert"] == "ServiceDown")
    failed.update(outcome="failed", error="ServiceDown was still firing after 60 s")
    build = build_site(ROOT, folder / "site", write_results(folder / "results.json", results))
    assert build.code == 0, build.said
    return build


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Debian's Chromium, headless."""
    arguments = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser: Browser, proven_site: Build) -> Iterator[Callable[..., Visit]]:
    """A function that opens the site on a device, at a time, in a colour scheme."""
    contexts = []

    def start(
        size: tuple[int, int] = DESKTOP,
        scheme: Any = "light",  # noqa: ANN401
        now: str = STARTED,
        *,
        scripts: bool = True,
    ) -> Visit:
        context = browser.new_context(
            viewport={"width": size[0], "height": size[1]},
            color_scheme=scheme,
            java_script_enabled=scripts,
        )
        contexts.append(context)
        visit = Visit(context.new_page(), proven_site.site)
        if scripts:
            visit.page.clock.install(time=now)
        visit.page.on("console", lambda message: _note(visit, message.type, message.text))
        visit.page.on("pageerror", lambda error: visit.complaints.append(str(error)))
        visit.page.on("request", lambda request: visit.requests.append(request.url))
        return visit

    yield start
    for context in contexts:
        context.close()


def _note(visit: Visit, kind: str, text: str) -> None:
    if kind in {"error", "warning"}:
        visit.complaints.append(f"{kind}: {text}")
