"""What the API fills in where a client said nothing; pkg/apis/apps/v1/defaults.go."""

from __future__ import annotations

from typing import Any

_CONTAINER = {
    "imagePullPolicy": "IfNotPresent",
    "terminationMessagePath": "/dev/termination-log",
    "terminationMessagePolicy": "File",
}
_PROBE = {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3}


def complete_deployment(deployment: dict[str, Any]) -> dict[str, Any]:
    """Return the deployment with every default filled in."""
    spec = deployment.get("spec", {})
    strategy = {"type": "RollingUpdate", **spec.get("strategy", {})}
    if strategy["type"] == "RollingUpdate":
        surge = {"maxUnavailable": "25%", "maxSurge": "25%", **strategy.get("rollingUpdate", {})}
        strategy["rollingUpdate"] = surge
    completed = {
        "replicas": 1,
        "revisionHistoryLimit": 10,
        "progressDeadlineSeconds": 600,
        **spec,
        "strategy": strategy,
        "template": complete_template(spec.get("template", {})),
    }
    for name in ("paused", "minReadySeconds"):
        # Go leaves these out where they say nothing.
        if not completed.get(name):
            completed.pop(name, None)
    return {**deployment, "spec": completed}


def complete_template(template: dict[str, Any]) -> dict[str, Any]:
    """Return a pod template with every default filled in."""
    spec = template.get("spec", {})
    metadata = {
        key: value
        for key, value in template.get("metadata", {}).items()
        if key in {"labels", "annotations", "name"} and value
    }
    return {
        "metadata": metadata,
        "spec": {
            "restartPolicy": "Always",
            "dnsPolicy": "ClusterFirst",
            "schedulerName": "default-scheduler",
            "terminationGracePeriodSeconds": 30,
            "securityContext": {},
            **spec,
            "containers": [_complete_container(item) for item in spec.get("containers", [])],
        },
    }


def _complete_container(container: dict[str, Any]) -> dict[str, Any]:
    completed = {**_CONTAINER, **container, "resources": _complete_resources(container)}
    if container.get("image", "").endswith(":latest"):
        completed["imagePullPolicy"] = container.get("imagePullPolicy", "Always")
    if "ports" in container:
        completed["ports"] = [{"protocol": "TCP", **port} for port in container["ports"]]
    if "readinessProbe" in container:
        completed["readinessProbe"] = {**_PROBE, **container["readinessProbe"]}
    for name in ("env", "ports"):
        if not completed.get(name):
            completed.pop(name, None)
    return completed


def _complete_resources(container: dict[str, Any]) -> dict[str, Any]:
    resources = container.get("resources", {})
    limits, requests = resources.get("limits", {}), resources.get("requests", {})
    # A limit without a request is its request too; the API server fills that in for pods, and in
    # a template leaves it to them. It is shown only where it stands.
    return {
        **({"limits": limits} if limits else {}),
        **({"requests": requests} if requests else {}),
    }
