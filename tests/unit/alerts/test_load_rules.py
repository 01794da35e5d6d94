"""The rules on latency, CPU and memory, unscaled: when they fire, when not, when they clear."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.alerts.promtool import expect, run_rules

BUCKET = 'http_request_duration_seconds_bucket{job="convergence-api",instance="%s",le="%s"}'
CPU = 'system_cpu_usage_percent{job="convergence-api",instance="%s",revision="%s"}'
USED = 'system_memory_usage_bytes{job="convergence-api",instance="%s",revision="%s"}'
TOTAL = 'system_memory_total_bytes{job="convergence-api",instance="%s",revision="%s"}'
TIMES = 120


def buckets(instance: str, *, quick: int, slow: int, times: int = TIMES) -> dict[str, str]:
    """Return buckets: `quick` requests a sample below 0.5 s, `slow` ones between 2.5 and 5."""
    every = quick + slow
    counts = {"0.5": quick, "1": quick, "2.5": quick, "5": every, "+Inf": every}
    return {BUCKET % (instance, le): f"0+{count}x{times}" for le, count in counts.items()}


def test_latency_fires_above_one_second_after_ten_minutes(tmp_path: Path) -> None:
    summary = "One request in twenty takes longer than 3.75s"
    run_rules(
        tmp_path,
        buckets("a", quick=90, slow=10),
        [expect("HighLatencyP95", "10m", None), expect("HighLatencyP95", "11m", {}, summary)],
    )


def test_latency_speaks_of_the_fleet_not_of_one_slow_instance(tmp_path: Path) -> None:
    """One instance of ten is slow throughout: fewer than one request in twenty."""
    series = buckets("slow", quick=0, slow=4)
    for name in "abcdefghi":
        series |= buckets(name, quick=10, slow=0)
    run_rules(tmp_path, series, [expect("HighLatencyP95", "25m", None)])


def test_latency_stays_silent_when_one_in_twenty_is_slow(tmp_path: Path) -> None:
    run_rules(
        tmp_path,
        buckets("a", quick=96, slow=4),
        [expect("HighLatencyP95", f"{minute}m", None) for minute in (11, 20, 29)],
    )


def test_latency_clears_when_the_slow_requests_have_left_the_window(tmp_path: Path) -> None:
    counts = {"0.5": (90, 100), "1": (90, 100), "5": (100, 100), "+Inf": (100, 100)}
    series = {
        BUCKET % ("a", le): f"0+{slow}x60 {slow * 60}+{then}x60"
        for le, (slow, then) in counts.items()
    }
    run_rules(
        tmp_path,
        series,
        [
            expect("HighLatencyP95", "14m", {}, "One request in twenty takes longer than 3s"),
            expect("HighLatencyP95", "20m", None),
        ],
    )


@pytest.mark.parametrize(
    ("alert", "hold", "below", "above"),
    [("HighCPUUsage", 10, 80, 81), ("CriticalCPUUsage", 5, 95, 96)],
)
def test_cpu_fires_above_its_threshold_only(
    tmp_path: Path, alert: str, hold: int, below: int, above: int
) -> None:
    summary = f"The instances of a revision use {above} % of their CPU"
    quiet = [expect(alert, f"{minute}m", None) for minute in (hold - 1, hold + 1, hold + 9)]
    run_rules(tmp_path, {CPU % ("a", "r1"): f"{below}x{TIMES}"}, quiet)
    loud = [expect(alert, f"{hold - 1}m", None), expect(alert, f"{hold + 1}m", {}, summary)]
    run_rules(tmp_path, {CPU % ("a", "r1"): f"{above}x{TIMES}"}, loud)


def test_cpu_of_one_revision_counts_however_idle_the_other_is(tmp_path: Path) -> None:
    series = {CPU % ("a", "bad"): f"100x{TIMES}", CPU % ("b", "bad"): f"98x{TIMES}"}
    series |= {CPU % (name, "good"): f"5x{TIMES}" for name in "cdefg"}
    summary = "The instances of a revision use 99 % of their CPU"
    run_rules(tmp_path, series, [expect("CriticalCPUUsage", "7m", {}, summary)])


def test_cpu_of_one_busy_instance_of_ten_pages_nobody(tmp_path: Path) -> None:
    series = {CPU % ("busy", "r1"): f"100x{TIMES}"}
    series |= {CPU % (name, "r1"): f"40x{TIMES}" for name in "abcdefghi"}
    run_rules(tmp_path, series, [expect("HighCPUUsage", "20m", None)])


def test_cpu_that_wanders_around_its_threshold_still_fires(tmp_path: Path) -> None:
    """Every other sample lies below 80: the last value alone would never hold for ten minutes."""
    wandering = " ".join(["70 100"] * (TIMES // 2))
    summary = "The instances of a revision use 84.29 % of their CPU"
    run_rules(
        tmp_path, {CPU % ("a", "r1"): wandering}, [expect("HighCPUUsage", "14m45s", {}, summary)]
    )


@pytest.mark.parametrize(("alert", "value"), [("HighCPUUsage", 90), ("CriticalCPUUsage", 99)])
def test_cpu_clears(tmp_path: Path, alert: str, value: int) -> None:
    summary = f"The instances of a revision use {value} % of their CPU"
    run_rules(
        tmp_path,
        {CPU % ("a", "r1"): f"{value}x60 10x60"},
        [expect(alert, "15m", {}, summary), expect(alert, "21m", None)],
    )


@pytest.mark.parametrize(
    ("alert", "hold", "below", "above", "words"),
    [
        ("HighMemoryUsage", 10, 85, 86, "An instance uses 86% of its memory"),
        (
            "CriticalMemoryUsage",
            *(5, 95, 97),
            "An instance uses 97% of its memory and is about to be killed",
        ),
    ],
)
def test_memory_fires_above_its_threshold_only(
    tmp_path: Path, alert: str, hold: int, below: int, above: int, words: str
) -> None:
    total = {TOTAL % ("a", "r1"): f"100x{TIMES}", TOTAL % ("b", "r1"): f"100x{TIMES}"}
    idle = {USED % ("b", "r1"): f"30x{TIMES}"}
    quiet = [expect(alert, f"{minute}m", None) for minute in (hold - 1, hold + 1, hold + 9)]
    run_rules(tmp_path, total | idle | {USED % ("a", "r1"): f"{below}x{TIMES}"}, quiet)
    loud = [expect(alert, f"{hold - 1}m", None), expect(alert, f"{hold + 1}m", {}, words)]
    run_rules(tmp_path, total | idle | {USED % ("a", "r1"): f"{above}x{TIMES}"}, loud)


def test_memory_of_a_leak_that_saws_still_fires(tmp_path: Path) -> None:
    """Killed every three minutes: the last value alone dips below 95 % long before five minutes."""
    saw = " ".join(["30 50 70 90 96 97 97 98 98 99 99 99"] * (TIMES // 12))
    summary = "An instance uses 99% of its memory and is about to be killed"
    run_rules(
        tmp_path,
        {USED % ("a", "r1"): saw, TOTAL % ("a", "r1"): f"100x{TIMES}"},
        [expect("CriticalMemoryUsage", f"{minute}m", {}, summary) for minute in (10, 15, 20)],
    )


@pytest.mark.parametrize(
    ("alert", "value", "words"),
    [
        ("HighMemoryUsage", 90, "An instance uses 90% of its memory"),
        ("CriticalMemoryUsage", 99, "An instance uses 99% of its memory and is about to be killed"),
    ],
)
def test_memory_clears(tmp_path: Path, alert: str, value: int, words: str) -> None:
    run_rules(
        tmp_path,
        {USED % ("a", "r1"): f"{value}x60 30x60", TOTAL % ("a", "r1"): f"100x{TIMES}"},
        [expect(alert, "14m", {}, words), expect(alert, "21m", None)],
    )


def test_memory_is_judged_by_the_limit_in_force(tmp_path: Path) -> None:
    """The same use in a container of twice the size is no alarm."""
    run_rules(
        tmp_path,
        {
            USED % ("a", "small"): "90x59 stale",
            TOTAL % ("a", "small"): "100x59 stale",
            USED % ("b", "large"): "_x59 90x60",
            TOTAL % ("b", "large"): "_x59 200x60",
        },
        [
            expect("HighMemoryUsage", "14m", {}, "An instance uses 90% of its memory"),
            expect("HighMemoryUsage", "16m", None),
        ],
    )
