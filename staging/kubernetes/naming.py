"""Names as Kubernetes makes them: a template's hash, a pod's suffix."""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

# k8s.io/apimachinery/pkg/util/rand: no vowels and no digits that could be read as one.
_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
HASH_LABEL = "pod-template-hash"
_SUFFIX_LENGTH = 5
_FNV_OFFSET, _FNV_PRIME, _WORD = 2166136261, 16777619, 2**32


def hash_template(template: Mapping[str, Any], collisions: int = 0) -> str:
    """Return a pod template's hash: FNV-1a of its JSON, in letters that spell no word."""
    value = _FNV_OFFSET
    for byte in (json.dumps(template, sort_keys=True) + str(collisions or "")).encode():
        value = (value ^ byte) * _FNV_PRIME % _WORD
    return "".join(_LETTERS[ord(digit) % len(_LETTERS)] for digit in str(value))


def pod_name(owner: str) -> str:
    """Return a name for a new pod of the ReplicaSet `owner`."""
    suffix = "".join(secrets.choice(_LETTERS) for _ in range(_SUFFIX_LENGTH))
    return f"{owner}-{suffix}"


def without_hash(template: Mapping[str, Any]) -> dict[str, Any]:
    """Return a template without the label that tells ReplicaSets' pods apart."""
    metadata = template.get("metadata", {})
    labels = {key: value for key, value in metadata.get("labels", {}).items() if key != HASH_LABEL}
    return {**template, "metadata": {**metadata, "labels": labels}}
