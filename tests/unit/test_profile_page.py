"""The flame graph's file: whole in itself, and safe whatever a function is called."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from runbook.profile_page import Recording, write_page
from runbook.profile_stacks import Frame, Samples, Stack, parse_raw

HOSTILE = "</script><img src=//evil onerror=x>\"'&{x}\x1b[2J\u202e"


class Reader(HTMLParser):
    """Collects the elements with their attributes, and the visible text."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep an element."""
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        """Keep text."""
        self.text += data


def record(samples: Samples, instance: str = "api-1-x") -> Recording:
    began = "2026-11-23T06:00:00+00:00"
    return Recording("local · p / r / api", instance, "api-1", 42, began, 5, 500, samples)


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    return reader


SOME = parse_raw("main (s/m.py:1);spin (s/m.py:7) 90\nmain (s/m.py:1);fast (s/m.py:9) 10")


def test_the_headline_says_what_burns_the_cpu() -> None:
    text = re.sub(r"\s+", " ", read(write_page(record(SOME))).text)
    assert "spin burns 90% of the CPU time" in text
    assert "s/m.py:7 · api-1-x of api-1, process 42" in text


def test_every_box_can_be_focused_and_has_a_title() -> None:
    boxes = [attrs for tag, attrs in read(write_page(record(SOME))).elements
             if tag == "button" and attrs.get("style")]  # fmt: skip
    assert [box["title"] for box in boxes] == [
        "main: 100.0% of the samples, 0.0% itself (s/m.py)",
        "spin: 90.0% of the samples, 90.0% itself (s/m.py)",
        "fast: 10.0% of the samples, 10.0% itself (s/m.py)",
    ]
    assert boxes[1]["class"] == "service hottest"
    assert boxes[1]["style"] == "--l:0.00000;--w:0.90000;--d:1"


def test_nothing_is_asked_of_anyone() -> None:
    page = write_page(record(SOME))
    reader = read(page)
    assert not re.search(r"https?://|//[a-z]|@import|url\(", page.replace("// ", ""))
    assert {tag for tag, _ in reader.elements}.isdisjoint({"link", "img", "iframe", "object"})
    assert not [attrs for _, attrs in reader.elements if attrs.keys() & {"src", "href", "srcset"}]
    policy = next(a["content"] for t, a in reader.elements if t == "meta" and "http-equiv" in a)
    assert str(policy).startswith("default-src 'none'; ")


def test_an_idle_process_has_no_graph_and_says_so() -> None:
    reader = read(write_page(record(Samples(()))))
    assert "The process was idle" in reader.text
    assert not [tag for tag, _ in reader.elements if tag == "button"]


def skeleton(page: str) -> list[tuple[str, tuple[str, ...]]]:
    """Return the elements with the names of their attributes: all that a text must not change."""
    return [(tag, tuple(attrs)) for tag, attrs in read(page).elements]


PLAIN = Samples((Stack((Frame("f", "s/f.py", 1),), 30),))


@given(st.text(min_size=1) | st.just(HOSTILE))
def test_no_name_of_a_function_becomes_markup(name: str) -> None:
    named = Samples((Stack((Frame(name, f"s/{name}", 1),), 30),))
    page = write_page(record(named, instance=f"api-{name}"))
    assert skeleton(page) == skeleton(write_page(record(PLAIN)))
    assert "\x1b" not in page
    assert "\u202e" not in page
