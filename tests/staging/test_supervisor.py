"""Embedded staging as a program: up, down, status, and every way in which it may end."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from staging import addresses
from staging.local_http import LocalHttpError, request_json
from staging.supervisor_bench import has_ended
from staging.supervisor_directory import AlreadyRunningError, StagingDirectory

if TYPE_CHECKING:
    from collections.abc import Iterator

REPOSITORY = Path(__file__).parents[2]
pytestmark = pytest.mark.staging


def staging(*arguments: str, directory: Path) -> subprocess.CompletedProcess[str]:
    """Run a staging command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "staging", *arguments, "--dir", str(directory)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def read_endpoints(directory: Path) -> dict[str, Any]:
    endpoints: dict[str, Any] = json.loads((directory / "endpoints.json").read_text())
    return endpoints


def list_processes(directory: Path) -> list[psutil.Process]:
    supervisor = psutil.Process(read_endpoints(directory)["pid"])
    return [supervisor, *supervisor.children(recursive=True)]


def wait_for_end(processes: list[psutil.Process], deadline_s: float) -> list[psutil.Process]:
    """Return the processes that still run at the deadline."""
    deadline = time.monotonic() + deadline_s
    while processes and time.monotonic() < deadline:
        processes = [process for process in processes if not has_ended(process)]
    return processes


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Path]:
    """A staging of the test's own, stopped afterwards whatever the test did."""
    result = staging("up", directory=tmp_path / "s")
    try:
        assert result.returncode == 0, result.stderr
        yield tmp_path / "s"
    finally:
        staging("down", directory=tmp_path / "s")


def test_up_status_down(running: Path) -> None:
    endpoints = read_endpoints(running)
    assert stat.S_IMODE((running / "endpoints.json").stat().st_mode) == 0o600
    assert stat.S_IMODE(running.stat().st_mode) == 0o700
    keys = Path(endpoints["api_key_file"])
    assert stat.S_IMODE(keys.stat().st_mode) == 0o600
    query = "/api/v1/query?query=last_over_time(ALERTS[1m])"
    assert request_json(endpoints["prometheus"] + query)["data"]["result"] == []
    again = staging("up", directory=running)
    assert (again.returncode, "runs already" in again.stdout) == (0, True)
    assert read_endpoints(running)["pid"] == endpoints["pid"]
    status = json.loads(staging("status", "--json", directory=running).stdout)
    assert status["ready"]
    assert status["time_scale"] == 60
    assert [item["state"] for item in status["instances"]] == ["ready", "ready"]
    assert list(status["traffic"].values()) == [100]
    assert status["load"]["ok"] > 0
    assert {"supervisor", "prometheus", "haproxy"} <= {p["name"] for p in status["processes"]}
    assert 0 < status["pss_mb"] < 400
    processes = list_processes(running)
    down = staging("down", directory=running)
    assert down.returncode == 0
    assert wait_for_end(processes, 1.0) == []
    assert not (running / "endpoints.json").exists()
    assert staging("down", directory=running).returncode == 0
    assert staging("status", directory=running).returncode == 1


def test_kill_9_leaves_no_orphan(running: Path) -> None:
    supervisor, *others = list_processes(running)
    assert len(others) >= 7
    # A stopped process can do nothing for its own end.
    others[-1].send_signal(signal.SIGSTOP)
    os.kill(supervisor.pid, signal.SIGKILL)
    assert wait_for_end(others, 1.0) == []
    assert staging("status", directory=running).returncode == 1
    # What it left in the directory does not keep the next one from starting.
    assert staging("up", directory=running).returncode == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_everything(running: Path, number: signal.Signals) -> None:
    processes = list_processes(running)
    os.kill(processes[0].pid, number)
    assert wait_for_end(processes, 5.0) == []
    assert not (running / "endpoints.json").exists()


