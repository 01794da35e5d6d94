"""Scaling is honest: latency follows load over capacity as queueing predicts, and is measured."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from runbook.bench_scaling import is_as_predicted
from runbook.scaling_chart import Point, draw_chart
from staging.scaling.queueing import Prediction, System, bound_pooled, find_quantile, predict

REPOSITORY = Path(__file__).parents[2]
RHOS = (0.3, 0.5, 0.7, 0.8, 0.9, 0.95)


def predict_long(system: System) -> Prediction:
    return predict(system, warm_up_s=30, seconds=120)


def test_prediction_rises_with_load_and_falls_with_instances() -> None:
    found = {
        count: [predict_long(System(count, rho, 0.08)).median_s for rho in RHOS]
        for count in (2, 5, 10)
    }
    for curve in found.values():
        assert curve == sorted(curve)
    for rho in range(len(RHOS)):
        assert found[2][rho] > found[5][rho] * 0.99 > found[10][rho] * 0.98
    assert found[2][-1] > 3 * found[2][0]


def test_one_instance_is_the_textbook_s_queue() -> None:
    """One server, Poisson arrivals: simulation and formula must agree, whatever picks servers."""
    for rho in (0.3, 0.5, 0.7, 0.8):
        system = System(1, rho, 0.08)
        simulated = predict(system, warm_up_s=60, seconds=600).median_s
        assert simulated == pytest.approx(bound_pooled(system), rel=0.12)


def test_no_choice_of_instances_beats_one_queue() -> None:
    for count in (2, 5, 10):
        for rho in (0.5, 0.8, 0.9):
            system = System(count, rho, 0.08)
            assert predict_long(system).high_s > 0.95 * bound_pooled(system)


def test_quantile_of_nothing_is_refused() -> None:
    assert find_quantile([3, 1, 2], 0.5) == 2
    with pytest.raises(ValueError, match="no values"):
        find_quantile([], 0.5)


def make_point(instances: int, rho: float, p95_s: float) -> Point:
    return Point(instances, rho, 300, 0, p95_s, 0.2, 0.15, 0.3, 0.19)


def test_point_far_from_its_prediction_is_off() -> None:
    assert is_as_predicted(make_point(2, 0.5, 0.2))
    assert is_as_predicted(make_point(2, 0.5, 0.4))
    assert not is_as_predicted(make_point(2, 0.5, 0.5))
    assert not is_as_predicted(make_point(2, 0.5, 0.08))


def test_chart_shows_every_series_and_runs_nothing() -> None:
    svg = draw_chart([make_point(n, rho, 0.2 + rho / n) for n in (2, 5, 10) for rho in (0.3, 0.9)])
    for text in ("2 instances", "5 instances", "10 instances", "prefers-color-scheme: dark"):
        assert text in svg
    assert svg.count("<circle") == 6
    assert "<script" not in svg
    assert "http" not in svg.replace("http://www.w3.org/2000/svg", "")


@pytest.mark.staging
def test_measured_latency_has_the_shape_that_queueing_predicts(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "staging.scaling", "--dir", str(tmp_path), "--seconds", "6"]
    done = subprocess.run(
        [*argv, "--instances", "2", "6", "--rho", "0.4", "0.85"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    few_idle, few_busy, many_idle, many_busy = (
        Point(**json.loads(line)) for line in done.stdout.splitlines()
    )
    for point in (few_idle, few_busy, many_idle, many_busy):
        assert point.failed == 0
        assert is_as_predicted(point), point
    assert few_idle.p95_s < few_busy.p95_s
    assert many_idle.p95_s < many_busy.p95_s < few_busy.p95_s
