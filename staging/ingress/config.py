"""haproxy's configuration: pools of pre-declared slots, and a split that changes at run time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from staging.addresses import INSTANCE_PORT

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

POOLS = 8
# Cloud Run gives a request 300 s. Nobody waits five minutes for a frozen fleet to show as 504 here;
# longer than the service's own 3 s, after which it refuses a request itself. A revision's own
# timeout counts when it is shorter.
RESPONSE_TIMEOUT_MS = 5_000

# One JSON object a request. The string converter escapes what a client may have put in.
_LOG_FIELDS = (
    ("time_s", "%Ts"),
    ("time_ms", "%ms"),
    ("revision", "%[var(txn.revision),json(utf8s)]"),
    ("server", "%s"),
    ("method", "%[capture.req.method,json(utf8s)]"),
    ("path", "%[capture.req.uri,json(utf8s)]"),
    ("status", "%ST"),
    ("latency_ms", "%Ta"),
    ("source", "%ci"),
    ("request_bytes", "%U"),
    ("response_bytes", "%B"),
    ("user_agent", "%[capture.req.hdr(0),json(utf8s)]"),
    ("host", "%[capture.req.hdr(1),json(utf8s)]"),
    ("trace", "%[capture.req.hdr(2),json(utf8s)]"),
    ("protocol", "%HV"),
    ("termination", "%ts"),
    ("verdict", "%[var(txn.verdict),json(utf8s)]"),
)
# Not time_ms: its leading zeros are no JSON number.
_NUMBERS = frozenset({"time_s", "status", "latency_ms", "request_bytes", "response_bytes"})

_TEMPLATE = """\
global
    nbthread 1
    maxconn 4000
    stats socket {admin} mode 600 level admin
defaults
    mode http
    timeout connect 500ms
    timeout client 60s
    timeout http-request 10s
    timeout http-keep-alive 60s
    timeout queue {response_timeout}ms
    timeout server {response_timeout}ms
    retries 1
    option redispatch
    # The platform knows TCP alone: it does not look at /health/ready.
    default-server check inter 250ms fall 2 rise 1 disabled
frontend service
    bind 127.0.0.1:{port}
    # Not in `global`: there haproxy also logs the servers' comings and goings, in prose.
    log {access_log} len 16384 format raw local0
    option dontlognull
    http-request capture req.hdr(user-agent) len 256
    http-request capture req.hdr(host) len 256
    http-request capture req.hdr(x-cloud-trace-context) len 128
    # Cloud Armor, before anything else is decided: the longest range carries `<status>:<priority>`.
    http-request set-var(txn.verdict) src,map_ip({verdicts})
    http-request set-var(txn.denied) var(txn.verdict),field(1,:)
    http-request deny deny_status 403 if {{ var(txn.denied) -m str 403 }}
    http-request deny deny_status 404 if {{ var(txn.denied) -m str 404 }}
    http-request deny deny_status 502 if {{ var(txn.denied) -m str 502 }}
    # In one line, as Google's load balancers do: what a client claims comes before the comma.
    acl claims_a_client req.fhdr(x-forwarded-for) -m found
    http-request set-header x-forwarded-for %[req.fhdr(x-forwarded-for)],%[src] if claims_a_client
    http-request set-header x-forwarded-for %[src] unless claims_a_client
    http-request set-var(txn.target) rand(100),map({split})
    http-request set-var(txn.pool) var(txn.target),field(1,:)
    http-request set-var(txn.revision) var(txn.target),field(2,:)
    http-request set-var(txn.timeout) var(txn.target),field(3,:)
    log-format '{log_format}'
    use_backend %[var(txn.pool)] if {{ var(txn.pool) -m found }}
    default_backend nowhere
backend nowhere
{pools}"""

_TIMEOUT = "    http-request set-timeout server var(txn.timeout)"


def render_config(
    *,
    port: int,
    admin: Path,
    split: Path,
    verdicts: Path,
    access_log: Path,
    addresses: Sequence[str],
) -> str:
    """Return haproxy.cfg: POOLS pools, each with every slot in maintenance until used."""
    servers = "\n".join(
        f"    server s{index} {address}:{INSTANCE_PORT}"
        for index, address in enumerate(addresses, start=1)
    )
    pools = "\n".join(
        f"backend pool{number}\n    balance leastconn\n{_TIMEOUT}\n{servers}"
        for number in range(POOLS)
    )
    return _TEMPLATE.format(
        admin=admin,
        access_log=access_log,
        port=port,
        split=split,
        verdicts=verdicts,
        response_timeout=RESPONSE_TIMEOUT_MS,
        log_format=_render_log_format(),
        pools=pools + "\n",
    )


def _render_log_format() -> str:
    pairs = (
        f'"{name}":{value}' if name in _NUMBERS else f'"{name}":"{value}"'
        for name, value in _LOG_FIELDS
    )
    return "{" + ",".join(pairs) + "}"
