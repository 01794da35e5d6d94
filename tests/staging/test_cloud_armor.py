"""Cloud Armor over the wire: Compute Engine's API at one end, a real haproxy at the other."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from staging.cloud_armor.control_plane import POLICY
from staging.cloud_armor.rules import DEFAULT_PRIORITY, Rule, decide
from staging.cloud_logging.access_log import AccessLog
from staging.cloud_logging.lines import Origin
from tests.staging.cloud_armor_support import PROJECT, CloudArmorServer

ATTACKER, OTHER = "127.0.0.66", "127.0.10.1"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CloudArmorServer]:
    server = CloudArmorServer(tmp_path_factory.mktemp("cloud-armor"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def server(running: CloudArmorServer) -> CloudArmorServer:
    running.reset()
    return running


def make_rule(priority: int, *ranges: str, **fields: Any) -> dict[str, Any]:  # noqa: ANN401
    match = {"versionedExpr": "SRC_IPS_V1", "config": {"srcIpRanges": list(ranges)}}
    return {"priority": priority, "action": "deny(403)", "match": match, **fields}


def message(answer: requests.Response) -> str:
    error: dict[str, Any] = answer.json()["error"]
    assert error["code"] == answer.status_code
    assert error["errors"][0]["message"] == error["message"]
    return str(error["message"])


def test_the_baseline_lets_everybody_in(server: CloudArmorServer) -> None:
    policy = server.ask("GET", f"securityPolicies/{POLICY}").json()
    assert [(one["priority"], one["action"]) for one in policy["rules"]] == [
        (DEFAULT_PRIORITY, "allow")
    ]
    assert server.ask("GET", "securityPolicies").json()["items"] == [policy]
    assert [server.status_for(source) for source in (ATTACKER, OTHER)] == [200, 200]


def test_a_rule_is_in_force_once_its_operation_is_done(server: CloudArmorServer) -> None:
    operation = server.change("addRule", make_rule(1000, ATTACKER, description="sprays keys"))
    assert operation["status"] == "RUNNING"
    assert server.ask("GET", f"operations/{operation['name']}").json()["status"] == "RUNNING"
    assert server.status_for(ATTACKER) == 200
    done = server.wait(operation)
    assert (done["status"], done["operationType"]) == ("DONE", "addRule")
    assert [server.status_for(source) for source in (ATTACKER, OTHER)] == [403, 200]
    rule = server.ask("GET", f"securityPolicies/{POLICY}/getRule?priority=1000").json()
    assert (rule["description"], rule["preview"]) == ("sprays keys", False)
    server.wait(server.change("removeRule?priority=1000"))
    assert server.status_for(ATTACKER) == 200


def test_the_first_rule_that_matches_decides_and_previews_decide_nothing(
    server: CloudArmorServer,
) -> None:
    server.put(make_rule(2000, "127.0.0.0/16", action="deny(404)"))
    server.put(make_rule(1000, ATTACKER, "::1", action="deny(502)"))
    server.put(make_rule(1500, "127.0.10.0/24", action="allow"))
    server.put(make_rule(900, "127.0.0.0/8", preview=True))
    sources = (ATTACKER, "127.0.0.67", OTHER, "127.1.0.1")
    assert [server.status_for(source) for source in sources] == [502, 404, 200, 200]
    server.wait(server.change("patchRule?priority=1500", {"priority": 1500, "preview": True}))
    assert server.status_for(OTHER) == 404
    server.wait(server.change("patchRule?priority=1500&updateMask=preview,rate_limit_options", {}))
    assert server.status_for(OTHER) == 200
    patch = {"action": "deny(403)", "description": "nobody else"}
    server.wait(server.change(f"patchRule?priority={DEFAULT_PRIORITY}", patch))
    assert [server.status_for(source) for source in (*sources, "127.2.0.1")] == [
        *(502, 404, 200, 403),
        403,
    ]


def test_reset_brings_the_baseline_back_and_ends_what_is_under_way(
    server: CloudArmorServer,
) -> None:
    server.put(make_rule(1000, ATTACKER))
    late = server.change("addRule", make_rule(7, OTHER))
    server.reset()
    assert server.ask("GET", f"operations/{late['name']}").status_code == 404
    time.sleep(server.propagation_s + 0.1)
    assert [server.status_for(source) for source in (ATTACKER, OTHER)] == [200, 200]


TAKEN = "Invalid value for field 'resource.priority': '1000'. Cannot have rules with the same"
ABSENT = f"Invalid value for field 'priority': '5'. {POLICY} does not contain a rule at priority 5."


@pytest.mark.parametrize(
    ("call", "body", "status", "part"),
    [
        ("addRule", make_rule(1000, OTHER), 400, TAKEN),
        ("addRule", make_rule(2**31, OTHER), 400, "TYPE_INT32"),
        ("addRule", make_rule(-1, OTHER), 400, "greater than or equal to 0"),
        ("addRule", make_rule(5, OTHER, action="block"), 400, "'resource.action': 'block'"),
        ("addRule", make_rule(5, OTHER, action="throttle"), 501, "the action throttle"),
        ("addRule", make_rule(5, OTHER, preview="yes"), 400, "TYPE_BOOL"),
        ("addRule", make_rule(5, OTHER, colour="red"), 400, 'Unknown name "colour"'),
        ("addRule", make_rule(5, OTHER, headerAction={}), 501, "headerAction"),
        ("addRule", make_rule(5), 400, "At least one"),
        ("addRule", make_rule(5, "127.0.0.300"), 400, "srcIpRanges': '127.0.0.300'"),
        ("addRule", make_rule(5, "127.0.0.1/8"), 400, "srcIpRanges': '127.0.0.1/8'"),
        ("addRule", make_rule(5, "2001:db8::/129"), 400, "2001:db8::/129"),
        ("addRule", make_rule(5, "*", OTHER), 400, "cannot stand beside"),
        ("addRule", make_rule(5, *(f"10.0.0.{n}" for n in range(11))), 400, "at most 10"),
        ("addRule", {"priority": 5, "action": "allow"}, 400, "'resource.match'"),
        ("addRule", {**make_rule(5), "match": {"expr": {"expression": "1"}}}, 501, "match.expr"),
        ("patchRule?priority=5", {"action": "allow"}, 400, ABSENT),
        ("patchRule?priority=1000", {"priority": 7}, 400, "that is patched"),
        ("patchRule?priority=1000&updateMask=action", {}, 400, "cannot be cleared"),
        (f"patchRule?priority={DEFAULT_PRIORITY}", make_rule(DEFAULT_PRIORITY, OTHER), 400, "'*'"),
        ("removeRule?priority=5", None, 400, ABSENT),
        ("removeRule", None, 400, "at priority 0"),
        (f"removeRule?priority={DEFAULT_PRIORITY}", None, 400, "Cannot remove the default rule"),
        ("addRule?validateOnly=true", make_rule(5, OTHER), 501, "validateOnly"),
        ("addRule?force=true", make_rule(5, OTHER), 400, 'Unknown name "force"'),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(
    server: CloudArmorServer, call: str, body: dict[str, Any] | None, status: int, part: str
) -> None:
    server.put(make_rule(1000, ATTACKER))
    before = server.ask("GET", f"securityPolicies/{POLICY}").json()
    answer = server.post(f"securityPolicies/{POLICY}/{call}", body)
    assert (answer.status_code, part in message(answer)) == (status, True), answer.text
    assert server.ask("GET", f"securityPolicies/{POLICY}").json() == before
    assert [server.status_for(source) for source in (ATTACKER, OTHER)] == [403, 200]


def test_what_is_not_there_or_not_supported_is_refused(server: CloudArmorServer) -> None:
    absent = server.post("securityPolicies/other/addRule", make_rule(5, OTHER))
    assert absent.status_code == 404
    path = f"projects/{PROJECT}/global/securityPolicies/other"
    assert message(absent) == f"The resource '{path}' was not found"
    assert server.ask("GET", "operations/operation-1").status_code == 404
    assert server.ask("DELETE", f"securityPolicies/{POLICY}").status_code == 501
    assert server.ask("GET", "firewalls").status_code == 501
    other = requests.get(f"{server.url}/compute/v1/projects/x/global/securityPolicies", timeout=5)
    assert other.status_code == 403
    broken = requests.post(f"{server.base}/securityPolicies/{POLICY}/addRule", data="{", timeout=5)
    assert "Invalid JSON" in message(broken)


def test_ipv4_and_ipv6_ranges_do_not_mix(server: CloudArmorServer) -> None:
    server.put(make_rule(10, "::/0", "2001:db8::/32"))
    assert server.status_for(ATTACKER) == 200
    server.put(make_rule(5, "0.0.0.0/0"))
    assert server.status_for(ATTACKER) == 403


def test_a_refused_request_shows_in_the_request_log_and_not_in_the_service(
    server: CloudArmorServer,
) -> None:
    server.put(make_rule(1000, ATTACKER))
    server.clear_log()
    assert server.status_for(ATTACKER) == 403
    assert not server.served
    maker = AccessLog(Origin("", "", "svc", "us-central1", PROJECT), security_policy=POLICY)
    entry = maker.make_entry(server.log.recv(65536))
    assert (entry["httpRequest"]["status"], entry["severity"]) == (403, "WARNING")
    assert entry["httpRequest"]["remoteIp"] == ATTACKER
    assert entry["resource"]["labels"]["revision_name"] == ""
    assert entry["jsonPayload"]["statusDetails"] == "denied_by_security_policy"
    assert entry["jsonPayload"]["enforcedSecurityPolicy"]["priority"] == 1000
    assert server.status_for(OTHER) == 200
    assert server.served
    assert "jsonPayload" not in maker.make_entry(server.log.recv(65536))


networks = st.sampled_from(
    [
        *("*", "10.0.0.0/8", "10.0.0.0/16", "10.0.0.0/24", "10.0.0.1", "10.0.1.0/24"),
        *("10.128.0.0/9", "0.0.0.0/0", "::/0", "2001:db8::/32", "2001:db8::1"),
    ]
)
rules = st.builds(
    Rule,
    priority=st.integers(0, 20),
    action=st.sampled_from(["allow", "deny(403)", "deny(404)"]),
    ranges=st.lists(networks, min_size=1, max_size=3).map(tuple),
    preview=st.booleans(),
)


@given(
    st.lists(rules, max_size=6, unique_by=lambda rule: rule.priority),
    st.sampled_from(["10.0.0.1", "10.0.0.2", "10.0.1.1", "10.200.0.1", "192.0.2.1", "2001:db8::1"]),
)
def test_the_longest_range_carries_what_the_first_rule_says(
    chosen: list[Rule], source: str
) -> None:
    address = ipaddress.ip_address(source)
    first = next(
        (
            rule
            for rule in sorted(chosen, key=lambda one: one.priority)
            if not rule.preview and any(address in network for network in rule.networks())
        ),
        None,
    )
    around = {
        network: verdict
        for text, verdict in decide(chosen).items()
        if address in (network := ipaddress.ip_network(text))
    }
    longest = max(around, key=lambda network: network.prefixlen, default=None)
    decided = around[longest].partition(":") if longest else None
    assert (decided is None) == (first is None)
    if decided and first:
        assert int(decided[2]) == first.priority
        assert decided[0] == ("allow" if first.action == "allow" else first.action[5:8])
