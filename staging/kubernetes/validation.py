"""What the API refuses with 422, and every cause of it; pkg/apis/apps/validation."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import TYPE_CHECKING, Any

from staging.kubernetes.errors import Cause
from staging.kubernetes.quantities import parse_quantity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from staging.kubernetes.store import Object

_LABEL_VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")
_LABEL_NAME = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_LABEL_MAX = 63
_PORT_MAX = 65535
_TEMPLATE = "spec.template"
_NON_NEGATIVE = "must be greater than or equal to 0"
_LABEL_RULE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.',"
    " and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or"
    " '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)
_NAME_RULE = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end"
    " with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for"
    " validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
_DNS_RULE = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and"
    " must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used"
    " for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)


def _invalid(field: str, value: object, why: str) -> Cause:
    shown = _go_strings(value) if isinstance(value, dict) else json.dumps(value)
    return Cause(field, "FieldValueInvalid", f"Invalid value: {shown}: {why}")


def _go_strings(pairs: dict[str, str]) -> str:
    """Return a map of strings as Go prints it with %#v."""
    shown = ", ".join(f"{json.dumps(key)}:{json.dumps(pairs[key])}" for key in sorted(pairs))
    return f"map[string]string{{{shown}}}"


def _required(field: str, why: str = "") -> Cause:
    return Cause(field, "FieldValueRequired", f"Required value{f': {why}' if why else ''}")


def check_deployment(new: Object, old: Object) -> Iterator[Cause]:
    """Yield what is wrong with `new`, which is to replace `old`."""
    spec = new["spec"]
    yield from check_labels(new["metadata"], "metadata")
    if spec["replicas"] < 0:
        yield _invalid("spec.replicas", spec["replicas"], _NON_NEGATIVE)
    yield from _check_selector(spec, old["spec"])
    yield from _check_strategy(spec)
    yield from _check_times(spec)
    yield from check_labels(spec["template"]["metadata"], f"{_TEMPLATE}.metadata")
    yield from _check_pod(spec["template"]["spec"], f"{_TEMPLATE}.spec")


def check_labels(metadata: dict[str, Any], path: str) -> Iterator[Cause]:
    """Yield what is wrong with an object's labels and annotations."""
    for name in ("labels", "annotations"):
        for key in metadata.get(name, {}):
            prefix, _, part = key.rpartition("/")
            lower = part if name == "labels" else part.lower()
            if len(part) > _LABEL_MAX or not _LABEL_NAME.fullmatch(lower) or prefix == "":
                if prefix == "" and "/" not in key and _LABEL_NAME.fullmatch(lower):
                    continue
                yield _invalid(f"{path}.{name}", key, _NAME_RULE)
    for value in metadata.get("labels", {}).values():
        if len(value) > _LABEL_MAX:
            yield _invalid(f"{path}.labels", value, "must be no more than 63 characters")
        elif not _LABEL_VALUE.fullmatch(value):
            yield _invalid(f"{path}.labels", value, _LABEL_RULE)


def _check_selector(spec: dict[str, Any], old: dict[str, Any]) -> Iterator[Cause]:
    selector, labels = spec.get("selector", {}), spec["template"]["metadata"].get("labels", {})
    wanted = selector.get("matchLabels", {})
    if not wanted and not selector.get("matchExpressions"):
        yield _required("spec.selector")
    if any(labels.get(key) != value for key, value in wanted.items()):
        why = "`selector` does not match template `labels`"
        yield _invalid(f"{_TEMPLATE}.metadata.labels", labels, why)
    if selector != old["selector"]:
        yield Cause(
            "spec.selector",
            "FieldValueInvalid",
            f"Invalid value: v1.LabelSelector{{MatchLabels:{_go_strings(wanted)},"
            " MatchExpressions:[]v1.LabelSelectorRequirement(nil)}: field is immutable",
        )


def _check_strategy(spec: dict[str, Any]) -> Iterator[Cause]:
    strategy = spec["strategy"]
    path = "spec.strategy"
    if strategy["type"] not in {"RollingUpdate", "Recreate"}:
        yield Cause(
            f"{path}.type",
            "FieldValueNotSupported",
            f'Unsupported value: "{strategy["type"]}": supported values: "Recreate",'
            ' "RollingUpdate"',
        )
        return
    rolling = strategy.get("rollingUpdate")
    if strategy["type"] == "Recreate":
        if rolling:
            why = "may not be specified when strategy `type` is 'Recreate'"
            yield Cause(f"{path}.rollingUpdate", "FieldValueForbidden", f"Forbidden: {why}")
        return
    values = []
    for name in ("maxUnavailable", "maxSurge"):
        value = rolling[name]
        where = f"{path}.rollingUpdate.{name}"
        if isinstance(value, str) and not re.fullmatch(r"\d{1,5}%", value):
            rule = "a valid percent string must be a numeric string followed by an ending '%'"
            yield _invalid(where, value, f"{rule} (e.g. '1%', or '93%')")
        elif isinstance(value, int) and value < 0:
            yield _invalid(where, value, _NON_NEGATIVE)
        values.append(value)
    if values[0] in {0, "0%"} and values[1] in {0, "0%"}:
        where = f"{path}.rollingUpdate.maxUnavailable"
        yield _invalid(where, values[0], "may not be 0 when `maxSurge` is 0")


