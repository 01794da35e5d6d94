"""CPU and memory of instances and pods, and what is said of them."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from checks.errors import ApiError, RunbookError, UsageError
from checks.target import Target
from checks.usage import Usage, is_uneven, parse_top, query_usage, read_quantity, read_usage
from runbook.assess_usage import state_cpu, state_memory
from runbook.profile_sampling import check_instance, pick_instance
from tests.unit.plain_server import Reply, serve_replies
from tests.unit.test_target import make_target


def usage(name: str, cpu: float | None, revision: str = "api-1", memory: float = 50.0) -> Usage:
    return Usage(f"{revision}-{name}", revision, f"127.0.0.1:{name}", cpu, memory, 100.0)


@pytest.mark.parametrize(
    ("text", "value"),
    [("250m", 0.25), ("2", 2.0), ("4Gi", 4 * 2**30), ("1500M", 1.5e9), ("12n", 1.2e-8), ("0", 0)],
)
def test_quantities(text: str, value: float) -> None:
    assert read_quantity(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "4GB", "-1", "ten", "1 Gi", "<unknown>"])
def test_what_is_no_quantity(text: str) -> None:
    with pytest.raises(ValueError, match="no quantity"):
        read_quantity(text)


def test_the_table_of_kubectl_top() -> None:
    text = (
        "NAME    CPU(cores)   MEMORY(bytes)\napi-a   1900m        300Mi\napi-b   0m           1Gi\n"
    )
    assert parse_top(text) == {"api-a": (pytest.approx(1.9), 300 * 2**20), "api-b": (0.0, 2**30)}
    assert parse_top("") == {}


BOTH_58 = "2 instances use 58% of their CPU: not at capacity, unevenly (20 to 96%), "
BOTH_95 = "2 instances use 95% of their CPU: at capacity, evenly (94 to 96%), all of api-1."


@pytest.mark.parametrize(
    ("usages", "told"),
    [
        ([usage("a", 96), usage("b", 94)], BOTH_95),
        ([usage("a", 96), usage("b", 20)], BOTH_58 + "api-1-a the most, all of api-1."),
        ([usage("a", 96, "api-2"), usage("b", 20)], BOTH_58 + "api-2 by far the most."),
        ([usage("a", 40)], "api-1-a uses 40% of its CPU: not at capacity, of api-1."),
        ([usage("a", None)], "None of 1 instances tells its CPU."),
        ([], "No instance tells what it uses."),
    ],
)
def test_cpu_in_words(usages: list[Usage], told: str) -> None:
    assert state_cpu(usages) == told


def test_memory_in_words() -> None:
    told = state_memory([usage("a", 1, memory=91), usage("b", 1, memory=30)])
    assert told == "Memory: 91% of its limit at most, in api-1-a; 30% at least."
    assert state_memory([]) == ""


def test_uneven_is_twenty_points_apart() -> None:
    assert not is_uneven([usage("a", 60), usage("b", 80)])
    assert is_uneven([usage("a", 59), usage("b", 80)])
    assert not is_uneven([])


def test_instances_out_of_prometheus() -> None:
    values = {"cpu_usage": "96.5", "memory_usage": "2e9", "memory_total": "4e9", "info": "1"}

    def reply(query: dict[str, str], _body: bytes) -> Reply:
        value = next(v for key, v in values.items() if key in query["query"])
        metric = {"instance": "h:1", "revision": "api-1", "instance_id": "api-1-x"}
        data = {"resultType": "vector", "result": [{"metric": metric, "value": [0, value]}]}
        return Reply(json.dumps({"status": "success", "data": data}).encode())

    with serve_replies({"/api/v1/query": reply}) as server:
        [found] = query_usage(make_target(prometheus=server.url))
    assert found == Usage("api-1-x", "api-1", "h:1", 96.5, 2e9, 4e9)
    assert found.short_name == "x"
    assert found.memory_percent == 50


def test_the_busiest_is_picked_unless_one_is_named() -> None:
    both = [usage("a", 90), usage("b", 10)]
    assert pick_instance(both, "").name == "api-1-a"
    for name in ("api-1-b", "b", "127.0.0.1:b"):
        assert pick_instance(both, name).name == "api-1-b"
    with pytest.raises(UsageError, match="No instance is called 'c'"):
        pick_instance(both, "c")
    with pytest.raises(UsageError, match="More than one"):
        pick_instance([*both, usage("b", 5, "api-2")], "b")
    with pytest.raises(RunbookError, match="No instance runs"):
        pick_instance([], "")


@pytest.mark.parametrize("text", ["-it", "--", "a b", "$(id)", "a\n", "a" * 200, "../x", "a;b"])
def test_no_name_of_an_instance(text: str) -> None:
    with pytest.raises(UsageError):
        check_instance(text)


POD: dict[str, Any] = {
    "metadata": {
        "name": "api-68d-x",
        "creationTimestamp": "2026-11-23T06:00:00Z",
        "ownerReferences": [{"kind": "ReplicaSet", "name": "api-68d", "controller": True}],
    },
    "spec": {
        "containers": [{"name": "app", "resources": {"limits": {"cpu": "2", "memory": "4Gi"}}}]
    },
    "status": {"podIP": "127.2.2.1", "containerStatuses": [{"ready": True}]},
}


def make_kubectl(folder: Path, top: str, *, code: int = 0, pods: str = "") -> None:
    """Write a program called kubectl that answers `get` and `top` from files, and exits `code`."""
    (folder / "pods.json").write_text(pods or json.dumps({"items": [POD]}))
    (folder / "top.txt").write_text(top)
    program = folder / "kubectl"
    program.write_text(
        "#!/bin/sh\n"
        f'case "$*" in *" top "*) stream={1 + bool(code)};'
        f' cat "{folder}/top.txt" >&$stream; exit {code};;'
        f' *) cat "{folder}/pods.json";; esac\n'
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Target:
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    config = tmp_path / "config"
    config.touch()
    return make_target(
        platform="kubernetes", kubeconfig=str(config), kube_context="embedded", service="api"
    )


def test_pods_out_of_kubectl(cluster: Target, tmp_path: Path) -> None:
    make_kubectl(tmp_path, "NAME CPU(cores) MEMORY(bytes)\napi-68d-x 1800m 1024Mi\n")
    [found] = read_usage(cluster)
    assert (found.name, found.revision, found.short_name) == ("api-68d-x", "api-68d", "x")
    assert found.cpu_percent == pytest.approx(90)
    assert found.memory_percent == pytest.approx(25)


def test_a_pod_without_metrics_is_listed_without_numbers(cluster: Target, tmp_path: Path) -> None:
    make_kubectl(tmp_path, "error: metrics not available yet\n", code=1)
    [found] = read_usage(cluster)
    assert (found.name, found.cpu_percent, found.memory_percent) == ("api-68d-x", None, None)


def test_an_odd_table_is_told(cluster: Target, tmp_path: Path) -> None:
    make_kubectl(tmp_path, "api-68d-x lots of CPU\n")
    with pytest.raises(ApiError, match="something else than pods"):
        read_usage(cluster)


def test_an_odd_list_of_pods_is_told(cluster: Target, tmp_path: Path) -> None:
    make_kubectl(tmp_path, "", pods='{"items": [{"metadata": {}}]}')
    with pytest.raises(ApiError, match="no list of pods"):
        read_usage(cluster)
