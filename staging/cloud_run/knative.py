"""The Knative v1 face, which gcloud speaks: serving.knative.dev/v1 JSON to and from the model."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from staging.cloud_run.errors import invalid, unsupported
from staging.cloud_run.models import (
    DEFAULT_CONCURRENCY,
    DEFAULT_PORT,
    DEFAULT_TIMEOUT_S,
    Container,
    ServiceScaling,
    ServiceSpec,
    Template,
    TrafficTarget,
)
from staging.cloud_run.v2 import is_reserved, parse_probe

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

LOCATION_LABEL = "cloud.googleapis.com/location"
_RUN = "run.googleapis.com/"
MIN_SCALE, MAX_SCALE = "autoscaling.knative.dev/minScale", "autoscaling.knative.dev/maxScale"
INGRESS = {
    "all": "INGRESS_TRAFFIC_ALL",
    "internal": "INGRESS_TRAFFIC_INTERNAL_ONLY",
    "internal-and-cloud-load-balancing": "INGRESS_TRAFFIC_INTERNAL_LOAD_BALANCER",
    "none": "INGRESS_TRAFFIC_NONE",
}
EXECUTION = {"gen1": "EXECUTION_ENVIRONMENT_GEN1", "gen2": "EXECUTION_ENVIRONMENT_GEN2"}
# The server writes these; clients that send the whole object back send them too.
_OUTPUT_ANNOTATIONS = frozenset(
    {
        "serving.knative.dev/creator",
        "serving.knative.dev/lastModifier",
        f"{_RUN}ingress-status",
        f"{_RUN}urls",
        f"{_RUN}operation-id",
    }
)


class _Annotations:
    """Takes the annotations that are really settings out of a map, and refuses unknown ones."""

    def __init__(self, items: Mapping[str, str], path: str) -> None:
        self._left = {k: v for k, v in items.items() if k not in _OUTPUT_ANNOTATIONS}
        self._path = path

    def text(self, key: str, default: str = "") -> str:
        return self._left.pop(key, default)

    def number(self, key: str) -> int:
        value = self._left.pop(key, "0")
        if not re.fullmatch(r"\d{1,9}", value):
            raise invalid(f"{self._path}[{key}]: must be a number of instances, not '{value}'.")
        return int(value)

    def flag(self, key: str, *, default: bool) -> bool:
        value = self._left.pop(key, str(default).lower())
        if value not in ("true", "false"):
            raise invalid(f"{self._path}[{key}]: must be 'true' or 'false', not '{value}'.")
        return value == "true"

    def choice(self, key: str, names: Mapping[str, str], default: str) -> str:
        value = self._left.pop(key, None)
        if value is not None and value not in names:
            raise invalid(f"{self._path}[{key}]: '{value}' is not one of {', '.join(names)}.")
        return default if value is None else names[value]

    def rest(self) -> dict[str, str]:
        for key in self._left:
            if is_reserved(key):
                raise unsupported(f"{self._path}[{key}]")
        return self._left


def parse_service(message: Mapping[str, Any]) -> ServiceSpec:
    """Return the spec that a v1 Service asks for; `message` was read by the SERVICE table.

    Raises:
        CloudRunError: INVALID_ARGUMENT for a value out of range or a missing part,
            UNIMPLEMENTED for annotations of Google's domains that the twin does not have.
    """
    metadata, spec = message.get("metadata", {}), message.get("spec", {})
    own = _Annotations(metadata.get("annotations", {}), "metadata.annotations")
    mode = own.choice(
        f"{_RUN}scalingMode", {"automatic": "automatic", "manual": "manual"}, "automatic"
    )
    return ServiceSpec(
        template=_parse_template(spec.get("template", {})),
        traffic=tuple(_parse_target(item) for item in spec.get("traffic", []))
        or (TrafficTarget(latest=True, percent=100),),
        labels=_parse_labels(metadata.get("labels", {}), "metadata.labels"),
        scaling=ServiceScaling(
            min_instances=own.number(f"{_RUN}minScale"),
            max_instances=own.number(f"{_RUN}maxScale"),
            manual=mode == "manual",
            manual_instances=own.number(f"{_RUN}manualInstanceCount"),
        ),
        description=own.text(f"{_RUN}description"),
        ingress=own.choice(f"{_RUN}ingress", INGRESS, INGRESS["all"]),
        launch_stage=own.text(f"{_RUN}launch-stage", "GA"),
        client=own.text(f"{_RUN}client-name"),
        client_version=own.text(f"{_RUN}client-version"),
        annotations=own.rest(),
    )


def _parse_labels(items: Mapping[str, str], path: str) -> dict[str, str]:
    labels = {key: value for key, value in items.items() if key != LOCATION_LABEL}
    for key in labels:
        if is_reserved(key):
            raise unsupported(f"{path}[{key}]")
    return labels


def _parse_template(message: Mapping[str, Any]) -> Template:
    metadata, spec = message.get("metadata", {}), message.get("spec", {})
    containers = spec.get("containers", [])
    if not containers:
        raise invalid("spec.template.spec.containers: must have at least one container.")
    if len(containers) > 1:
        raise unsupported("spec.template.spec.containers: more than one container")
    own = _Annotations(metadata.get("annotations", {}), "spec.template.metadata.annotations")
    return Template(
        container=_parse_container(containers[0], own),
        name=metadata.get("name", ""),
        labels=_parse_labels(metadata.get("labels", {}), "spec.template.metadata.labels"),
        min_instances=own.number(MIN_SCALE),
        max_instances=own.number(MAX_SCALE),
        timeout_s=spec.get("timeoutSeconds", DEFAULT_TIMEOUT_S),
        concurrency=spec.get("containerConcurrency", DEFAULT_CONCURRENCY),
        service_account=spec.get("serviceAccountName", ""),
        execution_environment=own.choice(f"{_RUN}execution-environment", EXECUTION, ""),
        session_affinity=own.flag(f"{_RUN}sessionAffinity", default=False),
        client=own.text(f"{_RUN}client-name"),
        client_version=own.text(f"{_RUN}client-version"),
        annotations=own.rest(),
    )


def _parse_container(message: Mapping[str, Any], own: _Annotations) -> Container:
    limits = message.get("resources", {}).get("limits", {})
    ports = message.get("ports", [{}])
    port = ports[0].get("containerPort", DEFAULT_PORT)
    probe = message.get("startupProbe")
    return Container(
        image=message.get("image", ""),
        name=message.get("name", ""),
        env=tuple((item.get("name", ""), item.get("value", "")) for item in message.get("env", [])),
        limits={"cpu": "1000m", "memory": "512Mi", **limits},
        port=port,
        port_name=ports[0].get("name", ""),
        startup_probe=None if probe is None else parse_probe(probe, port),
        cpu_idle=own.flag(f"{_RUN}cpu-throttling", default=True),
        startup_cpu_boost=own.flag(f"{_RUN}startup-cpu-boost", default=False),
    )


def _parse_target(message: Mapping[str, Any]) -> TrafficTarget:
    latest, revision = message.get("latestRevision", False), message.get("revisionName", "")
    if latest == bool(revision):
        raise invalid("spec.traffic: a target has either revisionName or latestRevision: true.")
    return TrafficTarget(
        latest=latest,
        revision=revision,
        percent=message.get("percent", 0),
        tag=message.get("tag", ""),
    )


_TERM = re.compile(
    r"\s*(?:(?P<absent>!)\s*(?P<gone>[\w./-]+)"
    r"|(?P<key>[\w./-]+)\s*(?:(?P<op>==|=|!=)\s*(?P<value>[\w.-]*)"
    r"|\s(?P<set>in|notin)\s*\((?P<values>[^)]*)\))?)\s*"
)


def matches_selector(labels: Mapping[str, str], selector: str) -> bool:
    """Return whether labels satisfy a Kubernetes label selector.

    Raises:
        CloudRunError: INVALID_ARGUMENT when the selector cannot be read.
    """
    terms = re.split(r",(?![^(]*\))", selector) if selector.strip() else []
    verdicts = [_matches_term(labels, term) for term in terms]
    return all(verdicts)


def _matches_term(labels: Mapping[str, str], term: str) -> bool:
    match = _TERM.fullmatch(term)
    if match is None:
        raise invalid(f"labelSelector: cannot read '{term.strip()}'.")
    if match["absent"]:
        return match["gone"] not in labels
    value = labels.get(match["key"])
    if match["set"]:
        listed = value in [item.strip() for item in match["values"].split(",")]
        return listed if match["set"] == "in" else not listed
    if match["op"] is None:
        return value is not None
    return (value == match["value"]) == (match["op"] != "!=")


def render_list(kind: str, items: Iterable[dict[str, Any]], version: int) -> dict[str, Any]:
    """Return a Knative list of `kind` items; gcloud needs its metadata, even when empty."""
    return {
        "apiVersion": "serving.knative.dev/v1",
        "kind": f"{kind}List",
        "metadata": {"resourceVersion": str(version)},
        "items": list(items),
    }
