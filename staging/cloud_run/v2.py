"""The v2 face: google.cloud.run.v2 JSON to and from the model."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from staging.cloud_run.errors import invalid, unsupported
from staging.cloud_run.models import (
    DEFAULT_CONCURRENCY,
    DEFAULT_PORT,
    DEFAULT_PROBE_S,
    DEFAULT_TIMEOUT_S,
    Condition,
    Container,
    Place,
    Revision,
    Service,
    ServiceScaling,
    ServiceSpec,
    StartupProbe,
    Template,
    TrafficTarget,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

RESERVED_DOMAINS = (
    "run.googleapis.com",
    "cloud.googleapis.com",
    "serving.knative.dev",
    "autoscaling.knative.dev",
)
_LATEST = "TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST"
_NAMED = "TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION"


def is_reserved(key: str) -> bool:
    """Return whether a label or annotation key belongs to Google's own domains."""
    domain = key.split("/", maxsplit=1)[0]
    return any(domain == own or domain.endswith(f".{own}") for own in RESERVED_DOMAINS)


def timestamp(moment: datetime) -> str:
    """Return a moment as RFC 3339 in UTC with microseconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_service(message: Mapping[str, Any]) -> ServiceSpec:
    """Return the spec that a v2 Service asks for; `message` was read by the SERVICE table.

    Raises:
        CloudRunError: INVALID_ARGUMENT for reserved labels or a missing template,
            UNIMPLEMENTED for more than one container.
    """
    scaling = message.get("scaling", {})
    return ServiceSpec(
        template=_parse_template(message.get("template", {})),
        traffic=tuple(_parse_target(item) for item in message.get("traffic", []))
        or (TrafficTarget(latest=True, percent=100),),
        labels=_check_keys(message.get("labels", {}), "service.labels"),
        annotations=_check_keys(message.get("annotations", {}), "service.annotations"),
        scaling=ServiceScaling(
            min_instances=scaling.get("minInstanceCount", 0),
            max_instances=scaling.get("maxInstanceCount", 0),
            manual=scaling.get("scalingMode") == "MANUAL",
            manual_instances=scaling.get("manualInstanceCount", 0),
        ),
        description=message.get("description", ""),
        ingress=message.get("ingress", "INGRESS_TRAFFIC_ALL"),
        launch_stage=message.get("launchStage", "GA"),
        client=message.get("client", ""),
        client_version=message.get("clientVersion", ""),
    )


def keep_client(spec: ServiceSpec, template: Template) -> ServiceSpec:
    """Return `spec` with the client that v1 notes on a template and v2 cannot say."""
    kept = replace(spec.template, client=template.client, client_version=template.client_version)
    return replace(spec, template=kept)


def _check_keys(items: Mapping[str, str], path: str) -> Mapping[str, str]:
    for key in items:
        if is_reserved(key):
            raise invalid(f"{path}: the key '{key}' uses a system domain, which v2 reserves.")
    return items


def _parse_template(message: Mapping[str, Any]) -> Template:
    containers = message.get("containers", [])
    if not containers:
        raise invalid("service.template.containers: must have at least one container.")
    if len(containers) > 1:
        raise unsupported("service.template.containers: more than one container")
    scaling = message.get("scaling", {})
    return Template(
        container=_parse_container(containers[0]),
        name=message.get("revision", ""),
        labels=_check_keys(message.get("labels", {}), "service.template.labels"),
        annotations=_check_keys(message.get("annotations", {}), "service.template.annotations"),
        min_instances=scaling.get("minInstanceCount", 0),
        max_instances=scaling.get("maxInstanceCount", 0),
        timeout_s=message.get("timeout", DEFAULT_TIMEOUT_S),
        concurrency=message.get("maxInstanceRequestConcurrency", DEFAULT_CONCURRENCY),
        service_account=message.get("serviceAccount", ""),
        execution_environment=message.get("executionEnvironment", ""),
        session_affinity=message.get("sessionAffinity", False),
    )


def _parse_container(message: Mapping[str, Any]) -> Container:
    resources = message.get("resources", {})
    ports = message.get("ports", [{}])
    port = ports[0].get("containerPort", DEFAULT_PORT)
    probe = message.get("startupProbe")
    return Container(
        image=message.get("image", ""),
        name=message.get("name", ""),
        env=tuple((item.get("name", ""), item.get("value", "")) for item in message.get("env", [])),
        limits={"cpu": "1000m", "memory": "512Mi", **resources.get("limits", {})},
        port=port,
        port_name=ports[0].get("name", ""),
        startup_probe=None if probe is None else parse_probe(probe, port),
        cpu_idle=resources.get("cpuIdle", not resources),
        startup_cpu_boost=resources.get("startupCpuBoost", False),
    )


def parse_probe(message: Mapping[str, Any], port: int) -> StartupProbe:
    """Return a startup probe; v1 and v2 spell its fields alike. Seconds not named are defaults."""
    return StartupProbe(
        port=message.get("tcpSocket", {}).get("port", port),
        initial_delay_s=message.get("initialDelaySeconds", 0),
        timeout_s=message.get("timeoutSeconds", 1),
        period_s=message.get("periodSeconds", 10),
        failure_threshold=message.get("failureThreshold", 3),
    )


def _parse_target(message: Mapping[str, Any]) -> TrafficTarget:
    kind = message.get("type", _NAMED if message.get("revision") else _LATEST)
    revision = message.get("revision", "").rsplit("/", 1)[-1]
    if (kind == _LATEST) == bool(revision):
        raise invalid("service.traffic: a target names a revision, or has type LATEST, not both.")
    return TrafficTarget(
        latest=kind == _LATEST,
        revision=revision,
        percent=message.get("percent", 0),
        tag=message.get("tag", ""),
    )


def resource_name(place: Place, service: str, revision: str = "") -> str:
    """Return the full name of a service or of one of its revisions."""
    name = f"projects/{place.project}/locations/{place.region}/services/{service}"
    return f"{name}/revisions/{revision}" if revision else name


def render_settings(spec: ServiceSpec) -> dict[str, Any]:
    """Return the part of a v2 Service that a user may write; parse_service undoes it."""
    scaling = spec.scaling
    return _drop_empty(
        {
            "description": spec.description,
            "labels": dict(spec.labels),
            "annotations": dict(spec.annotations),
            "client": spec.client,
            "clientVersion": spec.client_version,
            "ingress": spec.ingress,
            "launchStage": spec.launch_stage,
            "template": _drop_empty(
                {"revision": spec.template.name, **_render_template(spec.template)}
            ),
            "traffic": [_render_target(target) for target in spec.traffic],
            "scaling": _drop_empty(
                {
                    "minInstanceCount": scaling.min_instances,
                    "maxInstanceCount": scaling.max_instances,
                    "scalingMode": "MANUAL" if scaling.manual else "",
                    "manualInstanceCount": scaling.manual_instances,
                }
            ),
        }
    )


def _drop_empty(message: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in message.items() if value not in ("", 0, None, {}, [])}


def _render_template(template: Template) -> dict[str, Any]:
    return {
        "labels": dict(template.labels),
        "annotations": dict(template.annotations),
        "scaling": _drop_empty(
            {
                "minInstanceCount": template.min_instances,
                "maxInstanceCount": template.max_instances,
            }
        ),
        "timeout": f"{template.timeout_s}s",
        "serviceAccount": template.service_account,
        "containers": [_render_container(template.container)],
        "executionEnvironment": template.execution_environment,
        "maxInstanceRequestConcurrency": template.concurrency,
        "sessionAffinity": template.session_affinity,
    }


def _render_container(container: Container) -> dict[str, Any]:
    return _drop_empty(
        {
            "name": container.name,
            "image": container.image,
            "env": [_drop_empty({"name": n, "value": v}) for n, v in container.env],
            "resources": {
                "limits": dict(container.limits),
                "cpuIdle": container.cpu_idle,
                "startupCpuBoost": container.startup_cpu_boost,
            },
            "ports": [_drop_empty({"name": container.port_name, "containerPort": container.port})],
            "startupProbe": render_probe(container.startup_probe),
        }
    )


def render_probe(probe: StartupProbe | None) -> dict[str, Any] | None:
    """Return a startup probe's JSON, the same in v1 and v2; None when the default is in force."""
    if probe is None:
        return None
    delay = {"initialDelaySeconds": probe.initial_delay_s} if probe.initial_delay_s else {}
    return {
        **delay,
        "timeoutSeconds": probe.timeout_s or DEFAULT_PROBE_S,
        "periodSeconds": probe.period_s,
        "failureThreshold": probe.failure_threshold,
        "tcpSocket": {"port": probe.port},
    }


