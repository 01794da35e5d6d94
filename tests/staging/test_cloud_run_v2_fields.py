"""What Cloud Run's v2 face refuses, and how it reads and writes fields."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from google.api_core import exceptions

from tests.staging.cloud_run_support import NAME, PROJECT, REGION, SERVICE, CloudRunServer

if TYPE_CHECKING:
    pass


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"scaling": {"minInstanceCount": 30, "maxInstanceCount": 20}}, "minimum"),
        ({"scaling": {"minInstanceCount": -1}}, "between 0 and"),
        ({"timeout": "4000s"}, "between 1 and 3600"),
        ({"maxInstanceRequestConcurrency": 2000}, "concurrency"),
        ({"revision": "other-name"}, "start with"),
        ({"revision": f"{SERVICE}-{'x' * 50}"}, "63"),
        ({"annotations": {"run.googleapis.com/x": "y"}}, "reserves"),
        ({"nonsense": 1}, 'Unknown name "nonsense"'),
        ({"timeout": 300}, "Duration"),
    ],
)
def test_impossible_template_is_refused_and_changes_nothing(
    server: CloudRunServer, change: dict[str, Any], text: str
) -> None:
    body = server.v2()
    body["template"].update(change)
    answer = server.ask("PATCH", f"/v2/{NAME}?updateMask=template", json=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["status"] == "INVALID_ARGUMENT"
    assert text in answer.json()["error"]["message"]
    assert server.v2()["etag"] == body["etag"]


@pytest.mark.parametrize(
    ("limits", "ok"),
    [
        ({"cpu": "8", "memory": "512Mi"}, False),
        ({"cpu": "1", "memory": "8Gi"}, False),
        ({"cpu": "3", "memory": "4Gi"}, False),
        ({"cpu": "0.5", "memory": "512Mi"}, False),
        ({"cpu": "2", "memory": "lots"}, False),
        ({"cpu": "4000m", "memory": "16Gi"}, True),
    ],
)
def test_cpu_and_memory_must_fit_each_other(
    server: CloudRunServer, limits: dict[str, str], ok: bool
) -> None:
    body = server.v2()
    body["template"]["containers"][0]["resources"]["limits"] = limits
    path = f"/v2/{NAME}?updateMask=template.containers&validateOnly=true"
    answer = server.ask("PATCH", path, json=body)
    assert answer.status_code == (200 if ok else 400), answer.text


def test_what_the_twin_does_not_have_is_refused_by_name(server: CloudRunServer) -> None:
    body = server.v2()
    body["template"]["vpcAccess"] = {"connector": "x"}
    answers = {
        "field": server.ask("PATCH", f"/v2/{NAME}?updateMask=template", json=body),
        "mask": server.ask("PATCH", f"/v2/{NAME}?updateMask=template.volumes", json={}),
        "create": server.ask("POST", f"/v2/projects/{PROJECT}/locations/{REGION}/services"),
        "delete": server.ask("DELETE", f"/v2/{NAME}"),
        "policy": server.ask("GET", f"/v2/{NAME}:getIamPolicy"),
        "missing": server.ask("PATCH", f"/v2/{NAME}?allowMissing=true", json={}),
        "fields": server.ask("GET", f"/v2/{NAME}?fields=uri"),
    }
    for name, answer in answers.items():
        assert answer.status_code == 501, name
        message = answer.json()["error"]["message"]
        assert message.startswith("not supported by embedded staging: "), name


@pytest.mark.parametrize(
    ("query", "body"),
    [
        ("updateMask=nonsense", {}),
        ("updateMask=uri", {}),
        ("updateMask=template.containers.image", {}),
        ("updateMask=labels&surprise=1", {}),
        ("updateMask=labels", {"labels": {"a": 1}}),
        ("updateMask=labels", {"labels": []}),
        ("updateMask=template.timeout", {"template": {"timeout": "0.5s"}}),
        ("updateMask=traffic", {"traffic": {}}),
        ("updateMask=traffic", {"traffic": [{"type": 9}]}),
        ("updateMask=traffic", {"traffic": [{"type": 1, "percent": 90}]}),
        ("updateMask=traffic", {"traffic": [{"type": 2, "percent": 100}]}),
        ("", {}),
        ("updateMask=labels&validateOnly=perhaps", {}),
    ],
)
def test_request_that_cannot_be_understood_is_refused(
    server: CloudRunServer, query: str, body: dict[str, Any]
) -> None:
    answer = server.ask("PATCH", f"/v2/{NAME}?{query}", json=body)
    assert answer.status_code == 400, answer.text
    assert server.v2()["generation"] == "2"


def test_enums_are_numbers_on_request_and_masks_may_be_snake_case(server: CloudRunServer) -> None:
    numbers = server.ask("GET", f"/v2/{NAME}?$alt=json;enum-encoding=int").json()
    assert numbers["traffic"][0]["type"] == 1
    assert numbers["terminalCondition"]["state"] == 4
    assert server.v2()["traffic"][0]["type"] == "TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST"
    query = "updateMask=template.scaling.max_instance_count"
    body = {"template": {"scaling": {"max_instance_count": "12"}}}
    operation = server.ask("PATCH", f"/v2/{NAME}?{query}", json=body).json()
    done = server.ask("POST", f"/v2/{operation['name']}:wait", json={"timeout": "10s"}).json()
    assert done["response"]["template"]["scaling"] == {
        "minInstanceCount": 2,
        "maxInstanceCount": 12,
    }


def test_absent_things_are_not_found(server: CloudRunServer) -> None:
    services, revisions = server.clients()
    with pytest.raises(exceptions.NotFound, match="of kind 'SERVICE'"):
        services.get_service(name=f"{NAME}-not")
    with pytest.raises(exceptions.NotFound, match="of kind 'REVISION'"):
        revisions.get_revision(name=f"{NAME}/revisions/none")
    with pytest.raises(exceptions.NotFound):
        services.get_service(name=NAME.replace(REGION, "europe-west1"))
    with pytest.raises(exceptions.Forbidden):
        services.get_service(name=NAME.replace(PROJECT, "another"))
    assert (
        server.ask("GET", f"/v2/projects/{PROJECT}/locations/{REGION}/operations/x").status_code
        == 404
    )
