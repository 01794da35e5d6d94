"""What the Kubernetes API refuses, and that nothing is left of it: a rollout works after each."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests.staging.kubernetes_support import (
    DEPLOYMENT,
    NAME,
    REPOSITORY_OF_IMAGES,
    Kubectl,
    find_kubectl,
    send,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.embedded import Embedded

pytestmark = pytest.mark.staging
_PATH = f"/apis/apps/v1/namespaces/default/deployments/{NAME}"
_UNPROCESSABLE = 422


@dataclass(frozen=True)
class Refusal:
    """A command, and what is said against it (a regular expression)."""

    arguments: tuple[str, ...]
    says: str


def _patch(value: object, says: str, kind: str = "strategic") -> Refusal:
    arguments = ("patch", DEPLOYMENT, f"--type={kind}", "-p", json.dumps(value))
    return Refusal(arguments, says)


def _container(**fields: object) -> dict[str, Any]:
    template = {"spec": {"containers": [{"name": "app", **fields}]}}
    return {"spec": {"template": template}}


_STARTS = f'The Deployment "{NAME}" is invalid: '
REFUSALS = {
    "negative replicas": Refusal(("scale", DEPLOYMENT, "--replicas=-5"), "greater than or equal"),
    "replicas in words": Refusal(("scale", DEPLOYMENT, "--replicas=ten"), 'parsing "ten"'),
    "negative replicas in a patch": _patch(
        {"spec": {"replicas": -5}},
        f"{_STARTS}spec.replicas: Invalid value: -5: must be greater than or equal to 0",
        "merge",
    ),
    "replicas in words in a strategic patch": _patch(
        {"spec": {"replicas": "ten"}},
        r"The request is invalid: patch: Invalid value: .*: unrecognized type: int32",
    ),
    "replicas in words in a merge patch": _patch(
        {"spec": {"replicas": "ten"}},
        "cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32",
        "merge",
    ),
    "a broken number of replicas": _patch(
        {"spec": {"replicas": 1.5}}, "cannot unmarshal number", "merge"
    ),
    "too many replicas for an int32": _patch(
        {"spec": {"replicas": 2**40}}, "cannot unmarshal number 1099511627776", "merge"
    ),
    "memory in a unit of its own": Refusal(
        ("set", "resources", DEPLOYMENT, "--limits=memory=8GB"), "quantities must match"
    ),
    "memory in such a unit in a patch": _patch(
        _container(resources={"limits": {"memory": "8GB"}}), "unable to parse quantity's suffix"
    ),
    "negative memory": _patch(
        _container(resources={"limits": {"memory": "-1Gi"}, "requests": {"memory": "-1Gi"}}),
        r'limits\[memory\]: Invalid value: "-1Gi": must be greater than or equal to 0',
    ),
    "limits below the requests": Refusal(
        ("set", "resources", DEPLOYMENT, "--limits=cpu=1,memory=1Gi"),
        r'resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1',
    ),
    "an unknown resource": _patch(
        _container(resources={"limits": {"gpu": "1"}}), "must be a standard resource"
    ),
    "an unknown container": Refusal(
        ("set", "image", DEPLOYMENT, "sidecar=x:1"), 'unable to find container named "sidecar"'
    ),
    "no image": Refusal(
        ("set", "image", DEPLOYMENT, "app="), r"containers\[0\].image: Required value"
    ),
    "an image taken away": _patch(
        [{"op": "remove", "path": "/spec/template/spec/containers/0/image"}],
        r"containers\[0\].image: Required value",
        "json",
    ),
    "another selector": _patch(
        {"spec": {"selector": {"matchLabels": {"app": "other"}}}},
        r"spec.selector: Invalid value: .*: field is immutable",
    ),
    "labels that the selector does not match": _patch(
        {"spec": {"template": {"metadata": {"labels": {"app": "other"}}}}},
        r'map\[string\]string\{"app":"other"\}: `selector` does not match template `labels`',
    ),
    "a stale resource version": _patch(
        {"metadata": {"resourceVersion": "1"}, "spec": {"replicas": 3}},
        r"Error from server \(Conflict\): .* the object has been modified",
    ),
    "another number of replicas than expected": Refusal(
        ("scale", DEPLOYMENT, "--replicas=3", "--current-replicas=7"), "Expected replicas to be 7"
    ),
    "a second container": _patch(
        {"spec": {"template": {"spec": {"containers": [{"name": "b", "image": "x:1"}]}}}},
        "NotImplemented.*more than one container",
    ),
    "a volume": _patch(
        {"spec": {"template": {"spec": {"volumes": [{"name": "x", "emptyDir": {}}]}}}},
        "NotImplemented.*spec.template.spec.volumes",
    ),
    "a path that is not there": _patch(
        [{"op": "replace", "path": "/spec/nosuch/deep", "value": 1}], "missing path", "json"
    ),
    "a JSON patch that fails its test": _patch(
        [{"op": "test", "path": "/spec/replicas", "value": 9}], "test failed", "json"
    ),
    "no room for a rollout": _patch(
        {"spec": {"strategy": {"rollingUpdate": {"maxSurge": 0}}}},
        "maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0",
    ),
    "a share that is none": _patch(
        {"spec": {"strategy": {"rollingUpdate": {"maxSurge": "many"}}}}, "a valid percent string"
    ),
    "no time for a rollout": _patch(
        {"spec": {"progressDeadlineSeconds": 0}}, "must be greater than minReadySeconds"
    ),
    "an unknown strategy": _patch(
        {"spec": {"strategy": {"type": "Fast"}}}, 'Unsupported value: "Fast"'
    ),
    "a label that is none": Refusal(("label", DEPLOYMENT, "bad label=1"), "name part must consist"),
    "a revision that is not there": Refusal(
        ("rollout", "undo", DEPLOYMENT, "--to-revision=77"),
        "^error: unable to find specified revision 77 in history$",
    ),
    "a deployment that is not there": Refusal(
        ("get", "deployment", "nosuch"),
        r'^Error from server \(NotFound\): deployments.apps "nosuch" not found$',
    ),
    "deleting the deployment": Refusal(("delete", DEPLOYMENT), "MethodNotAllowed"),
    "creating one": Refusal(("create", "deployment", "x", "--image=y"), "not supported"),
    "nodes": Refusal(("get", "nodes"), """doesn't have a resource type "nodes\""""),
    "logs of an unknown container": Refusal(
        ("logs", DEPLOYMENT, "-c", "sidecar"), "container sidecar is not valid for pod"
    ),
    "logs of a container before the first": Refusal(
        ("logs", DEPLOYMENT, "--previous"),
        'previous terminated container "app" in pod .* not found',
    ),
    "a shell": Refusal(
        ("exec", DEPLOYMENT, "--", "bash", "-c", "id"),
        "bash -c id: not supported by embedded staging: a pod here runs ps",
    ),
    "a file beside /proc": Refusal(
        ("exec", DEPLOYMENT, "--", "cat", "/etc/passwd"), "cat /etc/passwd: not supported"
    ),
    "another process": Refusal(
        ("exec", DEPLOYMENT, "--", "py-spy", "dump", "--pid", "2"), "no process 2 here"
    ),
    "exec in an unknown container": Refusal(
        ("exec", DEPLOYMENT, "-c", "sidecar", "--", "ps"), "container sidecar is not valid for pod"
    ),
    "an unknown field to select by": Refusal(
        ("get", "pods", "--field-selector=spec.nonsense=1"), "field label not supported"
    ),
}