def _render_target(target: TrafficTarget) -> dict[str, Any]:
    return _drop_empty(
        {
            "type": _LATEST if target.latest else _NAMED,
            "revision": "" if target.latest else target.revision,
            "percent": target.percent,
            "tag": target.tag,
        }
    )


def render_service(service: Service, place: Place) -> dict[str, Any]:
    """Return the whole v2 Service, enums as names."""
    name = resource_name(place, service.name)
    url = place.service_url
    statuses = [
        {**_render_target(target), "revision": target.revision, **_tag_uri(url, target)}
        for target in service.served
    ]
    return {
        "name": name,
        "uid": service.uid,
        "generation": str(service.generation),
        "createTime": timestamp(service.created),
        "updateTime": timestamp(service.updated),
        "creator": service.creator,
        "lastModifier": service.modifier,
        **render_settings(service.spec),
        "observedGeneration": str(service.observed_generation),
        "terminalCondition": _render_condition(service.ready),
        "conditions": [
            _render_condition(service.routes_ready),
            _render_condition(service.configurations_ready),
        ],
        "latestReadyRevision": resource_name(place, service.name, service.latest_ready),
        "latestCreatedRevision": resource_name(place, service.name, service.latest_created),
        "trafficStatuses": statuses,
        "uri": url,
        "urls": [url],
        "reconciling": service.reconciling,
        "etag": f'"{service.version}"',
    }


