"""Reads an object from a client: types as Go's decoder wants them, unknown fields left out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from staging.kubernetes.quantities import canonical

if TYPE_CHECKING:
    from collections.abc import Mapping

_INT32 = 2**31


class DecodeError(ValueError):
    """A value is not of its field's type; worded for JSON, and for a strategic merge patch."""

    def __init__(self, message: str, strategic: str = "") -> None:
        """Keep both wordings."""
        super().__init__(message)
        self.strategic = strategic or message


@dataclass(frozen=True)
class Scalar:
    """A plain value of one Go type."""

    go: str


@dataclass(frozen=True)
class Struct:
    """An object with known fields."""

    name: str
    fields: Mapping[str, Shape]


@dataclass(frozen=True)
class ListOf:
    """A list of one shape."""

    item: Shape


@dataclass(frozen=True)
class MapOf:
    """An object with free keys."""

    value: Shape


@dataclass(frozen=True)
class Unsupported:
    """A field of the real API that nothing here would follow: refused, never kept and ignored."""


Shape = Scalar | Struct | ListOf | MapOf | Unsupported
STRING: Final = Scalar("string")
INT32: Final = Scalar("int32")
INT64: Final = Scalar("int64")
BOOL: Final = Scalar("bool")
QUANTITY: Final = Scalar("quantity")
INT_OR_STRING: Final = Scalar("intstr")
OPAQUE: Final = Scalar("any")
STRINGS: Final = MapOf(STRING)
_UNSUPPORTED: Final = Unsupported()


@dataclass
class Reading:
    """What was found on the way: warnings of unknown fields, and fields that are not supported."""

    unknown: list[str] = field(default_factory=list)
    unsupported: list[str] = field(default_factory=list)


def decode(value: object, shape: Shape, reading: Reading) -> Any:  # noqa: ANN401 - JSON
    """Return `value` without nulls and unknown fields. Raise DecodeError."""
    return _decode(value, shape, "", "", reading)


def _decode(value: object, shape: Shape, path: str, owner: str, reading: Reading) -> Any:  # noqa: ANN401
    if isinstance(shape, Struct):
        return _decode_struct(value, shape, path, owner, reading)
    if isinstance(shape, ListOf):
        if not isinstance(value, list):
            raise _mismatch(value, path, owner, "[]", "slice")
        return [
            _decode(item, shape.item, f"{path}[{n}]", owner, reading)
            for n, item in enumerate(value)
        ]
    if isinstance(shape, MapOf):
        if not isinstance(value, dict):
            raise _mismatch(value, path, owner, "map[string]string", "map")
        return {
            key: _decode(item, shape.value, f"{path}.{key}", owner, reading)
            for key, item in value.items()
            if item is not None
        }
    if isinstance(shape, Unsupported):
        if value not in ({}, [], "", 0, False):
            reading.unsupported.append(path)
        return value
    return _decode_scalar(value, shape, path, owner)


def _decode_struct(
    value: object, shape: Struct, path: str, owner: str, reading: Reading
) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _mismatch(value, path, owner, f"v1.{shape.name}", shape.name)
    result: dict[str, Any] = {}
    for key, item in value.items():
        here = f"{path}.{key}" if path else key
        kind = shape.fields.get(key)
        if kind is None:
            reading.unknown.append(here)
        elif item is not None:
            read = _decode(item, kind, here, shape.name, reading)
            if not isinstance(kind, Unsupported):
                result[key] = read
    return result


def _decode_scalar(value: object, shape: Scalar, path: str, owner: str) -> Any:  # noqa: ANN401
    if shape is OPAQUE:
        return value
    if shape is QUANTITY:
        return _decode_quantity(value, path, owner)
    if shape is BOOL and isinstance(value, bool):
        return value
    if shape is STRING and isinstance(value, str):
        return value
    whole = isinstance(value, int) and not isinstance(value, bool)
    if shape is INT_OR_STRING and (whole or isinstance(value, str)):
        return value
    if shape in {INT32, INT64} and whole:
        limit = _INT32 if shape is INT32 else _INT32 * _INT32 * 2
        if isinstance(value, int) and -limit <= value < limit:
            return value
        raise _mismatch(value, path, owner, shape.go, shape.go, f"number {value}")
    raise _mismatch(value, path, owner, shape.go, shape.go)


def _decode_quantity(value: object, path: str, owner: str) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise _mismatch(value, path, owner, "resource.Quantity", "resource.Quantity")
    try:
        return canonical(str(value))
    except ValueError as error:
        raise DecodeError(str(error)) from None


def _mismatch(
    value: object, path: str, owner: str, go: str, short: str, given: str = ""
) -> DecodeError:
    names = {str: "string", bool: "bool", int: "number", float: "number", list: "array"}
    given = given or names.get(type(value), "object")
    place = f"Go struct field {owner}.{path}" if owner else "Go value"
    return DecodeError(
        f"json: cannot unmarshal {given} into {place} of type {go}", f"unrecognized type: {short}"
    )


