"""One alert from fault to proof, in about a minute, with the commands that a responder types."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from invoke.exceptions import Exit
from invoke.tasks import task

from checks.errors import RunbookError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from invoke.context import Context

    from runbook.show import Show

REPOSITORY = Path(__file__).resolve().parents[1]
ROOT_TASKS = ("demo",)
ALERT, FAULT, PLATFORM = "HighErrorRate", "endpoint-errors", "Cloud Run"
MITIGATION, RESTORE = "mitigate.rollback", "mitigate.release-traffic"
TIME_SCALE = 60.0
ASSESS_TRIES = 3
PROBES = 50
PROBES_THAT_SUCCEED = 49
HTTP_OK = 200
INTERRUPTED_EXIT = 130
SITE_DEADLINE_S = 10.0


@task(
    auto_shortflags=False,
    help={"keep": "Leave staging running and the site served, to look around."},
)
def demo(c: Context, keep: bool = False) -> None:  # noqa: ARG001
    """Watch a bad deployment being found, mended and proven, in about a minute."""
    from runbook.show import Show

    show = Show(Path(tempfile.mkdtemp(prefix="demo-")))
    kept = False
    try:
        with interrupt_on_signals():
            times = close_loop(show)
            page = prove(show, times)
            address = serve(show, page) if keep else page.as_uri()
            kept = keep
    except RunbookError as error:
        kept = keep
        show.say(f"The demo ends here: {error}", style="bold red")
        show.say(f"Next: {error.next_step}")
        raise Exit(code=error.exit_code) from error
    except KeyboardInterrupt:
        show.say("Interrupted.", style="bold yellow")
        raise Exit(code=INTERRUPTED_EXIT) from None
    finally:
        if not kept:
            show.clear_away()
    tell_end(show, times, address)


def close_loop(show: Show) -> dict[str, float]:
    """Run the feature's own scenario; return time to detect and to mitigate, in seconds."""
    times: dict[str, float] = {}
    start_staging(show)
    show.chapter("A bad revision goes out.")
    with show.step("When", f"the fault {FAULT} breaks the service") as step:
        broken = time.monotonic()
        step["output"] = show.run("staging.break", FAULT)
    with show.step("Then", f"{ALERT} fires"):
        show.wait(f"{ALERT} fires in Prometheus", lambda: show.alerts().get(ALERT) == "firing")
        times["time_to_detect_s"] = round(time.monotonic() - broken, 2)
    show.chapter("The pager rings. The first command is the same for every alert.")
    with show.step("And", f"assess puts {ALERT} first and recommends {MITIGATION}") as step:
        step["command"] = "invoke assess"
        step["output"] = ask_assess(show)
    show.chapter("The command that assess recommends: first its plan, which touches nothing.")
    with show.step("And", f"a dry run of {MITIGATION} changes nothing") as step:
        step["command"] = f"invoke {MITIGATION} --dry-run"
        step["output"] = rehearse(show)
    show.chapter("And now for real.")
    with show.step("When", f"the responder runs {MITIGATION}") as step:
        step["command"] = f"invoke {MITIGATION}"
        mitigating = time.monotonic()
        step["output"] = show.run(MITIGATION)
    with show.step("Then", f"{ALERT} clears"):
        show.wait(f"{ALERT} clears", lambda: ALERT not in show.alerts())
        times["time_to_mitigate_s"] = round(time.monotonic() - mitigating, 2)
    with show.step("And", "requests succeed again"):
        check_requests(show)
    restore(show)
    return times


def ask_assess(show: Show) -> str:
    """Return what `invoke assess` prints once it recommends the mitigation before all others."""
    for _ in range(ASSESS_TRIES):
        found = show.run("assess")
        if f"Next: invoke {MITIGATION}" in found:
            return found
        show.say("  A machine this busy drops requests of its own accord; a second look.")
    raise RunbookError(
        f"The loop did not close: assess recommends something else than {MITIGATION}.",
        next_step="Try again while nothing else keeps this machine busy.",
    )


def rehearse(show: Show) -> str:
    """Return what the dry run prints; raise RunbookError when it moved anything."""
    before = read_etag(show)
    printed = show.run(MITIGATION, "--dry-run")
    require(read_etag(show) == before, "the dry run changed the service")
    return printed


def read_etag(show: Show) -> str:
    """Return the service's etag, which every change moves."""
    from checks.http import get_json

    place = show.endpoints()
    parent = f"projects/{place['project']}/locations/{place['region']}"
    return str(get_json(f"{place['api']}/v2/{parent}/services/{place['service']}")["etag"])