def _tag_uri(url: str, target: TrafficTarget) -> dict[str, str]:
    return {"uri": re.sub(r"^(\w+://)", rf"\g<1>{target.tag}---", url)} if target.tag else {}


def _render_condition(condition: Condition) -> dict[str, Any]:
    states = {True: "SUCCEEDED", False: "FAILED", None: "RECONCILING"}
    failed = condition.status is False
    return _drop_empty(
        {
            "type": condition.type,
            "state": f"CONDITION_{states[condition.status]}",
            "message": condition.message,
            "lastTransitionTime": timestamp(condition.changed),
            "severity": condition.severity.upper(),
            "reason": "REVISION_FAILED" if failed and condition.type != "Active" else "",
            "revisionReason": "RETIRED" if failed and condition.type == "Active" else "",
        }
    )


def render_revision(
    revision: Revision, conditions: Iterable[Condition], place: Place, service: str
) -> dict[str, Any]:
    """Return a v2 Revision, enums as names."""
    deploying = revision.phase == "deploying"
    return _drop_empty(
        {
            "name": resource_name(place, service, revision.name),
            "uid": revision.uid,
            "generation": str(revision.generation),
            "createTime": timestamp(revision.created),
            "updateTime": timestamp(revision.changed),
            "launchStage": "GA",
            "service": service,
            **_render_template(revision.template),
            "conditions": [_render_condition(condition) for condition in conditions],
            "observedGeneration": str(0 if deploying else revision.generation),
            "creator": revision.creator,
            "etag": f'"{revision.uid}"',
        }
    ) | {"reconciling": deploying}