def _check_times(spec: dict[str, Any]) -> Iterator[Cause]:
    least = spec.get("minReadySeconds", 0)
    for name in ("minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"):
        if spec.get(name, 0) < 0:
            yield _invalid(f"spec.{name}", spec[name], _NON_NEGATIVE)
    if spec["progressDeadlineSeconds"] <= least:
        why = "must be greater than minReadySeconds"
        yield _invalid("spec.progressDeadlineSeconds", spec["progressDeadlineSeconds"], why)


def _check_pod(pod: dict[str, Any], path: str) -> Iterator[Cause]:
    if pod["restartPolicy"] != "Always":
        yield Cause(
            f"{path}.restartPolicy",
            "FieldValueNotSupported",
            f'Unsupported value: "{pod["restartPolicy"]}": supported values: "Always"',
        )
    if pod["terminationGracePeriodSeconds"] < 0:
        where = f"{path}.terminationGracePeriodSeconds"
        yield _invalid(where, pod["terminationGracePeriodSeconds"], _NON_NEGATIVE)
    if not pod["containers"]:
        yield _required(f"{path}.containers")
    names = Counter(container.get("name") for container in pod["containers"])
    for number, container in enumerate(pod["containers"]):
        where = f"{path}.containers[{number}]"
        yield from _check_container(container, where)
        name = container.get("name")
        if name and names[name] > 1 and number:
            yield Cause(
                f"{where}.name", "FieldValueDuplicate", f"Duplicate value: {json.dumps(name)}"
            )


def _check_container(container: dict[str, Any], path: str) -> Iterator[Cause]:
    name = container.get("name", "")
    if not name:
        yield _required(f"{path}.name")
    elif not _DNS_LABEL.fullmatch(name) or len(name) > _LABEL_MAX:
        yield _invalid(f"{path}.name", name, _DNS_RULE)
    image = container.get("image", "")
    if not image:
        yield _required(f"{path}.image")
    elif image != image.strip():
        yield _invalid(f"{path}.image", image, "must not have leading or trailing whitespace")
    if container["imagePullPolicy"] not in {"Always", "IfNotPresent", "Never"}:
        yield Cause(
            f"{path}.imagePullPolicy",
            "FieldValueNotSupported",
            f'Unsupported value: "{container["imagePullPolicy"]}": supported values: "Always",'
            ' "IfNotPresent", "Never"',
        )
    yield from _check_env(container, path)
    yield from _check_ports(container, path)
    yield from _check_resources(container["resources"], f"{path}.resources")
    yield from _check_probe(container.get("readinessProbe", {}), f"{path}.readinessProbe")


def _check_env(container: dict[str, Any], path: str) -> Iterator[Cause]:
    for number, variable in enumerate(container.get("env", [])):
        key = variable.get("name", "")
        if not key:
            yield _required(f"{path}.env[{number}].name")
        elif "=" in key or not key.isprintable():
            rule = "a valid environment variable name must consist only of printable ASCII"
            why = f"{rule} characters other than '='"
            yield _invalid(f"{path}.env[{number}].name", key, why)


def _check_ports(container: dict[str, Any], path: str) -> Iterator[Cause]:
    for number, port in enumerate(container.get("ports", [])):
        where = f"{path}.ports[{number}].containerPort"
        if not port.get("containerPort"):
            yield _required(where)
        elif not 1 <= port["containerPort"] <= _PORT_MAX:
            yield _invalid(where, port["containerPort"], "must be between 1 and 65535, inclusive")


def _check_resources(resources: dict[str, Any], path: str) -> Iterator[Cause]:
    limits = resources.get("limits", {})
    for part, amounts in resources.items():
        for name, amount in amounts.items():
            if name not in {"cpu", "memory", "ephemeral-storage"} and "/" not in name:
                why = "must be a standard resource for containers"
                yield _invalid(f"{path}.{part}[{name}]", name, why)
            if parse_quantity(amount) < 0:
                yield _invalid(f"{path}.{part}[{name}]", amount, _NON_NEGATIVE)
    for name, amount in resources.get("requests", {}).items():
        limit = limits.get(name)
        if limit is not None and parse_quantity(amount) > parse_quantity(limit):
            why = f"must be less than or equal to {name} limit of {limit}"
            yield _invalid(f"{path}.requests", amount, why)


def _check_probe(probe: dict[str, Any], path: str) -> Iterator[Cause]:
    if probe and "tcpSocket" not in probe:
        yield _required(path, "must specify a handler type")
    for name, value in probe.items():
        if isinstance(value, int) and value < 0:
            yield _invalid(f"{path}.{name}", value, _NON_NEGATIVE)


def list_unsupported(spec: dict[str, Any]) -> list[str]:
    """Return what a valid spec asks for that nothing here would follow."""
    pod = spec["template"]["spec"]
    found = []
    if len(pod["containers"]) > 1:
        found.append("more than one container")
    if spec["strategy"]["type"] == "Recreate":
        found.append("strategy Recreate")
    if spec["selector"].get("matchExpressions"):
        found.append("matchExpressions")
    return found
