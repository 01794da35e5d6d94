"""The three ways to patch: JSON Patch (RFC 6902), JSON Merge Patch (RFC 7396), strategic merge.

Strategic merge: https://github.com/kubernetes/community/blob/master/contributors/devel/
sig-api-machinery/strategic-merge-patch.md. Lists without a merge key are replaced as a whole.
"""

from __future__ import annotations

import copy
from typing import Any, Final

MERGE_KEYS: Final = {
    "containers": "name",
    "initContainers": "name",
    "env": "name",
    "ports": "containerPort",
    "volumes": "name",
    "volumeMounts": "mountPath",
    "imagePullSecrets": "name",
    "conditions": "type",
    "ownerReferences": "uid",
}
_SETS: Final = frozenset({"finalizers"})
_ORDER: Final = "$setElementOrder/"
_DELETE_FROM: Final = "$deleteFromPrimitiveList/"


class PatchError(ValueError):
    """The patch cannot be applied to the object."""


def merge(target: object, patch: object) -> Any:  # noqa: ANN401 - any JSON value
    """Return `target` with a JSON Merge Patch applied."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge(result.get(key), value)
    return result


def apply_json_patch(document: object, operations: object) -> Any:  # noqa: ANN401 - any JSON value
    """Return `document` after the operations. Raise PatchError."""
    if not isinstance(operations, list):
        raise PatchError("json: cannot unmarshal object into Go value of type jsonpatch.Patch")
    holder = {"": copy.deepcopy(document)}
    for operation in operations:
        if not isinstance(operation, dict) or not isinstance(operation.get("path"), str):
            raise PatchError("an operation of a JSON patch needs an object with op and path")
        _apply_operation(holder, operation)
    return holder[""]


def _apply_operation(holder: dict[str, Any], operation: dict[str, Any]) -> None:
    op, path = operation.get("op"), operation["path"]
    if op in {"add", "replace", "test"} and "value" not in operation:
        raise PatchError(f"{op} operation needs a value: {path}")
    if op == "add":
        _put(holder, path, copy.deepcopy(operation["value"]), insert=True)
    elif op == "replace":
        _read(holder, path, op)
        _put(holder, path, copy.deepcopy(operation["value"]), insert=False)
    elif op == "remove":
        _take(holder, path, op)
    elif op == "test":
        if _read(holder, path, op) != operation["value"]:
            raise PatchError(f"testing value {path} failed: test failed")
    elif op in {"move", "copy"}:
        source = str(operation.get("from", ""))
        value = _read(holder, source, op) if op == "copy" else _take(holder, source, op)
        _put(holder, path, copy.deepcopy(value), insert=True)
    else:
        raise PatchError(f"Unexpected kind: {op}")


def _steps(path: str) -> list[str]:
    if path and not path.startswith("/"):
        raise PatchError(f"a path must begin with a slash: {path}")
    return [step.replace("~1", "/").replace("~0", "~") for step in path.split("/")]


def _parent(holder: dict[str, Any], path: str, op: str) -> tuple[Any, str]:
    steps = _steps(path)
    found: Any = holder
    for step in steps[:-1]:
        found = _child(found, step, path, op)
    return found, steps[-1]


def _child(parent: object, step: str, path: str, op: str) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(parent, dict) and step in parent:
        return parent[step]
    if isinstance(parent, list) and step.isdecimal() and int(step) < len(parent):
        return parent[int(step)]
    raise PatchError(f"{op} operation does not apply: doc is missing path: {path}: missing value")


def _read(holder: dict[str, Any], path: str, op: str) -> Any:  # noqa: ANN401 - any JSON value
    parent, step = _parent(holder, path, op)
    return _child(parent, step, path, op)


def _take(holder: dict[str, Any], path: str, op: str) -> Any:  # noqa: ANN401 - any JSON value
    parent, step = _parent(holder, path, op)
    value = _child(parent, step, path, op)
    del parent[int(step) if isinstance(parent, list) else step]
    return value


def _put(holder: dict[str, Any], path: str, value: object, *, insert: bool) -> None:
    parent, step = _parent(holder, path, "add")
    if isinstance(parent, dict):
        parent[step] = value
    elif isinstance(parent, list) and step == "-":
        parent.append(value)
    elif isinstance(parent, list) and step.isdecimal() and int(step) <= len(parent):
        if insert:
            parent.insert(int(step), value)
        else:
            parent[int(step)] = value
    else:
        raise PatchError(f"add operation does not apply: doc is missing path: {path}")


def merge_strategically(target: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    """Return `target` with a strategic merge patch applied. Raise PatchError."""
    directive = patch.get("$patch")
    if directive == "replace":
        return {key: value for key, value in patch.items() if key != "$patch"}
    if directive == "delete":
        return {}
    if directive not in (None, "merge"):
        raise PatchError(f"unknown patch directive: {directive}")
    result = dict(target)
    _retain_keys(result, patch)
    for key, value in patch.items():
        if key.startswith(_DELETE_FROM):
            name = key.removeprefix(_DELETE_FROM)
            result[name] = [item for item in result.get(name) or () if item not in (value or ())]
        elif not key.startswith("$"):
            _merge_field(result, key, value, patch.get(f"{_ORDER}{key}"))
    return result


def _retain_keys(result: dict[str, Any], patch: dict[str, Any]) -> None:
    retained = patch.get("$retainKeys")
    if isinstance(retained, list):
        for key in set(result) - set(retained):
            del result[key]


def _merge_field(result: dict[str, Any], key: str, value: object, order: object) -> None:
    current = result.get(key)
    if value is None:
        result.pop(key, None)
    elif isinstance(value, dict):
        result[key] = merge_strategically(current if isinstance(current, dict) else {}, value)
    elif isinstance(value, list) and key in MERGE_KEYS:
        result[key] = _merge_list(current, value, MERGE_KEYS[key], order)
    elif isinstance(value, list) and key in _SETS:
        result[key] = [*(current or ()), *(item for item in value if item not in (current or ()))]
    else:
        result[key] = copy.deepcopy(value)


def _merge_list(current: object, changes: list[Any], key: str, order: object) -> list[Any]:
    items = [dict(item) for item in current] if isinstance(current, list) else []
    if any(isinstance(change, dict) and change.get("$patch") == "replace" for change in changes):
        return [change for change in changes if change.get("$patch") != "replace"]
    fresh: list[Any] = []
    for change in changes:
        if not isinstance(change, dict) or key not in change:
            raise PatchError(f"map: {change} does not contain declared merge key: {key}")
        position = next((n for n, it in enumerate(items) if it.get(key) == change[key]), None)
        if change.get("$patch") == "delete":
            if position is not None:
                del items[position]
        elif position is None:
            fresh.append(merge_strategically({}, change))
        else:
            items[position] = merge_strategically(items[position], change)
    # The real server puts what is new in front, unless the patch tells the order.
    return _sort([*fresh, *items], key, order)


def _sort(items: list[Any], key: str, order: object) -> list[Any]:
    if not isinstance(order, list):
        return items
    wanted = [item.get(key) if isinstance(item, dict) else item for item in order]
    listed = sorted(
        (item for item in items if item.get(key) in wanted),
        key=lambda item: wanted.index(item.get(key)),
    )
    return [*listed, *(item for item in items if item.get(key) not in wanted)]
