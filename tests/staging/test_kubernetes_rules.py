"""Patches, quantities, selectors and names by themselves, on values of every shape."""

from __future__ import annotations

import copy
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from staging.kubernetes.defaults import complete_deployment
from staging.kubernetes.errors import StatusError
from staging.kubernetes.naming import HASH_LABEL, hash_template, without_hash
from staging.kubernetes.patches import (
    PatchError,
    apply_json_patch,
    merge,
    merge_strategically,
)
from staging.kubernetes.programs import Program, RefusedError, prepare
from staging.kubernetes.quantities import canonical, parse_quantity
from staging.kubernetes.revisions import same_template, surge_of
from staging.kubernetes.selectors import field_matcher, label_matcher
from staging.kubernetes.table import human_duration
from staging.model import Instance, InstanceSpec

_SCALARS = st.none() | st.booleans() | st.integers() | st.text(max_size=5)
_KEYS = st.sampled_from(["a", "b", "spec", "containers", "name"])
JSON = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=3)
)
OBJECTS = st.dictionaries(_KEYS, JSON, max_size=4)


def _drop_nulls(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(value, dict):
        return {key: _drop_nulls(item) for key, item in value.items() if item is not None}
    return value


@given(OBJECTS, OBJECTS)
def test_a_merge_patch_is_idempotent_and_leaves_its_target_alone(
    target: dict[str, Any], patch: dict[str, Any]
) -> None:
    """RFC 7396: applied twice is applied once; without a target the patch itself is left."""
    before = copy.deepcopy(target)
    once = merge(target, patch)
    assert merge(once, patch) == once
    assert target == before
    assert merge({}, patch) == _drop_nulls(patch)


@given(JSON, JSON)
def test_a_json_patch_puts_a_value_and_takes_it_away(document: object, value: object) -> None:
    """RFC 6902: add, test, copy, move and remove lead back to where it began."""
    target = {"kept": document}
    operations = [
        {"op": "add", "path": "/new", "value": value},
        {"op": "test", "path": "/new", "value": value},
        {"op": "copy", "from": "/new", "path": "/again"},
        {"op": "move", "from": "/again", "path": "/moved"},
        {"op": "remove", "path": "/moved"},
        {"op": "remove", "path": "/new"},
    ]
    assert apply_json_patch(target, operations) == target


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "replace", "path": "/nosuch", "value": 1},
        {"op": "remove", "path": "/list/7"},
        {"op": "add", "path": "/list/7", "value": 1},
        {"op": "add", "path": "list", "value": 1},
        {"op": "add", "path": "/list/-"},
        {"op": "turn", "path": "/list"},
        {"op": "test", "path": "/list", "value": [2]},
    ],
)
def test_a_json_patch_that_does_not_fit_is_refused(operation: dict[str, Any]) -> None:
    """Nothing is half done: the document that was handed in stays."""
    document = {"list": [1]}
    with pytest.raises(PatchError):
        apply_json_patch(document, [{"op": "remove", "path": "/list/0"}, operation])
    assert document == {"list": [1]}


def test_a_strategic_patch_merges_lists_by_their_keys() -> None:
    """Containers by name, variables by name; what is new comes in front, unless ordered."""
    target = {
        "containers": [{"name": "app", "image": "a:1", "env": [{"name": "A", "value": "1"}]}],
    }
    change = {"name": "app", "env": [{"name": "B", "value": "2"}]}
    [container] = merge_strategically(target, {"containers": [change]})["containers"]
    assert container["image"] == "a:1"
    assert [item["name"] for item in container["env"]] == ["B", "A"]
    ordered = {**change, "$setElementOrder/env": [{"name": "A"}, {"name": "B"}]}
    [container] = merge_strategically(target, {"containers": [ordered]})["containers"]
    assert [item["name"] for item in container["env"]] == ["A", "B"]


