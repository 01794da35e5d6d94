"""What the embedded Kubernetes is and is not, as rows for the site, taken from its own tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from staging.kubernetes import schema
from staging.kubernetes.kinds import SERVED, SUBRESOURCES

if TYPE_CHECKING:
    from collections.abc import Iterator

DEPARTURES = (
    ("objects", "One namespace with one Deployment; nothing can be created, pods can be deleted."),
    (
        "other resources",
        (
            "Services, nodes, secrets, jobs, autoscalers and all others: 404, so kubectl says that"
            " the server does not have them; neither has it /openapi, so `apply` and `explain` end"
            " with an error."
        ),
    ),
    ("server-side apply", "Refused with 501; the three other ways to patch work."),
    (
        "readiness",
        (
            "A TCP probe, as on Cloud Run: a pod that listens and cannot reach its database is"
            " ready and serves errors. It passes once; afterwards a pod is ready until its process"
            " ends. HTTP, gRPC and exec probes are refused."
        ),
    ),
    ("liveness", "No such probe: a frozen process stays."),
    (
        "a container that starts anew",
        "Gets another address, so the pod's changes with it; it listens on loopback, as all do.",
    ),
    (
        "memory",
        (
            "What a container uses is 32 times what its process holds, so that 4Gi is 128 MiB of"
            " this machine; above its limit it is killed (OOMKilled)."
        ),
    ),
    (
        "CPU",
        "What the service accounts for itself; throttled within the instance, not by a cgroup.",
    ),
    (
        "scheduling",
        "One node with room for 40 pods, whatever they request; more are Pending.",
    ),
    (
        "durations",
        (
            "Back-off (10, 20, 40 ... 300 s), initial delay of the probe, progress deadline (8 s at"
            " least) and grace (4 s at least) are divided by the time scale; ages are real."
        ),
    ),
    (
        "images",
        (
            "Known ones need no pulling; an unknown one is ErrImagePull, then ImagePullBackOff,"
            " with a text recalled from containerd."
        ),
    ),
    (
        "eviction",
        "Faults replace every pod at once, without a PodDisruptionBudget.",
    ),
    (
        "exec",
        (
            "Over websockets only. A pod runs ps, py-spy dump, py-spy record and cat of files in"
            " /proc, on its one process, which is 1 there; all else is refused. Standard input is"
            " not passed on."
        ),
    ),
    ("logs", "The last 5000 lines of the running container and of the one before it."),
    (
        "traffic",
        (
            "Every ready pod gets the same share, in whole percents of a ReplicaSet; the load"
            " balancer gives up on any request after 5 s."
        ),
    ),
    (
        "validation",
        (
            "As the real server for the fields here, with its causes; some texts of `Invalid value`"
            " differ, and fields that nothing here would follow are refused with 501."
        ),
    ),
    ("lists", "Come whole: limit is not applied, continue is refused."),
    ("proportional scaling", "In the middle of a rollout, by rounding; leftovers to the largest."),
    ("sign-in", "None: whoever reaches the loopback address may do everything."),
)


def _refused_fields(shape: schema.Shape, path: str) -> Iterator[str]:
    if isinstance(shape, schema.ListOf):
        yield from _refused_fields(shape.item, f"{path}[]")
    elif isinstance(shape, schema.Struct):
        for name, field in shape.fields.items():
            yield from _refused_fields(field, f"{path}.{name}" if path else name)
    elif isinstance(shape, schema.Unsupported):
        yield path


def describe_fidelity() -> list[str]:
    """Return Markdown table rows: what is answered, what is refused, what differs."""
    answered = [
        f"| {item.qualified} ({item.api_version}) | answered: {', '.join(item.verbs)} |"
        for item in SERVED
    ]
    parts = [
        f"| {item.parent.qualified}/{item.name} | answered: {', '.join(item.verbs)} |"
        for item in SUBRESOURCES
    ]
    refused = [
        f"| Deployment `{path}` | refused with 501 |"
        for path in sorted(set(_refused_fields(schema.DEPLOYMENT, "")))
    ]
    different = [f"| {subject} | {text} |" for subject, text in DEPARTURES]
    return ["| Kubernetes | here |", "| --- | --- |", *answered, *parts, *refused, *different]
