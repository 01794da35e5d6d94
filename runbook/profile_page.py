"""The flame graph: one HTML file in the site's look that asks nobody for anything.

A box is a function, as wide as its share of the samples, below the one that calls it. Its content
security policy forbids every request, and any script but its own, whatever a function is called.
"""

from __future__ import annotations

import base64
import hashlib
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from runbook.profile_stacks import (
    find_hottest_path,
    fold_chains,
    grow_tree,
    lay_out,
    list_functions,
)
from runbook.render import clean_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runbook.profile_stacks import Box, Frame, Function, Samples

_VIEW = Path(__file__).resolve().parent / "profile_view"
_SMALLEST_SHARE = 0.002
_LISTED = 8
_LONGEST_NAME = 70
_LEGEND = (
    ("hottest", "burns the most"),
    ("hot", "the way there"),
    ("service", "the service's own code"),
    ("library", "libraries"),
    ("python", "Python itself"),
)
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main>
<p class="where">{where}</p>
<h1>{headline}</h1>
<p class="facts">{facts}</p>
{graph}
</main>
<script>{script}</script>
</body>
</html>
"""
_GRAPH = """<h2>Where the CPU goes</h2>
<ul class="legend">{legend}</ul>
<div class="flame" role="group" aria-label="Flame graph" style="--rows:{rows}">
{boxes}
</div>
<p class="told" hidden><output></output><button type="button" hidden>Show all</button></p>
<h2>The hottest functions</h2>
<table>
<thead><tr><th class="bar"></th><th class="number">itself</th><th class="number">with calls</th>\
<th>function</th></tr></thead>
<tbody>
{functions}
</tbody>
</table>"""


class Recording(NamedTuple):
    """What was sampled, where, and when.

    Attributes:
        where: The target and the service, as the command's first line names them.
        instance: The instance or pod.
        began: RFC 3339 time.
        taken: Samples that were taken, those of an idle process included.
    """

    where: str
    instance: str
    revision: str
    pid: int
    began: str
    seconds: float
    taken: int
    samples: Samples


def write_page(recording: Recording) -> str:
    """Return the flame graph as an HTML page; every text out of the process is escaped."""
    samples = recording.samples
    functions = list_functions(samples)
    script = (_VIEW / "flame.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    hottest = functions[0] if functions else None
    name = hottest.function if hottest else "nothing"
    return _PAGE.format(
        policy=policy,
        title=_safe(f"CPU profile: {name} in {recording.instance}"),
        style=(_VIEW / "flame.css").read_text(encoding="utf-8"),
        where=_safe(recording.where),
        headline=_headline(hottest, samples.busy),
        facts=_facts(recording, hottest),
        graph=_draw(samples, functions) if functions else "",
        script=script,
    )


def tell_busy(recording: Recording) -> str:
    """Return how busy the process was while it was sampled, in words."""
    busy = recording.samples.busy
    return (
        f"{busy} busy stacks in {recording.taken} samples "
        f"({busy / recording.taken:.0%} of one vCPU), taken over {recording.seconds:g} s"
    )


def _headline(hottest: Function | None, busy: int) -> str:
    if hottest is None:
        return "The process was idle: no sample met it at work"
    return f"<code>{_safe(hottest.function)}</code> burns {hottest.own / busy:.0%} of the CPU time"


def _facts(recording: Recording, hottest: Function | None) -> str:
    told = []
    if hottest:
        told.append(f"<code>{_safe(hottest.place)}</code>")
    revision = f" of {recording.revision}" if recording.revision else ""
    told.append(_safe(f"{recording.instance}{revision}, process {recording.pid}"))
    told.append(escape(tell_busy(recording)))
    told.append(escape(f"{recording.began[:19].replace('T', ' ')} UTC"))
    return " · ".join(told)


def _draw(samples: Samples, functions: Sequence[Function]) -> str:
    tree = grow_tree(samples, find_hottest_path(samples))
    fold_chains(tree)
    boxes = lay_out(tree, smallest=max(1.0, samples.busy * _SMALLEST_SHARE))
    hottest = functions[0].function, functions[0].file
    legend = "".join(f'<li><i class="{name}"></i>{escape(text)}</li>' for name, text in _LEGEND)
    return _GRAPH.format(
        legend=legend,
        rows=max(box.depth for box in boxes) + 1,
        boxes="\n".join(_draw_box(box, samples.busy, hottest) for box in boxes),
        functions="\n".join(
            _draw_row(one, samples.busy, first=one == functions[0])
            for one in functions[:_LISTED]
            if one.own
        ),
    )


def _draw_box(box: Box, all_samples: int, hottest: tuple[str, str]) -> str:
    node = box.node
    last = node.frames[-1]
    kinds: list[str] = [last.kind]
    if node.hot:
        kinds.append("hottest" if (last.function, last.file) == hottest else "hot")
    share = node.total / all_samples
    told = f"{_name(node.frames)}: {share:.1%} of the samples, {node.own / all_samples:.1%} itself"
    told += f" ({clean_text(last.place)})" if len(node.frames) == 1 else ""
    left = box.left / all_samples
    return (
        f'<button type="button" class="{" ".join(kinds)}" title="{escape(told)}"'
        f' style="--l:{left:.5f};--w:{share:.5f};--d:{box.depth}">'
        f"<span>{escape(_name(node.frames))}</span></button>"
    )


def _name(frames: Sequence[Frame]) -> str:
    names = [clean_text(frame.function) for frame in frames]
    if len(" > ".join(names)) <= _LONGEST_NAME:
        return " > ".join(names)
    return f"{names[0]} > {len(names) - 2} more > {names[-1]}" if len(names) > 2 else names[-1]  # noqa: PLR2004


def _draw_row(one: Function, all_samples: int, *, first: bool) -> str:
    own = one.own / all_samples
    kind = "hottest" if first else one.kind
    return (
        f'<tr><td class="bar"><i class="{kind}" style="--w:{own:.4f}"></i></td>'
        f'<td class="number">{own:.1%}</td>'
        f'<td class="number">{one.total / all_samples:.1%}</td>'
        f"<td><code>{_safe(one.function)}</code><small>{_safe(one.place)}</small></td></tr>"
    )


def _safe(text: str) -> str:
    return escape(clean_text(text))
