"""Cloud Run's v2 face, driven by Google's own client over the wire."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from google.api_core import exceptions
from google.cloud import run_v2

from tests.staging.cloud_run_support import (
    FAST,
    NAME,
    REPOSITORY,
    SERVICE,
    CloudRunServer,
    wait_for,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LATEST = run_v2.TrafficTargetAllocationType.TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST
NAMED = run_v2.TrafficTargetAllocationType.TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION
SUCCEEDED = run_v2.Condition.State.CONDITION_SUCCEEDED
FAILED = run_v2.Condition.State.CONDITION_FAILED


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CloudRunServer]:
    server = CloudRunServer(_directory(tmp_path_factory))
    server.start()
    yield server
    server.stop()


def _directory(factory: pytest.TempPathFactory) -> Path:
    return factory.mktemp("cloud-run")


@pytest.fixture
def server(running: CloudRunServer) -> CloudRunServer:
    running.reset()
    return running


def _read(server: CloudRunServer) -> run_v2.Service:
    return server.clients()[0].get_service(name=NAME)


def _short(name: str) -> str:
    return name.rsplit("/", 1)[-1]


def _update(
    server: CloudRunServer, service: run_v2.Service, *paths: str, validate_only: bool = False
) -> run_v2.Service:
    request: dict[str, Any] = {"service": service, "validate_only": validate_only}
    if paths:
        request["update_mask"] = {"paths": list(paths)}
    operation = server.clients()[0].update_service(request=request)
    result: run_v2.Service = operation.result(timeout=20, polling=FAST)  # type: ignore[no-untyped-call]
    return result


def _pin(service: run_v2.Service, revision: str) -> None:
    service.traffic = [run_v2.TrafficTarget(type_=NAMED, revision=revision, percent=100)]


def test_baseline_reads_as_two_healthy_revisions_with_all_traffic_on_the_latest(
    server: CloudRunServer,
) -> None:
    service = _read(server)
    revisions = list(server.clients()[1].list_revisions(parent=NAME))
    assert [_short(item.name)[:-4] for item in revisions] == [
        f"{SERVICE}-00002",
        f"{SERVICE}-00001",
    ]
    assert [item.containers[0].image for item in revisions] == [
        f"{REPOSITORY}:1.4.2",
        f"{REPOSITORY}:1.4.1",
    ]
    assert service.latest_ready_revision == service.latest_created_revision == revisions[0].name
    assert service.terminal_condition.state == SUCCEEDED
    assert not service.reconciling
    assert [(item.type_, item.percent) for item in service.traffic] == [(LATEST, 100)]
    assert service.template.scaling.min_instance_count == 2
    assert service.template.timeout.seconds == 300
    assert len(server.instances(_short(revisions[0].name))) == 2
    assert server.instances(_short(revisions[1].name)) == []


@pytest.mark.parametrize("setting", ["scaling", "env", "timeout", "annotations", "image", "cpu"])
def test_any_template_change_makes_a_revision_that_takes_over_the_traffic(
    server: CloudRunServer, setting: str
) -> None:
    service = _read(server)
    before, template = service.latest_ready_revision, service.template
    if setting == "scaling":
        template.scaling.min_instance_count = 3
    elif setting == "env":
        template.containers[0].env.append(run_v2.EnvVar(name="METADATA_LOG_BATCH_SIZE", value="50"))
    elif setting == "timeout":
        template.timeout = {"seconds": 120}
    elif setting == "annotations":
        template.annotations = {"restarted-at": "now"}
    elif setting == "image":
        template.containers[0].image = f"{REPOSITORY}:1.4.3"
    else:
        template.containers[0].resources.limits = {"cpu": "4", "memory": "8Gi"}
    after = _update(server, service, "template")
    assert _short(after.latest_ready_revision).startswith(f"{SERVICE}-00003-")
    assert server.served() == {_short(after.latest_ready_revision): 100}
    assert server.splits == [server.served()]
    assert after.generation == service.generation + 1 == after.observed_generation
    wait_for(lambda: not server.instances(_short(before)), "the old instances are gone")
    count = 3 if setting == "scaling" else 2
    assert len(server.instances(_short(after.latest_ready_revision))) == count


def test_service_settings_make_no_revision(server: CloudRunServer) -> None:
    service = _read(server)
    service.labels = {"team": "data"}
    service.annotations = {"example.com/note": "kept"}
    service.scaling.min_instance_count = 4
    after = _update(server, service, "labels", "annotations", "scaling.min_instance_count")
    assert after.latest_created_revision == service.latest_created_revision
    assert dict(after.labels) == {"team": "data"}
    wait_for(lambda: len(server.instances()) == 4, "the service-level minimum holds")
    assert server.v1()["metadata"]["annotations"]["run.googleapis.com/minScale"] == "4"


def test_masked_update_leaves_the_rest_alone_and_an_unmasked_one_replaces_all(
    server: CloudRunServer,
) -> None:
    service = _read(server)
    service.description = "not in the mask"
    service.labels = {"team": "data"}
    assert _update(server, service, "labels").description == ""
    whole = _read(server)
    del whole.labels["team"]
    whole.description = "a pipeline"
    whole.scaling.min_instance_count = 1
    after = _update(server, whole)
    assert (after.description, dict(after.labels)) == ("a pipeline", {})
    assert after.latest_created_revision == service.latest_created_revision


def test_stale_etag_is_a_conflict_and_changes_nothing(server: CloudRunServer) -> None:
    stale = _read(server)
    fresh = _read(server)
    fresh.labels = {"by": "someone-else"}
    _update(server, fresh, "labels")
    stale.template.scaling.max_instance_count = 20
    with pytest.raises(exceptions.Conflict, match="Conflict for resource"):
        _update(server, stale, "template.scaling.max_instance_count")
    assert _read(server).template.scaling.max_instance_count == 10


def test_validate_only_checks_and_changes_nothing(server: CloudRunServer) -> None:
    service = _read(server)
    service.template.scaling.max_instance_count = 20
    preview = _update(server, service, "template.scaling", validate_only=True)
    assert preview.template.scaling.max_instance_count == 20
    now = _read(server)
    assert (now.generation, now.etag) == (service.generation, service.etag)
    assert now.latest_created_revision == service.latest_created_revision
    service.template.scaling.min_instance_count = 30
    with pytest.raises(exceptions.BadRequest, match="minimum"):
        _update(server, service, "template.scaling", validate_only=True)


def test_revision_that_never_starts_fails_and_leaves_the_traffic_where_it_was(
    server: CloudRunServer,
) -> None:
    service = _read(server)
    served = server.served()
    service.template.containers[0].image = f"{REPOSITORY}:1.5.0-crash-at-start"
    with pytest.raises(exceptions.FailedPrecondition, match="failed to start and listen") as caught:
        _update(server, service, "template.containers")
    now = _read(server)
    failed = _short(now.latest_created_revision)
    assert f"Revision '{failed}' is not ready and cannot serve traffic." in str(caught.value)
    assert "defined provided by the PORT=8000" in str(caught.value)
    assert now.latest_ready_revision == service.latest_ready_revision
    assert now.terminal_condition.state == FAILED
    assert not now.reconciling
    assert now.observed_generation == now.generation
    assert server.served() == served
    assert len(server.instances(_short(service.latest_ready_revision))) == 2
    assert server.instances(failed) == []
    assert server.splits == []
    texts = [entry["textPayload"] for entry in server.log.entries]
    assert "Container called exit(1)." in texts


def test_unknown_image_fails_the_revision(server: CloudRunServer) -> None:
    service = _read(server)
    service.template.containers[0].image = f"{REPOSITORY}:9.9.9"
    with pytest.raises(exceptions.FailedPrecondition, match=r"Image '.*:9\.9\.9' not found"):
        _update(server, service, "template.containers")


def test_pinned_traffic_stays_pinned_through_a_later_deployment(server: CloudRunServer) -> None:
    service = _read(server)
    first = next(name for name in _names(server) if "-00001-" in name)
    _pin(service, first)
    _update(server, service, "traffic")
    assert server.served() == {first: 100}
    service = _read(server)
    service.template.scaling.min_instance_count = 5
    after = _update(server, service, "template.scaling")
    assert server.served() == {first: 100}
    newest = _short(after.latest_ready_revision)
    assert "-00003-" in newest
    assert len(server.instances(first)) == 2
    wait_for(lambda: not server.instances(newest), "a revision without traffic has no instances")
    after.traffic = [run_v2.TrafficTarget(type_=LATEST, percent=100)]
    _update(server, after, "traffic")
    assert server.served() == {newest: 100}
    assert len(server.instances(newest)) == 5


def _names(server: CloudRunServer) -> list[str]:
    return [_short(item.name) for item in server.clients()[1].list_revisions(parent=NAME)]


def test_one_patch_makes_a_revision_and_pins_the_traffic_to_it(server: CloudRunServer) -> None:
    service = _read(server)
    service.template.revision = f"{SERVICE}-restart-1"
    service.template.annotations = {"restarted-at": "now"}
    _pin(service, service.template.revision)
    after = _update(server, service, "template", "traffic")
    assert server.served() == {f"{SERVICE}-restart-1": 100}
    assert after.terminal_condition.state == SUCCEEDED
    after.template.annotations = {"restarted-at": "later"}
    with pytest.raises(exceptions.Conflict, match="different configuration already exists"):
        _update(server, after, "template")


def test_rollback_after_a_failed_revision_moves_the_traffic_and_still_reports_the_failure(
    server: CloudRunServer,
) -> None:
    service = _read(server)
    service.template.containers[0].image = f"{REPOSITORY}:1.5.0-crash-at-start"
    with pytest.raises(exceptions.FailedPrecondition):
        _update(server, service, "template.containers")
    first = next(name for name in _names(server) if "-00001-" in name)
    service = _read(server)
    _pin(service, first)
    with pytest.raises(exceptions.FailedPrecondition, match="cannot serve traffic"):
        _update(server, service, "traffic")
    assert server.served() == {first: 100}
    assert _read(server).terminal_condition.state == FAILED


def test_traffic_to_a_missing_revision_is_accepted_and_fails_as_the_real_operation_does(
    server: CloudRunServer,
) -> None:
    service = _read(server)
    served = server.served()
    _pin(service, f"{SERVICE}-00099-zzz")
    with pytest.raises(exceptions.InternalServerError, match="does not exist or is deleted"):
        _update(server, service, "traffic")
    assert server.served() == served


def test_split_and_tags_keep_minimum_instances_running(server: CloudRunServer) -> None:
    service = _read(server)
    first = next(name for name in _names(server) if "-00001-" in name)
    service.traffic = [
        run_v2.TrafficTarget(type_=LATEST, percent=100),
        run_v2.TrafficTarget(type_=NAMED, revision=first, tag="old"),
    ]
    after = _update(server, service, "traffic")
    assert [(item.percent, item.tag) for item in after.traffic_statuses] == [(100, ""), (0, "old")]
    wait_for(lambda: len(server.instances(first)) == 2, "a tag costs minimum instances")
    after.traffic = [
        run_v2.TrafficTarget(type_=LATEST, percent=80),
        run_v2.TrafficTarget(type_=NAMED, revision=first, percent=20),
    ]
    _update(server, after, "traffic")
    assert server.splits[-1] == {_short(after.latest_ready_revision): 80, first: 20}


def test_rollback_clears_the_failure_when_the_switch_says_so(tmp_path: Path) -> None:
    server = CloudRunServer(tmp_path, rollback_clears_failure=True)
    server.start()
    try:
        service = _read(server)
        service.template.containers[0].image = f"{REPOSITORY}:1.5.0-crash-at-start"
        with pytest.raises(exceptions.FailedPrecondition):
            _update(server, service, "template.containers")
        service = _read(server)
        _pin(service, next(name for name in _names(server) if "-00001-" in name))
        after = _update(server, service, "traffic")
        assert after.terminal_condition.state == SUCCEEDED
    finally:
        server.stop()