def test_a_strategic_patch_deletes_and_replaces() -> None:
    """The directives of the documentation."""
    target = {"containers": [{"name": "app"}, {"name": "b"}], "labels": {"a": "1", "b": "2"}}
    gone = {"containers": [{"name": "b", "$patch": "delete"}], "labels": {"a": None}}
    assert merge_strategically(target, gone) == {
        "containers": [{"name": "app"}],
        "labels": {"b": "2"},
    }
    replaced = {"labels": {"$patch": "replace", "c": "3"}}
    assert merge_strategically(target, replaced)["labels"] == {"c": "3"}
    retained = {"labels": {"$retainKeys": ["b"], "b": "9"}}
    assert merge_strategically(target, retained)["labels"] == {"b": "9"}
    with pytest.raises(PatchError, match="merge key: name"):
        merge_strategically(target, {"containers": [{"image": "x"}]})


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("4000m", "4"),
        ("500m", "500m"),
        ("0.5", "500m"),
        ("8192Mi", "8Gi"),
        ("1.5Gi", "1536Mi"),
        ("1e3", "1k"),
        ("0", "0"),
        ("100M", "100M"),
        (".5", "500m"),
    ],
)
def test_a_quantity_is_stored_as_the_api_stores_it(text: str, stored: str) -> None:
    """The shortest form without a fraction."""
    assert canonical(text) == stored


@pytest.mark.parametrize("text", ["8GB", "ten", "", "1 Gi", "Gi", "1.2.3", "0x10", "1ee3"])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    """With one of the two sentences of the real API."""
    with pytest.raises(ValueError, match=r"quantit"):
        parse_quantity(text)


@given(st.integers(0, 10**6), st.sampled_from(["", "m", "k", "M", "G", "Ki", "Mi", "Gi", "n", "u"]))
def test_the_stored_form_means_the_same_number(number: int, suffix: str) -> None:
    """And storing it again changes nothing."""
    text = f"{number}{suffix}"
    assert parse_quantity(canonical(text)) == parse_quantity(text)
    assert canonical(canonical(text)) == canonical(text)
    assert isinstance(parse_quantity(text), Decimal)


@pytest.mark.parametrize(
    ("selector", "matches"),
    [
        ("app=web", True),
        ("app==web,tier", True),
        ("app!=web", False),
        ("app in (web, db),!gone", True),
        ("app notin (web)", False),
        ("tier=", False),
        ("", True),
    ],
)
def test_labels_are_selected(selector: str, *, matches: bool) -> None:
    """Equality, sets and presence."""
    item = {"metadata": {"labels": {"app": "web", "tier": "front"}}}
    assert label_matcher(selector)(item) is matches


@pytest.mark.parametrize("selector", ["app in web", "=x", "a b", "app=(x)"])
def test_a_selector_that_cannot_be_read_is_refused(selector: str) -> None:
    """With 400, never as one that selects everything."""
    with pytest.raises(StatusError) as refused:
        label_matcher(selector)
    assert refused.value.code == 400


def test_fields_are_selected() -> None:
    """Those of the kind alone; the real server refuses the others too."""
    pod = {"metadata": {"name": "a"}, "status": {"phase": "Running"}}
    assert field_matcher("status.phase=Running,metadata.name!=b", "Pod")(pod)
    assert not field_matcher("status.phase!=Running", "Pod")(pod)
    with pytest.raises(StatusError, match="field label not supported"):
        field_matcher("status.phase=Running", "Deployment")


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (184, "3m4s"),
        (700, "11m"),
        (3 * 3600, "3h"),
        (3 * 3600 + 240, "3h4m"),
        (9 * 3600, "9h"),
        (47 * 3600, "47h"),
        (3 * 86400 + 7200, "3d2h"),
        (9 * 86400, "9d"),
    ],
)
def test_ages_read_as_kubectl_s(seconds: int, shown: str) -> None:
    """`HumanDuration` of apimachinery."""
    assert human_duration(seconds) == shown


