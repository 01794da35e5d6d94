"""The environment in which the vendors' own programs speak to embedded staging and no one else."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from checks.target import Target

GCLOUD_APIS = {
    "RUN": "http://run.googleapis.com/",
    "LOGGING": "http://logging.googleapis.com/",
    "COMPUTE": "http://compute.googleapis.com/compute/v1/",
    "CLOUDRESOURCEMANAGER": "http://cloudresourcemanager.googleapis.com/",
    "CLOUDQUOTAS": "http://cloudquotas.googleapis.com/",
    "SERVICEUSAGE": "http://serviceusage.googleapis.com/",
}
KUBECONFIG = """\
apiVersion: v1
kind: Config
clusters: [{{name: embedded, cluster: {{server: "{api}"}}}}]
contexts: [{{name: embedded, context: {{cluster: embedded, user: nobody}}}}]
users: [{{name: nobody, user: {{}}}}]
current-context: embedded
"""

# bq takes gcloud's proxy for its own and would tunnel through it, which no plain door allows.
BQ = """\
#!/bin/sh
unset CLOUDSDK_PROXY_TYPE CLOUDSDK_PROXY_ADDRESS CLOUDSDK_PROXY_PORT
exec {bq} "$@"
"""


def build_environment(target: Target, folder: Path) -> dict[str, str]:
    """Return this process's environment, changed so that every vendor CLI speaks to `target`.

    gcloud takes the target for its HTTP proxy: each API then arrives with its real host name.
    A proxy that refuses to tunnel is set for everything else, so that an `https://` address of
    the real world is refused instead of reached. Writes a kubeconfig into `folder`.
    """
    api = (target.api or "").rstrip("/")
    place = urlsplit(api)
    write_private(folder / "kubeconfig", KUBECONFIG.format(api=api), mode=0o600)
    programs = folder / "bin"
    programs.mkdir(exist_ok=True)
    # Inside such a shell, the first bq on PATH is the one written here.
    others = [one for one in os.get_exec_path() if Path(one) != programs]
    if bq := shutil.which("bq", path=os.pathsep.join(others)):
        write_private(programs / "bq", BQ.format(bq=shlex.quote(bq)), mode=0o700)
    host, port = place.hostname or "127.0.0.1", str(place.port)
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("CLOUDSDK_", "GOOGLE_", "BOTO_"))
    }
    return (
        kept
        | gcloud_settings(target, folder, host, port)
        | proxy_settings(api)
        | {
            "BIGQUERYRC": str(folder / "bigqueryrc"),
            "KUBECONFIG": str(folder / "kubeconfig"),
            "RUNBOOK_TARGET": target.name,
            "RUNBOOK_STAGING_DIR": str(folder),
            "PATH": os.pathsep.join(
                (str(programs), str(Path(sys.executable).parent), kept.get("PATH", ""))
            ),
            "SERVICE_URL": target.service_url,
            "PROMETHEUS_URL": target.prometheus or "",
        }
    )


def write_private(path: Path, text: str, *, mode: int) -> None:
    """Write a file that only its owner may use, in the given mode."""
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)


def gcloud_settings(target: Target, folder: Path, host: str, port: str) -> dict[str, str]:
    """Return the variables of the Google Cloud SDK; its configuration lives in `folder`."""
    overrides = {
        f"CLOUDSDK_API_ENDPOINT_OVERRIDES_{name}": url for name, url in GCLOUD_APIS.items()
    }
    return overrides | {
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_BIGQUERY": f"http://{host}:{port}/",
        "CLOUDSDK_CONFIG": str(folder / "gcloud"),
        "CLOUDSDK_CORE_PROJECT": target.project,
        "CLOUDSDK_RUN_REGION": target.region,
        "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
        "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "true",
        "CLOUDSDK_SURVEY_DISABLE_PROMPTS": "true",
        "CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "true",
        # bq wants a token and gcloud wants any credential; embedded staging asks for neither.
        "CLOUDSDK_AUTH_ACCESS_TOKEN": "none-is-needed-here",
        "CLOUDSDK_PROXY_TYPE": "http_no_tunnel",
        "CLOUDSDK_PROXY_ADDRESS": host,
        "CLOUDSDK_PROXY_PORT": port,
    }


def proxy_settings(api: str) -> dict[str, str]:
    """Return the proxy variables of curl and its like: loopback is spoken to directly."""
    names = ("http_proxy", "https_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy")
    direct = "127.0.0.1,localhost,::1"
    return dict.fromkeys(names, api) | {"no_proxy": direct, "NO_PROXY": direct}