METADATA: Final = Struct(
    "ObjectMeta",
    {
        **dict.fromkeys(
            [
                "name",
                "generateName",
                "namespace",
                "uid",
                "resourceVersion",
                "creationTimestamp",
                "deletionTimestamp",
                "selfLink",
            ],
            STRING,
        ),
        "generation": INT64,
        "deletionGracePeriodSeconds": INT64,
        "labels": STRINGS,
        "annotations": STRINGS,
        "ownerReferences": ListOf(MapOf(OPAQUE)),
        "managedFields": ListOf(MapOf(OPAQUE)),
        "finalizers": _UNSUPPORTED,
    },
)
_PROBE: Final = Struct(
    "Probe",
    {
        "tcpSocket": Struct("TCPSocketAction", {"port": INT_OR_STRING, "host": STRING}),
        "httpGet": _UNSUPPORTED,
        "exec": _UNSUPPORTED,
        "grpc": _UNSUPPORTED,
        **dict.fromkeys(
            [
                "initialDelaySeconds",
                "timeoutSeconds",
                "periodSeconds",
                "successThreshold",
                "failureThreshold",
            ],
            INT32,
        ),
    },
)
CONTAINER: Final = Struct(
    "Container",
    {
        **dict.fromkeys(
            [
                "name",
                "image",
                "imagePullPolicy",
                "terminationMessagePath",
                "terminationMessagePolicy",
            ],
            STRING,
        ),
        "ports": ListOf(
            Struct(
                "ContainerPort",
                {
                    "name": STRING,
                    "containerPort": INT32,
                    "protocol": STRING,
                    "hostPort": _UNSUPPORTED,
                },
            )
        ),
        "env": ListOf(
            Struct("EnvVar", {"name": STRING, "value": STRING, "valueFrom": _UNSUPPORTED})
        ),
        "resources": Struct(
            "ResourceRequirements",
            {"limits": MapOf(QUANTITY), "requests": MapOf(QUANTITY), "claims": _UNSUPPORTED},
        ),
        "readinessProbe": _PROBE,
        **dict.fromkeys(
            [
                "command",
                "args",
                "workingDir",
                "envFrom",
                "volumeMounts",
                "volumeDevices",
                "livenessProbe",
                "startupProbe",
                "lifecycle",
                "securityContext",
                "stdin",
                "stdinOnce",
                "tty",
                "resizePolicy",
                "restartPolicy",
            ],
            _UNSUPPORTED,
        ),
    },
)
POD_SPEC: Final = Struct(
    "PodSpec",
    {
        "containers": ListOf(CONTAINER),
        "restartPolicy": STRING,
        "dnsPolicy": STRING,
        "schedulerName": STRING,
        "terminationGracePeriodSeconds": INT64,
        "securityContext": _UNSUPPORTED,
        **dict.fromkeys(
            [
                "initContainers",
                "ephemeralContainers",
                "volumes",
                "nodeSelector",
                "nodeName",
                "affinity",
                "tolerations",
                "topologySpreadConstraints",
                "serviceAccountName",
                "serviceAccount",
                "automountServiceAccountToken",
                "hostNetwork",
                "hostPID",
                "hostIPC",
                "imagePullSecrets",
                "hostname",
                "subdomain",
                "hostAliases",
                "priorityClassName",
                "priority",
                "dnsConfig",
                "readinessGates",
                "runtimeClassName",
                "enableServiceLinks",
                "preemptionPolicy",
                "overhead",
                "shareProcessNamespace",
                "activeDeadlineSeconds",
            ],
            _UNSUPPORTED,
        ),
    },
)
TEMPLATE: Final = Struct("PodTemplateSpec", {"metadata": METADATA, "spec": POD_SPEC})
DEPLOYMENT: Final = Struct(
    "Deployment",
    {
        "apiVersion": STRING,
        "kind": STRING,
        "metadata": METADATA,
        "spec": Struct(
            "DeploymentSpec",
            {
                "replicas": INT32,
                "selector": Struct(
                    "LabelSelector",
                    {"matchLabels": STRINGS, "matchExpressions": ListOf(MapOf(OPAQUE))},
                ),
                "template": TEMPLATE,
                "strategy": Struct(
                    "DeploymentStrategy",
                    {
                        "type": STRING,
                        "rollingUpdate": Struct(
                            "RollingUpdateDeployment",
                            {"maxSurge": INT_OR_STRING, "maxUnavailable": INT_OR_STRING},
                        ),
                    },
                ),
                "minReadySeconds": INT32,
                "revisionHistoryLimit": INT32,
                "paused": BOOL,
                "progressDeadlineSeconds": INT32,
            },
        ),
        "status": MapOf(OPAQUE),
    },
)
SCALE: Final = Struct(
    "Scale",
    {
        "apiVersion": STRING,
        "kind": STRING,
        "metadata": METADATA,
        "spec": Struct("ScaleSpec", {"replicas": INT32}),
        "status": MapOf(OPAQUE),
    },
)
POD: Final = Struct(
    "Pod",
    {
        "apiVersion": STRING,
        "kind": STRING,
        "metadata": METADATA,
        "spec": MapOf(OPAQUE),
        "status": MapOf(OPAQUE),
    },
)
