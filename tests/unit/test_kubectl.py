"""kubectl as reads run it: only reads, only there, never longer than the deadline."""

from __future__ import annotations

import time
from pathlib import Path

import psutil
import pytest

from checks.errors import ApiError, RunbookError, UnreachableError, UsageError
from checks.kubectl import execute, read_json, refuse_change, run_kubectl
from tests.unit.kubernetes_json import cluster_api as api
from tests.unit.kubernetes_json import target_in
from tests.unit.plain_server import serve_replies
from tests.unit.test_target import make_target


@pytest.mark.parametrize(
    "line",
    [
        "get deployment api -o json",
        "top pods",
        "describe deployment api",
        "logs api-1 --tail=5",
        "rollout status deployment/api --timeout=5s",
        "rollout history deployment/api",
        "exec api-1 -c app -- ps aux",
        "exec api-1 -- py-spy dump --pid 1 --server",
    ],
)
def test_a_read_may_run(line: str) -> None:
    refuse_change(line.split())


@pytest.mark.parametrize(
    "line",
    [
        "",
        "delete pod api-1",
        "scale deployment api --replicas=0",
        "rollout restart deployment/api",
        "rollout undo deployment/api",
        "rollout",
        "exec api-1 -- sh -c ls",
        "exec api-1 -- psql",
        "exec api-1 ps",
        "exec api-1",
        "patch deployment api",
        "annotate pod api-1 a=b",
        "--kubeconfig=x get pods",
        "get pods --context=other",
        "get pods --kubeconfig other",
        "get pods --namespace=kube-system",
        "get pods -nkube-system",
        "get pods -A",
        "get pods -shttp://127.0.0.1:1",
        "get pods --as=admin",
        "get pods --token=x",
    ],
)
def test_what_may_change_something_or_leads_elsewhere_never_runs(line: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no read") as caught:
        run_kubectl(target_in(tmp_path), line.split())
    assert caught.value.next_step


DEPLOYMENT = "/apis/apps/v1/namespaces/default/deployments/api"


def test_the_real_kubectl_reads_an_object_of_the_named_cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the caller's own environment names does not matter."""
    monkeypatch.setenv("KUBECONFIG", "/nowhere")
    replies = api(
        {DEPLOYMENT: {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "api"}}}
    )
    with serve_replies(replies) as server:
        found = read_json(target_in(tmp_path, server.url), ["get", "deployment", "api"])
    assert found["metadata"]["name"] == "api"
    assert (tmp_path / "kubectl-cache").is_dir()


def test_what_is_not_there_is_told_as_not_found(tmp_path: Path) -> None:
    with serve_replies(api({})) as server, pytest.raises(ApiError) as caught:
        read_json(target_in(tmp_path, server.url), ["get", "deployment", "api"])
    assert caught.value.status == 404
    assert "embedded, namespace default" in str(caught.value)


def test_a_cluster_that_is_away_is_unreachable(tmp_path: Path) -> None:
    with pytest.raises(UnreachableError, match="does not answer") as caught:
        read_json(target_in(tmp_path), ["get", "deployment", "api"])
    assert "invoke.yaml" in caught.value.next_step


def test_without_a_named_cluster_nothing_is_asked() -> None:
    with pytest.raises(UsageError, match="names no Kubernetes cluster"):
        run_kubectl(make_target(), ["get", "pods"])


def test_without_kubectl_the_way_to_install_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    with pytest.raises(UsageError, match="not installed") as caught:
        run_kubectl(target_in(tmp_path), ["get", "pods"])
    assert "gcloud components install kubectl" in caught.value.next_step


def test_at_the_deadline_it_is_killed_with_its_children(tmp_path: Path) -> None:
    """A dispatcher's child would keep the pipes open, and the caller waiting."""
    script = tmp_path / "kubectl"
    script.write_text("#!/bin/sh\nsleep 97.25 &\nwait\n")
    script.chmod(0o700)
    started = time.monotonic()
    with pytest.raises(UnreachableError, match="no answer within"):
        execute([str(script)], {"PATH": "/usr/bin:/bin"}, 0.3)
    assert time.monotonic() - started < 5
    lines = [p.info["cmdline"] or [] for p in psutil.process_iter(["cmdline"])]
    assert ["sleep", "97.25"] not in lines


def test_a_failure_keeps_kubectls_words(tmp_path: Path) -> None:
    with serve_replies(api({})) as server, pytest.raises(RunbookError) as caught:
        run_kubectl(target_in(tmp_path, server.url), ["get", "unknown-kind"])
    assert "doesn't have a resource type" in str(caught.value)