@pytest.mark.parametrize(
    ("part", "what"),
    [("haproxy", "haproxy"), ("api-zygote", "the zygote"), ("load", "the load generator")],
)
def test_staging_ends_when_a_part_of_it_does(running: Path, part: str, what: str) -> None:
    processes = list_processes(running)
    next(process for process in processes if process.name() == part).kill()
    assert wait_for_end(processes, 5.0) == []
    assert f"{what} ended by itself" in (running / "supervisor.log").read_text()


def test_two_stagings_side_by_side(running: Path, tmp_path: Path) -> None:
    second = tmp_path / ("long-" * 20) / "s"
    try:
        assert staging("up", "--time-scale", "120", directory=second).returncode == 0
        one, two = read_endpoints(running), read_endpoints(second)
        assert not {v for v in one.values() if "http" in str(v)} & set(map(str, two.values()))
        seen = [request_json(f"{each['control']}/status") for each in (one, two)]
        assert [status["time_scale"] for status in seen] == [60, 120]
        found = [{item["address"] for item in status["instances"]} for status in seen]
        assert len(found[0] | found[1]) == 4
        request_json(f"{one['control']}/break", method="POST", body={"fault": "frozen-instances"})
        assert request_json(f"{two['service_url']}/health/ready")["status"] == "ready"
        # Staging one does not disturb the other's end.
        assert staging("down", directory=running).returncode == 0
        assert request_json(f"{two['control']}/status")["ready"]
        sockets = (second / "sockets").readlink()
        assert sockets.is_dir()
    finally:
        staging("down", directory=second)
    assert not sockets.exists()


def test_rules_that_cannot_be_scaled_are_refused_before_anything_starts(tmp_path: Path) -> None:
    rules = tmp_path / "rules.yml"
    rules.write_text("groups: [{name: g, rules: [{alert: A, expr: 'a offset 5m'}]}]")
    result = staging("up", "--rules", str(rules), directory=tmp_path / "s")
    assert result.returncode == 1
    assert "cannot scale 'offset'" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "s" / "endpoints.json").exists()


@pytest.mark.parametrize("scale", ["0", "-1", "nan", "x", "5000"])
def test_a_senseless_time_scale_is_a_usage_error(tmp_path: Path, scale: str) -> None:
    result = staging("up", f"--time-scale={scale}", directory=tmp_path / "s")
    assert result.returncode == 2
    assert not (tmp_path / "s").exists()


def test_a_server_on_the_instances_port_of_all_addresses_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A developer's own server, say: no instance could start beside it."""
    with socket.create_server(("0.0.0.0", 0)) as server:  # noqa: S104 - that is what is tested
        port = server.getsockname()[1]
        monkeypatch.setattr(addresses, "INSTANCE_PORT", port)
        with pytest.raises(addresses.NoAddressError, match=f"port {port} of all addresses"):
            addresses.claim_addresses()


def test_an_endpoints_file_left_behind_is_no_running_staging(tmp_path: Path) -> None:
    """Its process id may have been given to somebody else, here to this test itself."""
    (tmp_path / "endpoints.json").write_text(json.dumps({"format": 1, "pid": os.getpid()}))
    (tmp_path / "supervisor.lock").write_text(str(os.getpid()))
    result = staging("down", directory=tmp_path)
    assert (result.returncode, "no staging runs" in result.stdout) == (0, True)
    assert not (tmp_path / "endpoints.json").exists()


def test_a_directory_has_one_holder(tmp_path: Path) -> None:
    hold = (
        "import sys; from pathlib import Path;"
        "from staging.supervisor_directory import StagingDirectory as D;"
        "d = D(Path(sys.argv[1])); d.hold(); print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(tmp_path)],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        directory = StagingDirectory(tmp_path)
        assert directory.find_supervisor() == holder.pid
        with pytest.raises(AlreadyRunningError):
            directory.hold()
        holder.kill()
        holder.wait(10)
        assert directory.find_supervisor() == 0


def test_nobody_answers_after_the_end(running: Path) -> None:
    endpoints = read_endpoints(running)
    staging("down", directory=running)
    for name in ("api", "service_url", "prometheus", "alertmanager", "control"):
        with pytest.raises(LocalHttpError):
            request_json(endpoints[name])
