"""The chart of latency against load over capacity, as SVG without a script."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

# Small, so that its words can still be read where a phone makes it smaller.
_WIDTH, _HEIGHT = 560, 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 60, 112, 66, 56
_LABELS_APART = 18
_RHO_LOW, _RHO_HIGH = 0.25, 1.0
_FIRST_TICK_S = 0.1
_LEGEND = "solid: measured · dashed: predicted by queueing · band: nine in ten"
# A picture in a page follows the system's colours and knows nothing of the page's: it brings its
# own ground, and reads well on either.
_STYLE = """
text { font: 14px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; fill: #1d2b38; }
.title { font-size: 16px; font-weight: 600; }
.ground { fill: #ffffff; }
.grid { stroke: #d5dbe1; }
.line { fill: none; stroke-width: 2; }
.expected { fill: none; stroke-width: 1.5; stroke-dasharray: 5 4; }
.band { opacity: 0.14; stroke: none; }
.series-0 { stroke: #b3161d; fill: #b3161d; }
.series-1 { stroke: #8a5300; fill: #8a5300; }
.series-2 { stroke: #0b5cad; fill: #0b5cad; }
text.series-0, text.series-1, text.series-2 { stroke: none; font-weight: 600; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6ebf0; }
  .ground { fill: #16222e; }
  .grid { stroke: #35424f; }
  .series-0 { stroke: #ff9a96; fill: #ff9a96; }
  .series-1 { stroke: #f4c36a; fill: #f4c36a; }
  .series-2 { stroke: #7cbcff; fill: #7cbcff; }
}
polyline.series-0, polyline.series-1, polyline.series-2 { fill: none; }
"""


class Point(NamedTuple):
    """One measurement; times are 95th percentiles in seconds."""

    instances: int
    rho: float
    requests: int
    failed: int
    p95_s: float
    predicted_s: float
    low_s: float
    high_s: float
    pooled_s: float


def draw_chart(points: Sequence[Point]) -> str:
    """Return an SVG of the points: measured as a line, predicted as a dashed one with its band.

    Time is drawn logarithmically: from a tenth of a second to beyond the slowest.
    """
    highest = max(max(point.p95_s, point.high_s) for point in points)
    top_s = _FIRST_TICK_S * 2 ** math.ceil(math.log2(max(highest, 0.2) / _FIRST_TICK_S))
    scale = _Scale(top_s)
    counts = sorted({point.instances for point in points})
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">',
        "<title>P95 against load over capacity</title>",
        f"<desc>{escape(_describe(points))}</desc>",
        f"<style>{_STYLE}</style>",
        f'<rect class="ground" width="{_WIDTH}" height="{_HEIGHT}" rx="6"/>',
        *_draw_axes(scale),
    ]
    series = [sorted((p for p in points if p.instances == n), key=lambda p: p.rho) for n in counts]
    for place, mine in enumerate(series):
        parts += _draw_series(scale, mine, f"series-{place % 3}")
    parts += _draw_labels(scale, [mine[-1] for mine in series])
    return "\n".join((*parts, "</svg>", ""))


class _Scale:
    def __init__(self, top_s: float) -> None:
        self.top_s = top_s

    def x(self, rho: float) -> float:
        inner = _WIDTH - _LEFT - _RIGHT
        return round(_LEFT + inner * (rho - _RHO_LOW) / (_RHO_HIGH - _RHO_LOW), 1)

    def y(self, seconds: float) -> float:
        inner = _HEIGHT - _TOP - _BOTTOM
        share = math.log(max(seconds, _FIRST_TICK_S) / _FIRST_TICK_S)
        return round(_HEIGHT - _BOTTOM - inner * share / math.log(self.top_s / _FIRST_TICK_S), 1)

    def path(self, pairs: Sequence[tuple[float, float]]) -> str:
        return " ".join(f"{self.x(rho)},{self.y(seconds)}" for rho, seconds in pairs)


def _draw_axes(scale: _Scale) -> list[str]:
    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
    middle = (_LEFT + right) / 2
    parts = [
        f'<text class="title" x="{_LEFT}" y="28">P95 against load over capacity</text>',
        f'<text x="{_LEFT}" y="50">{_LEGEND}</text>',
        f'<text x="{middle}" y="{_HEIGHT - 16}" text-anchor="middle">load over capacity</text>',
    ]
    for rho in (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0):
        x = scale.x(rho)
        parts.append(f'<line class="grid" x1="{x}" x2="{x}" y1="{_TOP}" y2="{bottom}"/>')
        parts.append(f'<text x="{x}" y="{bottom + 20}" text-anchor="middle">{rho:.1f}</text>')
    tick = _FIRST_TICK_S
    while tick <= scale.top_s * 1.001:
        y = scale.y(tick)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{right}" y1="{y}" y2="{y}"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 4}" text-anchor="end">{tick:g} s</text>')
        tick *= 2
    return parts


def _draw_series(scale: _Scale, points: Sequence[Point], name: str) -> list[str]:
    upper = [(point.rho, point.high_s) for point in points]
    lower = [(point.rho, point.low_s) for point in reversed(points)]
    expected = scale.path([(point.rho, point.predicted_s) for point in points])
    seen = scale.path([(point.rho, point.p95_s) for point in points])
    return [
        f'<polygon class="band {name}" points="{scale.path([*upper, *lower])}"/>',
        f'<polyline class="expected {name}" points="{expected}"/>',
        f'<polyline class="line {name}" points="{seen}"/>',
        *(
            f'<circle class="{name}" cx="{scale.x(p.rho)}" cy="{scale.y(p.p95_s)}" r="3.5"/>'
            for p in points
        ),
    ]


def _draw_labels(scale: _Scale, ends: Sequence[Point]) -> list[str]:
    """Return each series' name beside its last point, or below the name above it."""
    parts, free = [], 0.0
    for place, last in sorted(enumerate(ends), key=lambda one: -one[1].p95_s):
        y = max(scale.y(last.p95_s) + 5, free)
        free = y + _LABELS_APART
        parts.append(
            f'<text class="series-{place % 3}" x="{scale.x(last.rho) + 10:g}" y="{y:g}">'
            f"{last.instances} instances</text>"
        )
    return parts


def _describe(points: Sequence[Point]) -> str:
    return "; ".join(
        f"{p.instances} instances at {p.rho:g}: {p.p95_s:.2f} s, predicted {p.predicted_s:.2f} s"
        for p in points
    )