def start_staging(show: Show) -> None:
    """Start a staging of the demo's own and wait until nothing is wrong with it."""
    show.chapter("Staging comes up: the real service, Prometheus and haproxy, under load.")
    with show.step("Given", f"the service is healthy and under load on {PLATFORM}"):
        show.run("staging.up", f"--time-scale={TIME_SCALE:g}")
        show.wait("no alert is pending", lambda: not show.alerts())
    show.say(f"  Rules and platform run {TIME_SCALE:g} times faster here than in production.")


def restore(show: Show) -> None:
    """Fix the cause and take the mitigation back, as after a real incident."""
    show.chapter("The cause is fixed, and the mitigation taken back.")
    with show.step("When", f"the cause of {FAULT} is fixed") as step:
        step["output"] = show.run("staging.heal")
    with show.step("And", f"the responder restores with {RESTORE}") as step:
        step["command"] = f"invoke {RESTORE}"
        step["output"] = show.run(RESTORE)
    with show.step("Then", "the service is back at its baseline") as step:
        show.wait("no alert is pending", lambda: not show.alerts())
        step["output"] = show.run("staging.status")


def check_requests(show: Show) -> None:
    """Ask the service through its ingress; raise RunbookError when more than one request fails."""
    from checks.http import fetch

    url = show.endpoints()["service_url"] + "/health/ready"
    good = sum(fetch(url).status == HTTP_OK for _ in range(PROBES))
    show.say(f"  {good} of {PROBES} requests succeed", style="green")
    require(good >= PROBES_THAT_SUCCEED, f"only {good} of {PROBES} requests succeed")


def require(condition: bool, otherwise: str) -> None:
    """Raise RunbookError with the sentence `otherwise` unless `condition` holds."""
    if not condition:
        raise RunbookError(
            f"The loop did not close: {otherwise}.", next_step="invoke verify tells more"
        )


def prove(show: Show, times: dict[str, float]) -> Path:
    """Write the proof, build the site with it, and return the alert's page."""
    from runbook.verify import describe_run, write_whole

    show.chapter("The proof is written, and the site built with it.")
    moment = show.started.strftime("%Y-%m-%dT%H:%M:%SZ")
    scenario: dict[str, Any] = {
        "alert": ALERT,
        "name": f"{MITIGATION} mends {FAULT} on {PLATFORM}",
        "kind": "loop",
        "mitigation": MITIGATION,
        "fault": FAULT,
        "platform": PLATFORM,
        "outcome": "passed",
        "error": None,
        "started": moment,
        "seconds": round(sum(step["seconds"] for step in show.steps), 3),
        "steps": show.steps,
    }
    found: dict[str, Any] = {"scenarios": [scenario | times], "by_hand": [], "started": moment}
    found["seconds"] = round(time.monotonic() - show.began, 1)
    target = {"target": "local", "environment": "embedded staging"}
    write_whole(show.results, describe_run(target, found, TIME_SCALE))
    site = show.results.parent / "demo-site"
    built = show.run("site.build", f"--to={site.relative_to(REPOSITORY)}", quiet=True)
    show.say(f"    {built.strip().splitlines()[-1]}", style="dim")
    page = site / "alerts" / f"{ALERT}.html"
    require(page.exists() and moment in page.read_text(), f"the page of {ALERT} shows no proof")
    return page


def serve(show: Show, page: Path) -> str:
    """Serve the site until the demo's staging ends; return the page's address."""
    site = page.parents[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "runbook.site_server", str(site), str(show.folder)],
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    address = server.stdout.readline().strip() if server.stdout else ""
    require(bool(address), "the site could not be served")
    return f"{address}/{page.relative_to(site).as_posix()}"


def tell_end(show: Show, times: dict[str, float], address: str) -> None:
    """Print what was seen and where the proof stands."""
    seconds = time.monotonic() - show.began
    show.chapter(f"Done in {seconds:.0f} s: {ALERT} was found, mended, proven and undone.")
    show.say(f"  detected in {times['time_to_detect_s']:.1f} s")
    show.say(f"  mitigated in {times['time_to_mitigate_s']:.1f} s")
    show.say(f"  the page with the proof just made: {address}", style="bold green")
    if not address.startswith("file:"):
        show.say(f"  staging still runs; break it yourself: {show.with_dir()} staging.break")
        show.say(f"  end it, and the site's server:         {show.with_dir()} staging.down")


@contextmanager
def interrupt_on_signals() -> Iterator[None]:
    """Let SIGTERM and a closed terminal end the demo as Ctrl-C does, so that it clears away."""

    def interrupt(_number: int, _frame: object) -> NoReturn:
        raise KeyboardInterrupt

    former = {one: signal.signal(one, interrupt) for one in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for one, handler in former.items():
            signal.signal(one, handler)
