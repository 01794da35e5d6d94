"""The alert rules, unscaled, as production has them: promtool says when they fire and when not."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

RULES = Path(__file__).parents[3] / "checks" / "alerts.yml"
UP = 'up{job="convergence-api",instance="%s"}'
REQUESTS = 'http_requests_total{job="convergence-api",instance="a",status_code="%s"}'


def _labels(alert: str) -> dict[str, str]:
    rules = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    rule = next(r for g in rules for r in g["rules"] if r["alert"] == alert)
    return dict(rule["labels"])


def _rendered(alert: str, summary: str | None) -> dict[str, str]:
    rules = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    rule = next(r for g in rules for r in g["rules"] if r["alert"] == alert)
    return {**rule["annotations"], **({"summary": summary} if summary else {})}


def _expect(
    alert: str, at: str, firing: dict[str, str] | None, summary: str | None = None
) -> dict[str, Any]:
    """Return promtool's expectation that `alert` fires with these series labels, or is silent."""
    expected: dict[str, Any] = {"eval_time": at, "alertname": alert}
    if firing is not None:
        expected["exp_alerts"] = [
            {
                "exp_labels": {**firing, **_labels(alert)},
                "exp_annotations": _rendered(alert, summary),
            }
        ]
    return expected


def _test_rules(tmp_path: Path, series: dict[str, str], expectations: list[dict[str, Any]]) -> None:
    case = {
        "interval": "15s",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "alert_rule_test": expectations,
    }
    file = tmp_path / "case.yml"
    file.write_text(yaml.safe_dump({"rule_files": [str(RULES)], "tests": [case]}), encoding="utf-8")
    result = subprocess.run(
        ["promtool", "test", "rules", str(file)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_promtool_accepts_the_rules() -> None:
    subprocess.run(["promtool", "check", "rules", str(RULES)], timeout=30, check=True)


def test_promtool_would_notice_a_wrong_expectation(tmp_path: Path) -> None:
    down = {UP % "a": "0x40"}
    with pytest.raises(AssertionError, match="ServiceDown"):
        _test_rules(tmp_path, down, [_expect("ServiceDown", "5m", None)])


def test_service_down_fires_when_every_target_is_down_and_clears_with_one(tmp_path: Path) -> None:
    _test_rules(
        tmp_path,
        {UP % "a": "1x7 0x60", UP % "b": "1x7 0x19 1x40"},
        [
            _expect("ServiceDown", "1m45s", None),
            _expect("ServiceDown", "2m45s", None),
            _expect("ServiceDown", "3m", {}),
            _expect("ServiceDown", "6m45s", {}),
            _expect("ServiceDown", "8m45s", {}),
            _expect("ServiceDown", "9m", None),
        ],
    )


def test_service_down_keeps_firing_while_instances_only_blink(tmp_path: Path) -> None:
    """A crash loop lets a scrape succeed now and then: that is no recovery."""
    _test_rules(
        tmp_path,
        {UP % "a": "1x7 0x11 1 0x6 1 0x6 1 0x6 1 0x6"},
        [_expect("ServiceDown", f"{minute}m", {}) for minute in range(4, 13)],
    )


def test_service_down_stays_silent_when_one_target_of_many_is_down(tmp_path: Path) -> None:
    _test_rules(
        tmp_path,
        {UP % "a": "0x80", UP % "b": "1x80"},
        [_expect("ServiceDown", "10m", None)],
    )


def test_service_down_fires_when_no_target_is_left(tmp_path: Path) -> None:
    """A target that disappears from discovery leaves a stale marker, not a zero."""
    _test_rules(
        tmp_path,
        {UP % "a": "1x8 stale", 'up{job="another"}': "1x80"},
        [
            _expect("ServiceDown", "2m", None),
            _expect("ServiceDown", "4m", {}),
        ],
    )


def test_service_down_forgives_an_outage_shorter_than_a_minute(tmp_path: Path) -> None:
    _test_rules(
        tmp_path,
        {UP % "a": "1x7 0x2 1x20"},
        [_expect("ServiceDown", f"{minute}m", None) for minute in (2, 3, 4)],
    )


@pytest.mark.parametrize(
    ("good", "bad", "share"),
    [("94", "6", "6%"), ("0", "100", "100%")],
)
def test_high_error_rate_fires_above_five_percent(
    tmp_path: Path, good: str, bad: str, share: str
) -> None:
    summary = f"{share} of the requests to the pipeline API end in a server error"
    _test_rules(
        tmp_path,
        {REQUESTS % "200": f"0+{good}x60", REQUESTS % "500": f"0+{bad}x60"},
        [
            _expect("HighErrorRate", "5m", None),
            _expect("HighErrorRate", "6m", {}, summary),
        ],
    )


@pytest.mark.parametrize(("good", "bad"), [("95", "5"), ("100", "0"), ("990", "49")])
def test_high_error_rate_stays_silent_up_to_five_percent(
    tmp_path: Path, good: str, bad: str
) -> None:
    _test_rules(
        tmp_path,
        {REQUESTS % "200": f"0+{good}x80", REQUESTS % "503": f"0+{bad}x80"},
        [_expect("HighErrorRate", f"{minute}m", None) for minute in (6, 12, 20)],
    )


def test_high_error_rate_counts_every_server_error_and_no_client_error(tmp_path: Path) -> None:
    good = {REQUESTS % "200": "0+90x60", REQUESTS % "404": "0+400x60", REQUESTS % "429": "0+400x60"}
    _test_rules(tmp_path, good, [_expect("HighErrorRate", "12m", None)])
    bad = {REQUESTS % "200": "0+92x60", REQUESTS % "500": "0+4x60", REQUESTS % "503": "0+4x60"}
    summary = "8% of the requests to the pipeline API end in a server error"
    _test_rules(tmp_path, bad, [_expect("HighErrorRate", "12m", {}, summary)])


def test_high_error_rate_clears_when_the_errors_have_left_the_window(tmp_path: Path) -> None:
    summary = "20% of the requests to the pipeline API end in a server error"
    _test_rules(
        tmp_path,
        {REQUESTS % "200": "0+80x100", REQUESTS % "500": "0+20x48 960x60"},
        [
            _expect("HighErrorRate", "12m", {}, summary),
            _expect("HighErrorRate", "17m", None),
        ],
    )


def test_high_error_rate_forgives_a_burst_shorter_than_its_hold(tmp_path: Path) -> None:
    _test_rules(
        tmp_path,
        {REQUESTS % "200": "0+100x100", REQUESTS % "500": "0x20 0+100x1 100x60"},
        [_expect("HighErrorRate", f"{minute}m", None) for minute in range(5, 16)],
    )


def test_high_error_rate_ignores_another_service(tmp_path: Path) -> None:
    other = 'http_requests_total{job="other",status_code="500"}'
    _test_rules(
        tmp_path,
        {REQUESTS % "200": "0+100x60", other: "0+900x60"},
        [_expect("HighErrorRate", "12m", None)],
    )
