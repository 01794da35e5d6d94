"""Targets: where they come from, how time is scaled, and what is refused."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from checks.errors import UnreachableError, UsageError
from checks.target import Target, is_loopback, load_target
from tests.unit.hostile_api import write_endpoints


def make_target(**changes: object) -> Target:
    """Return a target at time scale 60."""
    fields = {
        "name": "local",
        "environment": "embedded staging",
        "project": "p",
        "region": "us-central1",
        "service": "api",
        "service_url": "http://127.0.0.1:1",
        "time_scale": 60.0,
    }
    return Target(**(fields | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("duration", "scale", "scaled"),
    [("5m", 60.0, "5000ms"), ("5m", 1.0, "5m"), ("1h30m", 120.0, "45000ms"),
     ("250ms", 1000.0, "1ms")],
)  # fmt: skip
def test_window_divides_by_the_time_scale(duration: str, scale: float, scaled: str) -> None:
    assert make_target(time_scale=scale).window(duration) == scaled


@pytest.mark.parametrize("duration", ["", "5", "m", "5m]", "5m or vector(1)", "-5m"])
def test_window_refuses_what_is_no_duration(duration: str) -> None:
    with pytest.raises(ValueError, match="not a PromQL duration"):
        make_target().window(duration)


@pytest.mark.parametrize(
    ("url", "answer"),
    [("http://127.9.8.7:1/x", True), ("http://localhost", True), ("http://[::1]:8", True),
     ("http://127.0.0.1.evil.example", False), ("http://10.0.0.1", False),
     ("http://localhost.evil.example", False), ("http://", False)],
)  # fmt: skip
def test_loopback(url: str, answer: bool) -> None:
    assert is_loopback(url) is answer


def test_local_reads_the_running_staging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_endpoints(tmp_path, os.getpid(), "http://127.0.0.1:4")
    monkeypatch.setenv("RUNBOOK_STAGING_DIR", str(tmp_path))
    monkeypatch.delenv("RUNBOOK_TARGET", raising=False)
    target = load_target()
    assert (target.name, target.embedded, target.api) == ("local", True, "http://127.0.0.1:4")


def test_a_dead_staging_is_not_running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"],
                           capture_output=True, check=True, text=True)  # fmt: skip
    write_endpoints(tmp_path, int(ended.stdout), "http://127.0.0.1:4")
    monkeypatch.setenv("RUNBOOK_STAGING_DIR", str(tmp_path))
    with pytest.raises(UnreachableError, match="not running") as caught:
        load_target("local")
    assert caught.value.next_step == "invoke staging.up"


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"pid": "x"}', "\x00"])
def test_damaged_endpoints_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    (tmp_path / "endpoints.json").write_text(text)
    monkeypatch.setenv("RUNBOOK_STAGING_DIR", str(tmp_path))
    with pytest.raises(UnreachableError, match="damaged"):
        load_target("local")


def test_an_unknown_target_is_usage() -> None:
    with pytest.raises(UsageError, match="no target 'nowhere'") as caught:
        load_target("nowhere")
    assert "production" in caught.value.next_step


def test_production_is_protected_and_speaks_to_google_alone() -> None:
    target = load_target("production")
    assert target.protected
    assert (target.api, target.control, target.time_scale) == (None, None, 1.0)


def test_a_kubeconfig_lies_in_ones_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    target = load_target("production")
    assert target.kubeconfig == str(tmp_path / ".kube" / "config")
    assert target.kube_context.startswith("gke_")


def test_plain_http_is_for_this_machine_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_endpoints(tmp_path, os.getpid(), "http://run.example")
    monkeypatch.setenv("RUNBOOK_STAGING_DIR", str(tmp_path))
    with pytest.raises(UsageError, match="api must be https"):
        load_target("local")


def load_with(
    folder: Path, monkeypatch: pytest.MonkeyPatch, **endpoints: object
) -> Target:  # fmt: skip
    """Return the target `local` of a staging that tells these endpoints."""
    write_endpoints(folder, os.getpid(), "http://127.0.0.1:4", **endpoints)
    monkeypatch.setenv("RUNBOOK_STAGING_DIR", str(folder))
    return load_target("local")


def test_staging_tells_its_platform_and_its_cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert load_with(tmp_path, monkeypatch).platform == "cloud_run"
    target = load_with(
        tmp_path,
        monkeypatch,
        platform="kubernetes",
        kubeconfig="/x/kubeconfig",
        kube_context="embedded",
        known_addresses={"egress": "127.0.0.9", "tenants": ["127.0.10.0/24"]},
    )
    assert (target.platform, target.kube_context) == ("kubernetes", "embedded")
    assert (target.deployment_name, target.namespace) == (target.service, "default")
    assert target.known_addresses == {"egress": ("127.0.0.9/32",), "tenants": ("127.0.10.0/24",)}


@pytest.mark.parametrize(
    "endpoints", [{"platform": "nomad"}, {"known_addresses": {"egress": ["all of them"]}}]
)
def test_a_platform_or_network_that_is_none_is_usage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, endpoints: dict[str, object]
) -> None:
    with pytest.raises(UsageError):
        load_with(tmp_path, monkeypatch, **endpoints)


def test_a_platform_given_by_name_is_looked_at_instead() -> None:
    target = make_target()
    assert target.on_platform("").platform == "cloud_run"
    assert target.on_platform("kubernetes").platform == "kubernetes"
    with pytest.raises(UsageError, match="no platform 'kubernets'"):
        target.on_platform("kubernets")