@pytest.fixture(scope="module")
def kubectl(embedded_staging: Embedded) -> Iterator[Kubectl]:
    """Return kubectl on a staging that goes through every refusal: none may poison it."""
    embedded_staging.reset("kubernetes")
    found = find_kubectl("1.32", embedded_staging)
    # Without the usual time before a pod's first probe, forty rollouts are quick.
    quick = _container(readinessProbe={"initialDelaySeconds": 0})
    found.ok("patch", DEPLOYMENT, "-p", json.dumps(quick))
    found.roll_out()
    yield found
    embedded_staging.reset()


def _described(kubectl: Kubectl) -> tuple[dict[str, Any], dict[str, Any]]:
    found = send(kubectl.staging, "GET", _PATH).json()
    return found["spec"], found["metadata"].get("labels", {})


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS)
def test_what_is_refused_leaves_nothing_behind(kubectl: Kubectl, refusal: Refusal) -> None:
    """The object stays as it was, and the next rollout goes through."""
    before = _described(kubectl)
    said = kubectl.refuse(*refusal.arguments)
    assert re.search(refusal.says, said.strip(), re.DOTALL | re.MULTILINE), said
    assert _described(kubectl) == before
    image = before[0]["template"]["spec"]["containers"][0]["image"]
    other = {"1.4.2": "1.4.3", "1.4.3": "1.4.2"}[image.rpartition(":")[2]]
    kubectl.ok("set", "image", DEPLOYMENT, f"app={REPOSITORY_OF_IMAGES}:{other}")
    assert kubectl.roll_out()[-1] == f'deployment "{NAME}" successfully rolled out'


