"""The Deployment in its normal state: the second revision serves, the first is its history."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from staging.baseline import (
    BASELINE_AGES,
    BASELINE_IMAGES,
    CPU,
    ENVIRONMENT,
    INSTANCES,
    MEMORY,
    PORT,
    SERVICE,
)
from staging.kubernetes.defaults import complete_deployment
from staging.kubernetes.kinds import DEPLOYMENT, NAMESPACE, NAMESPACES, REPLICA_SET
from staging.kubernetes.revisions import create_set, describe_set
from staging.kubernetes.settings import CONTAINER

if TYPE_CHECKING:
    from staging.kubernetes.store import Object, Store

# What the service needs to load before it listens, on a normal node.
_START_S = 30


def fill(store: Store) -> None:
    """Write the namespace, the Deployment and its two ReplicaSets, with ages as in normal life."""
    ages = [(datetime.now(UTC) - age).strftime("%Y-%m-%dT%H:%M:%SZ") for age in BASELINE_AGES]
    store.create(
        NAMESPACES,
        {
            "metadata": {
                "name": NAMESPACE,
                "creationTimestamp": ages[0],
                "labels": {"kubernetes.io/metadata.name": NAMESPACE},
            },
            "spec": {"finalizers": ["kubernetes"]},
            "status": {"phase": "Active"},
        },
    )
    deployment = store.create(DEPLOYMENT, _describe(BASELINE_IMAGES[0], ages[0]))
    sets: list[Object] = []
    for number, image in enumerate(BASELINE_IMAGES, 1):
        value = copy.deepcopy(store.get(DEPLOYMENT, deployment["metadata"]["name"]))
        value["spec"]["template"]["spec"]["containers"][0]["image"] = image
        value["metadata"]["generation"] = number
        deployment = store.update(DEPLOYMENT, value)
        replicas = INSTANCES if number == len(BASELINE_IMAGES) else 0
        created = create_set(store, deployment, sets, replicas)
        annotations, age = describe_set(deployment, number), ages[number - 1]

        def change(item: Object, annotations: dict[str, str] = annotations, age: str = age) -> None:
            item["metadata"] |= {"annotations": annotations, "creationTimestamp": age}

        sets.append(store.change(REPLICA_SET, created["metadata"]["name"], change))


def _describe(image: str, created: str) -> Object:
    labels = {"app": SERVICE}
    resources = {"cpu": CPU, "memory": MEMORY}
    container = {
        "name": CONTAINER,
        "image": image,
        "ports": [{"name": "http", "containerPort": PORT, "protocol": "TCP"}],
        "env": [{"name": name, "value": value} for name, value in ENVIRONMENT],
        "resources": {"limits": resources, "requests": resources},
        # TCP as on Cloud Run: a pod that listens and cannot reach its database serves errors.
        "readinessProbe": {"tcpSocket": {"port": PORT}, "initialDelaySeconds": _START_S},
    }
    return complete_deployment(
        {
            "metadata": {
                "name": SERVICE,
                "generation": 1,
                "creationTimestamp": created,
                "labels": labels,
            },
            "spec": {
                "replicas": INSTANCES,
                "selector": {"matchLabels": labels},
                "strategy": {
                    "type": "RollingUpdate",
                    "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
                },
                "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
            },
            "status": {},
        }
    )
