"""Stacks as py-spy writes them: parsed, summed up, and laid out as a flame graph."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runbook.profile_stacks import (
    Frame,
    Node,
    Samples,
    Stack,
    find_hottest_path,
    fold_chains,
    grow_tree,
    lay_out,
    list_functions,
    parse_raw,
)

RAW = """\
py-spy> Sampling process 100 times a second for 5 seconds. Press Control-C to exit.

<module> (app/main.py:9);serve (app/main.py:5);spin (app/loops.py:12) 60
<module> (app/main.py:9);serve (app/main.py:5);spin (app/loops.py:13) 10
<module> (app/main.py:9);serve (app/main.py:6);render (/x/lib/python3.11/json/encoder.py:200) 20
<module> (app/main.py:9);serve (app/main.py:6) 4
Thread.run (threading.py:982);Condition.wait (threading.py:331) 50
py-spy> Wrote raw flamegraph data to '/dev/stdout'. Samples: 144 Errors: 3
py-spy> You can use the flamegraph.pl script from somewhere to generate a SVG
"""


def test_waiting_is_no_work_and_what_py_spy_says_is_no_stack() -> None:
    samples = parse_raw(RAW)
    assert samples.busy == 94
    assert samples.errors == 3


def test_the_hottest_function_is_summed_over_its_lines() -> None:
    first, second, *_ = list_functions(parse_raw(RAW))
    assert (first.function, first.place, first.own, first.total) == (
        "spin",
        "app/loops.py:12",
        70,
        70,
    )
    assert (second.function, second.own) == ("render", 20)


def test_a_function_that_calls_itself_counts_once() -> None:
    [one] = list_functions(parse_raw("f (a.py:1);f (a.py:2);f (a.py:2) 5"))
    assert (one.own, one.total) == (5, 5)


def test_the_hottest_path_ends_in_the_hottest_function() -> None:
    assert [frame.function for frame in find_hottest_path(parse_raw(RAW))] == [
        "<module>",
        "serve",
        "spin",
    ]
    assert find_hottest_path(Samples(())) == ()


@pytest.mark.parametrize(
    ("file", "kind", "place"),
    [("/srv/app/service/loops.py", "service", "service/loops.py"),
     ("/v/lib/python3.11/site-packages/uvicorn/server.py", "library", "uvicorn/server.py"),
     ("/usr/lib/python3/dist-packages/yaml/__init__.py", "library", "yaml/__init__.py"),
     ("/usr/lib/python3.11/asyncio/events.py", "python", "asyncio/events.py"),
     ("asyncio/events.py", "python", "asyncio/events.py"),
     ("threading.py", "python", "threading.py"),
     ("<frozen runpy>", "python", "<frozen runpy>"), ("", "python", "")],
)  # fmt: skip
def test_whose_code_it_is(file: str, kind: str, place: str) -> None:
    frame = Frame("f", file)
    assert (frame.kind, frame.place) == (kind, place)


@pytest.mark.parametrize(
    "text", ["", "\n\n", "nonsense", "a (b.py:1)", "a (b.py:1) x", " 5", "a ²"]
)
def test_odd_lines_are_passed_over(text: str) -> None:
    assert parse_raw(text) == Samples(())


@given(st.text())
def test_no_text_breaks_the_parser(text: str) -> None:
    assert parse_raw(text).busy >= 0


@given(st.text())
def test_a_frame_of_any_name_is_kept(name: str) -> None:
    one_line = "".join(char for char in name if char.isprintable() and char != ";")
    frame = f"{one_line} (a/b.py:3)"
    [stack] = parse_raw(f"{frame} 7").stacks
    assert stack == Stack((Frame(one_line, "a/b.py", 3),), 7)


FRAMES = st.builds(Frame, st.sampled_from("abcd"), st.sampled_from(["s/x.py", "threading.py"]))
STACKS = st.builds(Stack, st.lists(FRAMES, min_size=1, max_size=6).map(tuple), st.integers(1, 99))


@given(st.lists(STACKS, min_size=1, max_size=12).map(tuple))
def test_boxes_lie_within_their_callers_and_never_overlap(stacks: tuple[Stack, ...]) -> None:
    samples = Samples(stacks)
    root = grow_tree(samples, find_hottest_path(samples))
    fold_chains(root)
    rows: dict[int, list[tuple[int, int]]] = {}
    for box in lay_out(root, smallest=0):
        rows.setdefault(box.depth, []).append((box.left, box.left + box.node.total))
    for depth, row in rows.items():
        above = rows.get(depth - 1, [(0, samples.busy)])
        for (_, end), (begin, _) in pairwise(row):
            assert end <= begin
        for begin, end in row:
            assert any(left <= begin and end <= right for left, right in above)
    assert sum(node.own for node in _walk(root)) == samples.busy


def _walk(node: Node) -> list[Node]:
    return [node, *(one for child in node.children.values() for one in _walk(child))]


def test_a_chain_of_callers_is_one_box_and_the_hottest_keeps_its_own() -> None:
    raw = "run (runpy.py:1);code (runpy.py:2);main (s/m.py:1);go (s/m.py:2);spin (s/m.py:3) 9"
    samples = parse_raw(raw)
    root = grow_tree(samples, find_hottest_path(samples))
    fold_chains(root)
    boxes = lay_out(root, smallest=1)
    names = [[frame.function for frame in box.node.frames] for box in boxes]
    assert names == [["run", "code"], ["main", "go"], ["spin"]]
    assert all(box.node.hot for box in boxes)


def test_small_boxes_are_left_out() -> None:
    samples = parse_raw("a (x.py:1) 999\nb (x.py:2) 1")
    boxes = lay_out(grow_tree(samples, ()), smallest=2)
    assert [box.node.frames[0].function for box in boxes] == ["a"]


def test_the_hottest_path_lies_on_the_left() -> None:
    raw = "wide (s/a.py:1);x (s/a.py:2) 30\nwide (s/a.py:1);y (s/a.py:3) 30\nhot (s/b.py:1) 40"
    samples = parse_raw(raw)
    boxes = lay_out(grow_tree(samples, find_hottest_path(samples)), smallest=1)
    assert (boxes[0].node.frames[0].function, boxes[0].left) == ("hot", 0)