def test_an_unknown_field_is_told_and_left_out(kubectl: Kubectl) -> None:
    """By default with a warning; with strict validation it is refused."""
    patch = json.dumps({"spec": {"nonsense": True}})
    done = kubectl.ok("patch", DEPLOYMENT, "-p", patch)
    assert 'Warning: unknown field "spec.nonsense"' in done.stderr
    assert "(no change)" in done.stdout
    options = {"headers": {"Content-Type": "application/merge-patch+json"}, "data": patch}
    answer = send(kubectl.staging, "PATCH", f"{_PATH}?fieldValidation=Strict", **options)
    assert answer.status_code == _UNPROCESSABLE
    assert 'unknown field \\"spec.nonsense\\"' in answer.text


def test_every_cause_is_told_at_once(kubectl: Kubectl) -> None:
    """A Status lists all fields that are wrong, for machines too."""
    patch = {"spec": {"replicas": -1, "minReadySeconds": -2}}
    options = {"headers": {"Content-Type": "application/merge-patch+json"}, "json": patch}
    answer = send(kubectl.staging, "PATCH", _PATH, **options)
    status = answer.json()
    assert (answer.status_code, status["reason"]) == (_UNPROCESSABLE, "Invalid")
    fields = [cause["field"] for cause in status["details"]["causes"]]
    assert fields == ["spec.replicas", "spec.minReadySeconds"]


def test_a_dry_run_changes_nothing(kubectl: Kubectl) -> None:
    """It is checked and shown, and not kept."""
    before = _described(kubectl)
    options = ("--dry-run=server", "--type=merge", "-o", "jsonpath={.spec.replicas}", "-p")
    assert kubectl.ok("patch", DEPLOYMENT, *options, '{"spec":{"replicas":9}}').stdout == "9"
    assert "must be greater" in kubectl.refuse(
        "patch", DEPLOYMENT, *options, '{"spec":{"replicas":-1}}'
    )
    assert _described(kubectl) == before


def test_two_writers_cannot_overwrite_each_other(kubectl: Kubectl) -> None:
    """The second of two replacements of the same version gets 409, and its text names why."""
    item = send(kubectl.staging, "GET", _PATH).json()
    first = {**item, "metadata": {**item["metadata"], "annotations": {"writer": "first"}}}
    assert send(kubectl.staging, "PUT", _PATH, json=first).ok
    answer = send(kubectl.staging, "PUT", _PATH, json=first)
    conflict = 409
    assert (answer.status_code, answer.json()["reason"]) == (conflict, "Conflict")
