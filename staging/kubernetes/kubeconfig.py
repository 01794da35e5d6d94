"""The file by which kubectl finds the cluster."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from staging.kubernetes.kinds import NAMESPACE

if TYPE_CHECKING:
    from pathlib import Path

CONTEXT: Final = "embedded"


def write_kubeconfig(path: Path, server: str) -> None:
    """Write a kubeconfig with one context, CONTEXT; JSON is YAML too."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": CONTEXT, "cluster": {"server": server}}],
        "users": [{"name": CONTEXT, "user": {}}],
        "contexts": [
            {
                "name": CONTEXT,
                "context": {"cluster": CONTEXT, "user": CONTEXT, "namespace": NAMESPACE},
            }
        ],
        "current-context": CONTEXT,
    }
    path.write_text(json.dumps(config, indent=1), encoding="utf-8")
    # kubectl warns of a file that others may read.
    path.chmod(0o600)