def _deployment(surge: object, unavailable: object, replicas: int) -> dict[str, Any]:
    rolling = {"maxSurge": surge, "maxUnavailable": unavailable}
    strategy = {"type": "RollingUpdate", "rollingUpdate": rolling}
    return complete_deployment({"spec": {"replicas": replicas, "strategy": strategy}})


@pytest.mark.parametrize(
    ("surge", "unavailable", "replicas", "expected"),
    [
        ("25%", "25%", 3, (1, 0)),
        ("25%", "25%", 10, (3, 2)),
        (1, 0, 2, (1, 0)),
        ("0%", "1%", 10, (0, 1)),
    ],
)
def test_surge_is_rounded_up_and_what_may_lack_down(
    surge: object, unavailable: object, replicas: int, expected: tuple[int, int]
) -> None:
    """And when both come to nothing, one may lack."""
    assert surge_of(_deployment(surge, unavailable, replicas)) == expected


def test_a_template_is_known_again_without_what_says_nothing() -> None:
    """As `rollout undo` sends it: without the hash, with defaults left out."""
    template = {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"image": "a:1"}]}}
    stored = complete_deployment({"spec": {"template": template}})["spec"]["template"]
    labelled = copy.deepcopy(stored)
    labelled["metadata"]["labels"][HASH_LABEL] = "abc"
    assert same_template(labelled, template)
    assert hash_template(without_hash(labelled)) == hash_template(stored)
    other = copy.deepcopy(stored)
    other["spec"]["containers"][0]["image"] = "a:2"
    assert not same_template(labelled, other)
    assert set(hash_template(other)) <= set("456789bcdf")


_INSTANCE = Instance("pod", InstanceSpec("rs", "service", "image"), 1, "127.0.0.1:8000", 4321)


@pytest.mark.parametrize(
    ("command", "runs"),
    [
        (["ps"], ("ps", "-ww", "-p", "4321")),
        (["ps", "aux"], ("ps", "u", "-ww", "-p", "4321")),
        (["/bin/ps", "-ef"], ("ps", "-f", "-ww", "-p", "4321")),
        (["cat", "/proc/1/statm", "/proc/meminfo"], ("cat", "/proc/4321/statm", "/proc/meminfo")),
    ],
)
def test_programs_run_on_the_pod_s_own_process(command: list[str], runs: tuple[str, ...]) -> None:
    """1 stands for the real number."""
    assert prepare(command, _INSTANCE).argv == runs


@pytest.mark.parametrize(
    "command",
    [
        [],
        ["sh"],
        ["cat"],
        ["cat", "/etc/passwd"],
        ["cat", "/proc/1/environ"],
        ["cat", "/proc/4321/stat"],
        ["cat", "/proc/1/cwd/etc/passwd"],
        ["cat", "/proc/../etc/passwd"],
        ["ps", "-p", "4321"],
        ["ps", "--pid=1", "-C", "python"],
        ["ps", "-G", "root"],
        ["py-spy"],
        ["py-spy", "top", "--pid", "1"],
        ["py-spy", "dump"],
        ["py-spy", "dump", "--pid", "4321"],
        ["py-spy", "record", "--pid", "1", "-o", "x.svg"],
        ["py-spy", "record", "--pid", "1", "-o", "-", "-d", "900"],
        ["py-spy", "record", "-o", "-", "--", "sh"],
        ["py-spy", "record", "--pid", "1", "--subprocesses", "-o", "-"],
    ],
)
def test_every_other_program_is_refused(command: list[str]) -> None:
    """Nothing but reading one's own process."""
    with pytest.raises(RefusedError):
        prepare(command, _INSTANCE)


def test_a_program_s_output_reads_as_inside_the_pod() -> None:
    """Columns stay where they are; sizes that look like the number are left alone."""
    table = Program((), 4321, columns=True)
    before = b"  PID  PPID   RSS\n 4321    99  4321\n"
    assert table.translate(before, 99) == b"  PID  PPID   RSS\n    1     0  4321\n"
    assert Program((), 4321).translate(b"Process 4321: python\n", 99) == b"Process 1: python\n"
