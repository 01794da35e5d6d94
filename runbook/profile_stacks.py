"""Samples of a process' stacks, as py-spy writes them, and what they say: pure functions.

py-spy's raw format has a line a stack: frames from the outermost to the innermost, parted by
semicolons, each `function (file:line)`, and how often the stack was met.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

Kind = Literal["service", "library", "python"]
_FRAME = re.compile(r"(?P<function>.*) \((?P<file>.*?)(?::(?P<line>\d+))?\)")
_TOLD = re.compile(r"py-spy> .*Samples: (\d+) Errors: (\d+)")
# Where threads wait. A thread that the kernel woke and that waits for its turn counts as running,
# so on a busy host some samples meet it there; py-spy passes them over on other systems too.
_WAITS = {
    "selectors.py": ("select", "poll"),
    "threading.py": ("wait", "_wait_for_tstate_lock", "join", "acquire"),
    "socket.py": ("readinto", "accept"),
    "ssl.py": ("read", "recv", "accept"),
    "subprocess.py": ("wait", "_try_wait", "communicate"),
    "concurrent/futures/thread.py": ("_worker",),
}
_PACKAGES = ("/site-packages/", "/dist-packages/")
_STANDARD = re.compile(r"(?:^|/)lib(?:64)?/python3[.\d]*/")
_ZIPPED = re.compile(r"(?:^|/)python3\d*\.zip/")


class Frame(NamedTuple):
    """A function on the stack; `line` is where in it execution stood, 0 if that is not known."""

    function: str
    file: str
    line: int = 0

    @property
    def kind(self) -> Kind:
        """Whose code it is: the service's own, a library's, or Python's own."""
        if any(place in self.file for place in _PACKAGES):
            return "library"
        top = self.file.partition("/")[0].removesuffix(".py")
        standard = _STANDARD.search(self.file) or _ZIPPED.search(self.file)
        if standard or self.file.startswith("<frozen") or not self.file:
            return "python"
        return "python" if top in sys.stdlib_module_names else "service"

    @property
    def waits(self) -> bool:
        """Whether the function is one in which Python waits for something."""
        return self.function.rpartition(".")[2] in _WAITS.get(self.place, ())

    @property
    def place(self) -> str:
        """The file as people name it, without the folders above package or program."""
        for mark in _PACKAGES:
            if mark in self.file:
                return self.file.rpartition(mark)[2]
        standard = _STANDARD.search(self.file)
        if standard:
            return self.file[standard.end() :]
        return "/".join(self.file.split("/")[-2:])


class Stack(NamedTuple):
    """Frames from the outermost to the innermost, and how many samples met them."""

    frames: tuple[Frame, ...]
    times: int


class Samples(NamedTuple):
    """The stacks of busy threads; `errors` counts samples whose stack could not be read."""

    stacks: tuple[Stack, ...]
    errors: int = 0

    @property
    def busy(self) -> int:
        """The samples in which a thread was busy; idle ones are not counted."""
        return sum(stack.times for stack in self.stacks)


class Function(NamedTuple):
    """A function's part in the samples.

    Attributes:
        own: Samples in which it was the innermost frame: it burnt the CPU itself.
        total: Samples in which it stood anywhere on the stack.
        line: The line of it that was met most often as innermost.
    """

    function: str
    file: str
    line: int
    own: int
    total: int

    @property
    def kind(self) -> Kind:
        """Whose code it is."""
        return Frame(self.function, self.file).kind

    @property
    def place(self) -> str:
        """File and line as people name them."""
        file = Frame(self.function, self.file).place
        return f"{file}:{self.line}" if self.line else file


@dataclass
class Node:
    """A function as called from one path: a box of the flame graph.

    Attributes:
        frames: The function; several where a straight chain of callers was folded into one box.
        total: Samples in it and in what it calls; `own` are those in itself.
        hot: Whether it lies on the path to the hottest function.
    """

    frames: list[Frame]
    total: int = 0
    own: int = 0
    hot: bool = False
    children: dict[tuple[str, str], Node] = field(default_factory=dict)


class Box(NamedTuple):
    """Where a node stands: `depth` rows from the top, `left` and the node's total in samples."""

    node: Node
    depth: int
    left: int


