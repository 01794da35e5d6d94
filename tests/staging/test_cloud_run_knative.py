"""Cloud Run's Knative v1 face over the wire, and that both faces show one store."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest

from tests.staging.cloud_run_support import (
    NUMBER,
    PROJECT,
    REGION,
    REPOSITORY,
    SERVICE,
    CloudRunServer,
    wait_for,
)

if TYPE_CHECKING:
    pass

NAMESPACE = f"/apis/serving.knative.dev/v1/namespaces/{PROJECT}"


def _ready(service: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = next(
        item for item in service["status"]["conditions"] if item["type"] == "Ready"
    )
    return found


def _settle(server: CloudRunServer) -> dict[str, Any]:
    """Poll as gcloud does, and return the service when its newest generation is observed."""

    def look() -> dict[str, Any] | None:
        service = server.v1()
        observed = service["status"]["observedGeneration"] == service["metadata"]["generation"]
        return service if observed and _ready(service)["status"] != "Unknown" else None

    return wait_for(look, "the newest generation is observed")


def _change(server: CloudRunServer, body: dict[str, Any]) -> dict[str, Any]:
    answer = server.put(body)
    assert answer.status_code == 200, answer.text
    return _settle(server)


def test_service_has_what_gcloud_reads(server: CloudRunServer) -> None:
    service = server.v1()
    metadata, status = service["metadata"], service["status"]
    assert (service["apiVersion"], service["kind"]) == ("serving.knative.dev/v1", "Service")
    assert (metadata["name"], metadata["namespace"]) == (SERVICE, NUMBER)
    assert metadata["labels"]["cloud.googleapis.com/location"] == REGION
    assert metadata["generation"] == status["observedGeneration"] == 2
    annotations = service["spec"]["template"]["metadata"]["annotations"]
    assert annotations["autoscaling.knative.dev/minScale"] == "2"
    assert annotations["autoscaling.knative.dev/maxScale"] == "10"
    assert {item["type"]: item["status"] for item in status["conditions"]} == dict.fromkeys(
        ["Ready", "ConfigurationsReady", "RoutesReady"], "True"
    )
    assert service["spec"]["traffic"] == [{"latestRevision": True, "percent": 100}]
    assert status["traffic"][0]["revisionName"] == status["latestReadyRevisionName"]
    by_number = server.ask("GET", f"{NAMESPACE.replace(PROJECT, NUMBER)}/services/{SERVICE}")
    assert by_number.json() == service


def test_unchanged_replace_makes_nothing_new(server: CloudRunServer) -> None:
    before = server.v1()
    after = _change(server, copy.deepcopy(before))
    assert after == before


def test_replace_rolls_a_new_revision_out_and_takes_its_time(server: CloudRunServer) -> None:
    body = server.v1()
    annotations = body["spec"]["template"]["metadata"]["annotations"]
    annotations["autoscaling.knative.dev/minScale"] = "4"
    answer = server.put(body).json()
    assert _ready(answer)["status"] == "Unknown"
    assert answer["status"]["observedGeneration"] < answer["metadata"]["generation"]
    assert answer["status"]["traffic"] == body["status"]["traffic"]
    after = _settle(server)
    assert _ready(after)["status"] == "True"
    name = after["status"]["latestReadyRevisionName"]
    assert server.served() == {name: 100}
    assert len(server.instances(name)) == 4
    assert server.v2()["template"]["scaling"] == {"minInstanceCount": 4, "maxInstanceCount": 10}
    retired = server.v1(f"revisions/{body['status']['latestReadyRevisionName']}")
    conditions = {item["type"]: item for item in retired["status"]["conditions"]}
    assert conditions["Ready"]["status"] == "True"
    assert conditions["Active"]["status"] == "False"


def test_failing_revision_says_why_and_leaves_the_traffic(server: CloudRunServer) -> None:
    body = server.v1()
    served = server.served()
    container = body["spec"]["template"]["spec"]["containers"][0]
    container["image"] = f"{REPOSITORY}:1.5.0-crash-at-start"
    after = _change(server, body)
    name = after["status"]["latestCreatedRevisionName"]
    assert _ready(after)["status"] == "False"
    expected = f"Revision '{name}' is not ready and cannot serve traffic. The user-provided"
    assert _ready(after)["message"].startswith(expected)
    assert server.served() == served
    failed = server.v1(f"revisions/{name}")
    assert _ready(failed)["status"] == "False"
    assert server.v2()["terminalCondition"]["state"] == "CONDITION_FAILED"


def test_stale_resource_version_is_a_conflict(server: CloudRunServer) -> None:
    stale = server.v1()
    fresh = copy.deepcopy(stale)
    fresh["metadata"]["labels"]["by"] = "someone-else"
    _change(server, fresh)
    answer = server.put(stale)
    assert answer.status_code == 409
    assert answer.json()["error"]["status"] == "ABORTED"
    current = server.v1()["metadata"]["resourceVersion"]
    given = stale["metadata"]["resourceVersion"]
    assert answer.json()["error"]["message"] == (
        f"Conflict for resource '{SERVICE}': version '{given}' was specified"
        f" but current version is '{current}'."
    )


def test_dry_run_validates_and_changes_nothing(server: CloudRunServer) -> None:
    before = server.v1()
    body = copy.deepcopy(before)
    body["spec"]["template"]["spec"]["timeoutSeconds"] = 100
    answer = server.put(body, "?dryRun=all")
    assert answer.json()["spec"]["template"]["spec"]["timeoutSeconds"] == 100
    assert server.v1() == before
    body["spec"]["template"]["spec"]["timeoutSeconds"] = 9999
    assert server.put(body, "?dryRun=all").status_code == 400
    assert server.put(before, "?dryRun=some").status_code == 400


def test_both_faces_show_each_others_changes(server: CloudRunServer) -> None:
    body = server.v1()
    body["metadata"]["labels"]["team"] = "data"
    body["metadata"]["annotations"] |= {
        "run.googleapis.com/minScale": "3",
        "run.googleapis.com/ingress": "internal",
        "example.com/note": "mine",
    }
    body["spec"]["template"]["metadata"].setdefault("labels", {})["client.knative.dev/nonce"] = "ab"
    body["spec"]["template"]["metadata"]["annotations"] |= {
        "run.googleapis.com/cpu-throttling": "false",
        "run.googleapis.com/execution-environment": "gen2",
    }
    body["spec"]["template"]["spec"]["containers"][0]["env"].append({"name": "A", "value": "b;$c"})
    after = _change(server, body)
    seen = server.v2()
    assert seen["labels"] == {"team": "data"}
    assert seen["annotations"] == {"example.com/note": "mine"}
    assert seen["scaling"] == {"minInstanceCount": 3}
    assert seen["ingress"] == "INGRESS_TRAFFIC_INTERNAL_ONLY"
    template = seen["template"]
    assert template["executionEnvironment"] == "EXECUTION_ENVIRONMENT_GEN2"
    assert template["containers"][0]["resources"]["cpuIdle"] is False
    assert template["containers"][0]["env"][-1] == {"name": "A", "value": "b;$c"}
    assert seen["etag"].strip('"') == after["metadata"]["resourceVersion"]
    path = f"/v2/projects/{PROJECT}/locations/{REGION}/services/{SERVICE}?updateMask=labels"
    server.ask("PATCH", path, json={"labels": {"team": "core"}})
    assert server.v1()["metadata"]["labels"]["team"] == "core"
    assert server.v1()["spec"] == after["spec"]


def test_revisions_are_selected_by_label_newest_first(server: CloudRunServer) -> None:
    listed = server.v1(f"revisions?labelSelector=serving.knative.dev/service = {SERVICE}")
    assert listed["kind"] == "RevisionList"
    assert "metadata" in listed
    names = [item["metadata"]["name"][-9:-4] for item in listed["items"]]
    assert names == ["00002", "00001"]
    assert server.v1("revisions?labelSelector=client.knative.dev/nonce = nope")["items"] == []
    first = server.v1("revisions?limit=1")
    assert len(first["items"]) == 1
    rest = server.v1(f"revisions?limit=1&continue={first['metadata']['continue']}")
    assert rest["items"][0]["metadata"]["name"] != first["items"][0]["metadata"]["name"]


def test_digest_stands_for_the_image(server: CloudRunServer) -> None:
    body = server.v1()
    name = body["status"]["latestReadyRevisionName"]
    digest = server.v1(f"revisions/{name}")["status"]["imageDigest"]
    assert digest.startswith(f"{REPOSITORY}@sha256:")
    body["spec"]["template"]["spec"]["containers"][0]["image"] = digest
    after = _change(server, body)
    assert _ready(after)["status"] == "True"
    new = after["status"]["latestReadyRevisionName"]
    assert {item.spec.image for item in server.instances(new)} == {f"{REPOSITORY}:1.4.2"}


def test_services_are_listed_over_all_regions_and_in_one(server: CloudRunServer) -> None:
    for path in (f"/v1/projects/{PROJECT}/locations/-/services", f"{NAMESPACE}/services"):
        listed = server.ask("GET", path).json()
        assert listed["kind"] == "ServiceList"
        assert [item["metadata"]["name"] for item in listed["items"]] == [SERVICE]


@pytest.mark.parametrize(
    ("place", "value", "code", "text"),
    [
        ("metadata.annotations", {"run.googleapis.com/binary-authorization": "x"}, 501, "binary"),
        ("metadata.annotations", {"run.googleapis.com/minScale": "many"}, 400, "number"),
        ("metadata.annotations", {"run.googleapis.com/ingress": "x"}, 400, "not one of"),
        ("metadata.labels", {"Bad Key": "x"}, 400, "no valid key"),
        ("metadata", {"name": "other"}, 400, "as in the address"),
        ("metadata", {"namespace": "other"}, 400, "not the project"),
        ("spec", {"extra": 1}, 400, 'Unknown name "extra"'),
        ("spec", {"traffic": [{"revisionName": "a", "percent": 50}]}, 400, "sum to 100"),
        ("spec", {"traffic": [{"percent": 100}]}, 400, "either"),
        ("spec.template.spec", {"containers": []}, 400, "at least one container"),
        ("spec.template.spec", {"volumes": [{"name": "v"}]}, 501, "volumes"),
        ("spec.template.spec", {"timeoutSeconds": 0.5}, 400, "integer"),
    ],
)
def test_what_cannot_be_or_is_not_here_is_refused(
    server: CloudRunServer, place: str, value: dict[str, Any], code: int, text: str
) -> None:
    before = server.v1()
    body = copy.deepcopy(before)
    part = body
    for name in place.split("."):
        part = part[name]
    part.update(value)
    answer = server.put(body)
    assert answer.status_code == code, answer.text
    assert text in answer.json()["error"]["message"]
    assert server.v1() == before


@pytest.mark.parametrize(
    "env", [[{"name": "PORT", "value": "1"}], [{"name": "A"}, {"name": "A"}], [{"value": "x"}]]
)
def test_environment_must_make_sense(server: CloudRunServer, env: list[dict[str, str]]) -> None:
    body = server.v1()
    body["spec"]["template"]["spec"]["containers"][0]["env"] = env
    assert server.put(body).status_code == 400


def test_other_verbs_and_paths_are_refused_by_name(server: CloudRunServer) -> None:
    for method, path in (
        ("DELETE", f"{NAMESPACE}/services/{SERVICE}"),
        ("POST", f"{NAMESPACE}/services"),
        ("GET", f"{NAMESPACE}/configurations"),
        ("GET", f"/apis/domains.cloudrun.com/v1/namespaces/{PROJECT}/domainmappings"),
        ("GET", f"/v1/projects/{PROJECT}/locations/{REGION}/services/{SERVICE}:getIamPolicy"),
    ):
        answer = server.ask(method, path)
        assert answer.status_code == 501, path
        assert path in answer.json()["error"]["message"]


def test_host_of_another_region_has_no_such_service(server: CloudRunServer) -> None:
    path = f"{NAMESPACE}/services/{SERVICE}"
    for region, code in ((REGION, 200), ("europe-west1", 404)):
        host = {"Host": f"{region}-run.googleapis.com"}
        assert server.ask("GET", path, headers=host).status_code == code


def test_gcloud_finds_the_project_and_the_api(server: CloudRunServer) -> None:
    project = server.ask("GET", f"/v1/projects/{PROJECT}").json()
    assert project["projectNumber"] == NUMBER
    api = server.ask("GET", f"/v1/projects/{PROJECT}/services/run.googleapis.com").json()
    assert api["state"] == "ENABLED"


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b"null", b"\xff", b"[" * 100_000])
def test_body_that_is_no_object_is_refused(server: CloudRunServer, data: bytes) -> None:
    answer = server.ask("PUT", f"{NAMESPACE}/services/{SERVICE}", data=data)
    assert answer.status_code == 400
