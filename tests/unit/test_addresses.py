"""Which sources may be denied: what is typed, and what must never be shut out."""

from __future__ import annotations

import ipaddress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checks.addresses import find_obstacles, lies_in, network_of, parse_sources
from checks.errors import UsageError
from tests.unit.service_json import TARGET

REAL = replace(TARGET, service_url="https://api.example.test")


def names(text: str) -> list[str]:
    """Return what is read of a list of sources."""
    return [str(network) for network in parse_sources(text)]


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("203.0.113.7", ["203.0.113.7/32"]),
        (" 203.0.113.7 , 198.51.100.0/24 ", ["198.51.100.0/24", "203.0.113.7/32"]),
        ("203.0.113.7,203.0.113.7,203.0.113.0/24", ["203.0.113.0/24"]),
        ("2001:DB8::1", ["2001:db8::1/128"]),
    ],
)
def test_addresses_and_ranges_are_read(text: str, read: list[str]) -> None:
    assert names(text) == read


@pytest.mark.parametrize(
    "text",
    [
        *("", ",", "x", "1.2.3", "1.2.3.4.5", "01.2.3.4", "1.2.3.4/33", "1.2.3.4/-1", "*", "all"),
        *("1.2.3.4;reboot", "$(id)", "1.2.3.4\n5.6.7.8", "fe80::1%eth0", "::ffff:1.2.3.4", "1"),
        *("1.2.3.4/255.255.255.0.0", "٣.2.3.4", "1.2.3.4 OR 1=1", "x" * 5000, "1.2.3.4," * 200),
    ],
)
def test_what_is_no_source_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_sources(text)


def test_a_range_that_does_not_begin_where_it_says_is_named() -> None:
    with pytest.raises(UsageError) as refused:
        parse_sources("203.0.113.7/24")
    assert "203.0.113.0/24" in refused.value.next_step


@given(st.text(max_size=40))
def test_any_text_is_refused_or_read_as_networks(text: str) -> None:
    try:
        found = parse_sources(text)
    except UsageError:
        return
    assert found
    for network in found:
        assert ipaddress.ip_network(str(network)) == network


@given(st.ip_addresses())
def test_an_address_lies_in_its_own_network(address: object) -> None:
    network = ipaddress.ip_network(network_of(str(address)))
    assert lies_in(str(address), [network])


@pytest.mark.parametrize("text", ["", "x", "1.2.3", "1.2.3.4 OR"])
def test_what_is_no_address_lies_nowhere(text: str) -> None:
    assert network_of(text) == text
    assert not lies_in(text, parse_sources("1.2.3.4"))


@pytest.mark.parametrize("text", ["0.0.0.0/0", "1.0.0.0/8", "203.0.0.0/15", "::/0", "2001::/31"])
def test_no_force_denies_half_the_internet(text: str) -> None:
    [obstacle, *_] = find_obstacles(parse_sources(text), REAL)
    assert not obstacle.forcible
    assert "never one attacker" in obstacle.why


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("130.211.1.7", "load balancer"),
        ("35.191.0.0/16", "load balancer"),
        ("10.1.2.3", "private"),
        ("127.0.0.66", "private"),
        ("192.168.0.0/16", "private"),
        ("224.0.0.1", "private"),
        ("fd00::/64", "private"),
        ("198.51.100.7", "our egress"),
        ("198.51.0.0/16", "our egress"),
    ],
)
def test_our_own_addresses_give_way_to_force_alone(text: str, why: str) -> None:
    target = replace(REAL, known_addresses={"our egress": ("198.51.100.0/28",)})
    obstacles = find_obstacles(parse_sources(text), target)
    assert any(why in obstacle.why for obstacle in obstacles)
    assert all(obstacle.forcible for obstacle in obstacles)


def test_an_attacker_may_be_denied() -> None:
    assert find_obstacles(parse_sources("8.8.8.8,9.9.9.0/24,2606:4700::/48"), REAL) == []


def test_embedded_staging_denies_on_loopback_but_not_whom_we_are() -> None:
    assert find_obstacles(parse_sources("127.0.0.66"), TARGET) == []
    [own] = find_obstacles(parse_sources("127.0.0.1"), TARGET)
    assert "from which you work" in own.why
