"""The alert rules, unscaled, as production has them: promtool says when they fire and when not."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.unit.alerts.promtool import RULES, expect, run_rules

UP = 'up{job="convergence-api",instance="%s"}'
REQUESTS = 'http_requests_total{job="convergence-api",instance="a",status_code="%s"}'


def test_promtool_accepts_the_rules() -> None:
    subprocess.run(["promtool", "check", "rules", str(RULES)], timeout=30, check=True)


def test_promtool_would_notice_a_wrong_expectation(tmp_path: Path) -> None:
    down = {UP % "a": "0x40"}
    with pytest.raises(AssertionError, match="ServiceDown"):
        run_rules(tmp_path, down, [expect("ServiceDown", "5m", None)])


def test_service_down_fires_when_every_target_is_down_and_clears_with_one(tmp_path: Path) -> None:
    run_rules(
        tmp_path,
        {UP % "a": "1x7 0x60", UP % "b": "1x7 0x19 1x40"},
        [
            expect("ServiceDown", "1m45s", None),
            expect("ServiceDown", "2m45s", None),
            expect("ServiceDown", "3m", {}),
            expect("ServiceDown", "6m45s", {}),
            expect("ServiceDown", "8m45s", {}),
            expect("ServiceDown", "9m", None),
        ],
    )


def test_service_down_keeps_firing_while_instances_only_blink(tmp_path: Path) -> None:
    """A crash loop lets a scrape succeed now and then: that is no recovery."""
    run_rules(
        tmp_path,
        {UP % "a": "1x7 0x11 1 0x6 1 0x6 1 0x6 1 0x6"},
        [expect("ServiceDown", f"{minute}m", {}) for minute in range(4, 13)],
    )


def test_service_down_stays_silent_when_one_target_of_many_is_down(tmp_path: Path) -> None:
    run_rules(
        tmp_path,
        {UP % "a": "0x80", UP % "b": "1x80"},
        [expect("ServiceDown", "10m", None)],
    )


def test_service_down_fires_when_no_target_is_left(tmp_path: Path) -> None:
    """A target that disappears from discovery leaves a stale marker, not a zero."""
    run_rules(
        tmp_path,
        {UP % "a": "1x8 stale", 'up{job="another"}': "1x80"},
        [
            expect("ServiceDown", "2m", None),
            expect("ServiceDown", "4m", {}),
        ],
    )


def test_service_down_forgives_an_outage_shorter_than_a_minute(tmp_path: Path) -> None:
    run_rules(
        tmp_path,
        {UP % "a": "1x7 0x2 1x20"},
        [expect("ServiceDown", f"{minute}m", None) for minute in (2, 3, 4)],
    )


@pytest.mark.parametrize(
    ("good", "bad", "share"),
    [("94", "6", "6%"), ("0", "100", "100%")],
)
def test_high_error_rate_fires_above_five_percent(
    tmp_path: Path, good: str, bad: str, share: str
) -> None:
    summary = f"{share} of the requests to the pipeline API end in a server error"
    run_rules(
        tmp_path,
        {REQUESTS % "200": f"0+{good}x60", REQUESTS % "500": f"0+{bad}x60"},
        [
            expect("HighErrorRate", "5m", None),
            expect("HighErrorRate", "6m", {}, summary),
        ],
    )


@pytest.mark.parametrize(("good", "bad"), [("95", "5"), ("100", "0"), ("990", "49")])
def test_high_error_rate_stays_silent_up_to_five_percent(
    tmp_path: Path, good: str, bad: str
) -> None:
    run_rules(
        tmp_path,
        {REQUESTS % "200": f"0+{good}x80", REQUESTS % "503": f"0+{bad}x80"},
        [expect("HighErrorRate", f"{minute}m", None) for minute in (6, 12, 20)],
    )


def test_high_error_rate_counts_every_server_error_and_no_client_error(tmp_path: Path) -> None:
    good = {REQUESTS % "200": "0+90x60", REQUESTS % "404": "0+400x60", REQUESTS % "429": "0+400x60"}
    run_rules(tmp_path, good, [expect("HighErrorRate", "12m", None)])
    bad = {REQUESTS % "200": "0+92x60", REQUESTS % "500": "0+4x60", REQUESTS % "503": "0+4x60"}
    summary = "8% of the requests to the pipeline API end in a server error"
    run_rules(tmp_path, bad, [expect("HighErrorRate", "12m", {}, summary)])


def test_high_error_rate_clears_when_the_errors_have_left_the_window(tmp_path: Path) -> None:
    summary = "20% of the requests to the pipeline API end in a server error"
    run_rules(
        tmp_path,
        {REQUESTS % "200": "0+80x100", REQUESTS % "500": "0+20x48 960x60"},
        [
            expect("HighErrorRate", "12m", {}, summary),
            expect("HighErrorRate", "17m", None),
        ],
    )


def test_high_error_rate_forgives_a_burst_shorter_than_its_hold(tmp_path: Path) -> None:
    run_rules(
        tmp_path,
        {REQUESTS % "200": "0+100x100", REQUESTS % "500": "0x20 0+100x1 100x60"},
        [expect("HighErrorRate", f"{minute}m", None) for minute in range(5, 16)],
    )


def test_high_error_rate_ignores_another_service(tmp_path: Path) -> None:
    other = 'http_requests_total{job="other",status_code="500"}'
    run_rules(
        tmp_path,
        {REQUESTS % "200": "0+100x60", other: "0+900x60"},
        [expect("HighErrorRate", "12m", None)],
    )
