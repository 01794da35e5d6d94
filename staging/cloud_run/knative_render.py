"""Writes the model as serving.knative.dev/v1 JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from staging.cloud_run.knative import (
    EXECUTION,
    INGRESS,
    LOCATION_LABEL,
    MAX_SCALE,
    MIN_SCALE,
)
from staging.cloud_run.v2 import render_probe, timestamp

if TYPE_CHECKING:
    from collections.abc import Iterable

    from staging.cloud_run.models import (
        Condition,
        Container,
        Place,
        Revision,
        Service,
        ServiceSpec,
        Template,
        TrafficTarget,
    )

_RUN = "run.googleapis.com/"
_API = {"apiVersion": "serving.knative.dev/v1"}
_STATUS = {True: "True", False: "False", None: "Unknown"}


def _drop_empty(message: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in message.items() if value not in ("", 0, None, {}, [])}


def _numbers(items: dict[str, int]) -> dict[str, str]:
    return {key: str(value) for key, value in items.items() if value}


def _name_of(names: dict[str, str], value: str) -> str:
    return next((short for short, long in names.items() if long == value), "")


def render_service(service: Service, place: Place) -> dict[str, Any]:
    """Return the whole v1 Service, as gcloud reads it and sends it back."""
    spec, name = service.spec, service.name
    namespace = place.project_number
    return {
        **_API,
        "kind": "Service",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "selfLink": f"/apis/serving.knative.dev/v1/namespaces/{namespace}/services/{name}",
            "uid": service.uid,
            "resourceVersion": str(service.version),
            "generation": service.generation,
            "creationTimestamp": timestamp(service.created),
            "labels": {**spec.labels, LOCATION_LABEL: place.region},
            "annotations": _service_annotations(service, spec),
        },
        "spec": {
            "template": {
                "metadata": _drop_empty(
                    {
                        "name": spec.template.name,
                        "labels": dict(spec.template.labels),
                        "annotations": _template_annotations(spec.template),
                    }
                ),
                "spec": _revision_spec(spec.template),
            },
            "traffic": [_render_target(target) for target in spec.traffic],
        },
        "status": _service_status(service, place),
    }


def _service_annotations(service: Service, spec: ServiceSpec) -> dict[str, str]:
    scaling, ingress = spec.scaling, _name_of(INGRESS, spec.ingress)
    named = {
        f"{_RUN}description": spec.description,
        f"{_RUN}client-name": spec.client,
        f"{_RUN}client-version": spec.client_version,
        f"{_RUN}launch-stage": "" if spec.launch_stage == "GA" else spec.launch_stage,
        f"{_RUN}scalingMode": "manual" if scaling.manual else "",
    }
    counts = {
        f"{_RUN}minScale": scaling.min_instances,
        f"{_RUN}maxScale": scaling.max_instances,
        f"{_RUN}manualInstanceCount": scaling.manual_instances,
    }
    return {
        **spec.annotations,
        **_drop_empty(dict(named)),
        **_numbers(counts),
        f"{_RUN}ingress": ingress,
        f"{_RUN}ingress-status": ingress,
        "serving.knative.dev/creator": service.creator,
        "serving.knative.dev/lastModifier": service.modifier,
    }


def _template_annotations(template: Template) -> dict[str, str]:
    container = template.container
    named = {
        f"{_RUN}client-name": template.client,
        f"{_RUN}client-version": template.client_version,
        f"{_RUN}execution-environment": _name_of(EXECUTION, template.execution_environment),
        f"{_RUN}sessionAffinity": "true" if template.session_affinity else "",
        f"{_RUN}cpu-throttling": "" if container.cpu_idle else "false",
        f"{_RUN}startup-cpu-boost": "true" if container.startup_cpu_boost else "",
    }
    counts = {MIN_SCALE: template.min_instances, MAX_SCALE: template.max_instances}
    return {**template.annotations, **_drop_empty(dict(named)), **_numbers(counts)}


def _revision_spec(template: Template) -> dict[str, Any]:
    return _drop_empty(
        {
            "containerConcurrency": template.concurrency,
            "timeoutSeconds": template.timeout_s,
            "serviceAccountName": template.service_account,
            "containers": [_render_container(template.container)],
        }
    )


def _render_container(container: Container) -> dict[str, Any]:
    return _drop_empty(
        {
            "name": container.name,
            "image": container.image,
            "env": [_drop_empty({"name": n, "value": v}) for n, v in container.env],
            "resources": {"limits": dict(container.limits)},
            "ports": [_drop_empty({"name": container.port_name, "containerPort": container.port})],
            "startupProbe": render_probe(container.startup_probe),
        }
    )


def _render_target(target: TrafficTarget) -> dict[str, Any]:
    return _drop_empty(
        {
            "latestRevision": target.latest or None,
            "revisionName": "" if target.latest else target.revision,
            "percent": target.percent,
            "tag": target.tag,
        }
    )


def _service_status(service: Service, place: Place) -> dict[str, Any]:
    url = place.service_url
    return {
        "observedGeneration": service.observed_generation,
        "conditions": [
            _render_condition(condition)
            for condition in (service.ready, service.configurations_ready, service.routes_ready)
        ],
        "latestReadyRevisionName": service.latest_ready,
        "latestCreatedRevisionName": service.latest_created,
        "traffic": [
            {
                **_render_target(target),
                "revisionName": target.revision,
                **({"url": url.replace("://", f"://{target.tag}---")} if target.tag else {}),
            }
            for target in service.served
        ],
        "url": url,
        "address": {"url": url},
    }


def _render_condition(condition: Condition) -> dict[str, Any]:
    return _drop_empty(
        {
            "type": condition.type,
            "status": _STATUS[condition.status],
            "reason": condition.reason,
            "message": condition.message,
            "severity": condition.severity,
            "lastTransitionTime": timestamp(condition.changed),
        }
    )


def revision_labels(revision: Revision, place: Place, service: str) -> dict[str, str]:
    """Return a revision's labels, the ones that `labelSelector` looks at included."""
    return {
        **revision.template.labels,
        "serving.knative.dev/service": service,
        "serving.knative.dev/configuration": service,
        "serving.knative.dev/configurationGeneration": str(revision.generation),
        LOCATION_LABEL: place.region,
    }


def render_revision(
    revision: Revision, conditions: Iterable[Condition], place: Place, service: str
) -> dict[str, Any]:
    """Return the whole v1 Revision; gcloud reads its imageDigest before an update."""
    namespace, name = place.project_number, revision.name
    image = revision.template.container.image.partition("@")[0]
    repository = image.rsplit(":", 1)[0] if ":" in image.rsplit("/", 1)[-1] else image
    return {
        **_API,
        "kind": "Revision",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "selfLink": f"/apis/serving.knative.dev/v1/namespaces/{namespace}/revisions/{name}",
            "uid": revision.uid,
            "resourceVersion": str(int(revision.changed.timestamp() * 1e6)),
            "generation": 1,
            "creationTimestamp": timestamp(revision.created),
            "labels": revision_labels(revision, place, service),
            "annotations": {
                **_template_annotations(revision.template),
                "serving.knative.dev/creator": revision.creator,
            },
        },
        "spec": _revision_spec(revision.template),
        "status": {
            "observedGeneration": 1,
            "conditions": [_render_condition(condition) for condition in conditions],
            "imageDigest": f"{repository}@{revision.digest}",
            "serviceName": service,
        },
    }