def parse_raw(text: str) -> Samples:
    """Return the samples in py-spy's raw format but for those that waited.

    Lines that are none, such as what py-spy says at its end, are passed over.
    """
    stacks, errors = [], 0
    for line in text.splitlines():
        told = _TOLD.match(line)
        if told:
            errors = int(told[2])
            continue
        frames, _, count = line.rpartition(" ")
        if not frames or not count.isascii() or not count.isdigit() or line.startswith("py-spy>"):
            continue
        stack = Stack(tuple(map(_parse_frame, frames.split(";"))), int(count))
        if not stack.frames[-1].waits:
            stacks.append(stack)
    return Samples(tuple(stacks), errors)


def list_functions(samples: Samples) -> list[Function]:
    """Return every function, the one that burns most CPU by itself first."""
    own: Counter[tuple[str, str]] = Counter()
    total: Counter[tuple[str, str]] = Counter()
    lines: dict[tuple[str, str], Counter[int]] = {}
    for stack in samples.stacks:
        for key in {_key(frame) for frame in stack.frames}:
            total[key] += stack.times
        inner = stack.frames[-1]
        own[_key(inner)] += stack.times
        lines.setdefault(_key(inner), Counter())[inner.line] += stack.times
    found = [
        Function(
            *key, max(lines[key], key=lines[key].__getitem__) if key in lines else 0, own[key], n
        )
        for key, n in total.items()
    ]
    return sorted(found, key=lambda one: (-one.own, -one.total, one.function, one.file))


def find_hottest_path(samples: Samples) -> tuple[Frame, ...]:
    """Return the stack that was met most often among those that end in the hottest function."""
    functions = list_functions(samples)
    if not functions:
        return ()
    wanted = functions[0].function, functions[0].file
    merged: Counter[tuple[tuple[str, str], ...]] = Counter()
    example: dict[tuple[tuple[str, str], ...], Stack] = {}
    for stack in samples.stacks:
        keys = tuple(map(_key, stack.frames))
        if keys[-1] == wanted:
            merged[keys] += stack.times
            if keys not in example or example[keys].times < stack.times:
                example[keys] = stack
    return example[max(merged, key=merged.__getitem__)].frames


def grow_tree(samples: Samples, hottest: Sequence[Frame]) -> Node:
    """Return the root over all stacks, callers above callees; `hottest` is marked as hot."""
    root = Node([])
    for stack in samples.stacks:
        _add(root, stack.frames, stack.times)
    node = root
    node.hot = True
    for frame in hottest:
        node = node.children[_key(frame)]
        node.hot = True
    return root


def fold_chains(root: Node) -> None:
    """Fold callers that do nothing but call one another, down to where the paths part.

    The way from the program's start to its first decision is a dozen such frames. The hottest
    function keeps its own box, and the service's own code is not mixed with others'.
    """
    waiting = [root]
    while waiting:
        node = waiting.pop()
        while _may_fold(node):
            [child] = node.children.values()
            node.frames += child.frames
            node.own, node.children = child.own, child.children
        waiting += node.children.values()


def lay_out(root: Node, smallest: float) -> list[Box]:
    """Return a box a node, row by row; those of fewer than `smallest` samples are left out.

    The root itself has no box.
    """
    return sorted(_place(root, smallest), key=lambda box: (box.depth, box.left))


def _place(root: Node, smallest: float) -> Iterator[Box]:
    waiting = [(root, -1, 0)]
    while waiting:
        node, depth, left = waiting.pop()
        if depth >= 0:
            yield Box(node, depth, left)
        for child in sorted(node.children.values(), key=_order):
            if child.total >= smallest:
                waiting.append((child, depth + 1, left))
            left += child.total


def _order(node: Node) -> tuple[bool, int, str]:
    return (not node.hot, -node.total, node.frames[0].function)


def _may_fold(node: Node) -> bool:
    if len(node.children) != 1 or not node.frames or node.own:
        return False
    [child] = node.children.values()
    ends_here = child.hot and not any(one.hot for one in child.children.values())
    own_code = {one.frames[0].kind == "service" for one in (node, child)}
    return child.total == node.total and len(own_code) == 1 and not ends_here


def _add(root: Node, frames: Iterable[Frame], count: int) -> None:
    node = root
    node.total += count
    for frame in frames:
        node = node.children.setdefault(_key(frame), Node([frame]))
        node.total += count
    node.own += count


def _parse_frame(text: str) -> Frame:
    found = _FRAME.fullmatch(text)
    if not found:
        return Frame(text, "")
    return Frame(found["function"], found["file"], int(found["line"] or 0))


def _key(frame: Frame) -> tuple[str, str]:
    return frame.function, frame.file
