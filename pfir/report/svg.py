"""Small charts as inline SVG; colours and type come from the page's style sheet through classes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from html import escape

from pfir.names import visible

LEFT, RIGHT, TOP, BOTTOM = 58, 18, 14, 40
WIDE, NARROW = 760, 340  # Units of a drawing, which are pixels where it is shown in its own size.
HEADROOM = 0.04  # Above a share of 1, so that a mark there is not cut off, and below any tick.
ORDER = ("trial", "chosen", "result")  # What is drawn over what.


@dataclass(frozen=True)
class Axis:
    """A linear axis from `low` to `high` laid over pixels `start` to `end`."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """The pixel of a value, held inside the axis."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 2)


@dataclass(frozen=True)
class Mark:
    """A point of a scatter plot: its class in the style sheet and what a pointer shows over it."""

    x: float
    y: float
    kind: str = "trial"
    title: str = ""


@dataclass(frozen=True)
class Line:
    """A dashed line through a scatter plot, and what is written beside it."""

    at: float
    label: str


def wide_and_narrow(draw: Callable[[int], str]) -> str:
    """A chart as drawn for the width of a desk's screen and for that of a telephone's; the style sheet shows one."""
    return "".join(f'<div class="{kind}">{draw(width)}</div>' for kind, width in (("wide", WIDE), ("narrow", NARROW)))


def scatter(
    marks: Sequence[Mark],
    x_name: str,
    y_name: str,
    show: Callable[[float], str],
    upright: Sequence[Line] = (),
    level: Sequence[Line] = (),
    width: int = WIDE,
    height: int = 360,
) -> str:
    """Marks with the front of the candidates with least x and most y, and lines at values of x and of y."""
    x = _axis([m.x for m in marks] + [line.at for line in upright], LEFT, width - RIGHT)
    y = _share_axis([m.y for m in marks] + [line.at for line in level], height - BOTTOM, TOP)
    parts = [_grid(x, y, x_name, y_name, show, percent)]
    parts += [_upright(line, x.at(line.at), height) for line in upright]
    parts += [_across(line, y.at(line.at), width) for line in level]
    parts.append(_path([(x.at(m.x), y.at(m.y)) for m in front([m for m in marks if m.kind != "result"])], "front"))
    parts += [_dot(m, x.at(m.x), y.at(m.y)) for m in sorted(marks, key=lambda m: ORDER.index(m.kind))]
    return _svg(width, height, parts, f"{y_name} over {x_name}")


def front(marks: Sequence[Mark]) -> list[Mark]:
    """The marks that no other beats in both x (less) and y (more), by rising x."""
    best, found = -math.inf, []
    for mark in sorted(marks, key=lambda m: (m.x, -m.y)):
        if mark.y > best:
            best = mark.y
            found.append(mark)
    return found


def curve(
    xs: Sequence[float],
    ys: Sequence[float],
    x_name: str,
    y_name: str,
    show: Callable[[float], str],
    width: int = 370,
    height: int = 220,
) -> str:
    """One line, its last value written at its end."""
    x, y = _axis(xs, LEFT, width - RIGHT, pad=0.0), _axis(ys, height - BOTTOM, TOP)
    points = [(x.at(a), y.at(b)) for a, b in zip(xs, ys, strict=True)]
    parts = [_grid(x, y, x_name, y_name, number, show), _path(points, "curve")]
    parts.append(_dot(Mark(xs[-1], ys[-1], "chosen", f"{y_name} {show(ys[-1])}"), *points[-1], radius=3.5))
    return _svg(width, height, parts, f"{y_name} over {x_name}")


def columns(
    names: Sequence[str], before: Sequence[int], after: Sequence[int], width: int = WIDE, height: int = 200
) -> str:
    """One thin column a layer: the height before, and filled to the height after."""
    y = Axis(0, max(before), height - 24, TOP)
    step = (width - LEFT - RIGHT) / len(names)
    thick = round(min(18.0, max(0.8, step * 0.72)), 2)
    parts = [_level(tick, y, LEFT, width - RIGHT, number) for tick in ticks(0, max(before), 4)]
    for index, (name, old, new) in enumerate(zip(names, before, after, strict=True)):
        left = round(LEFT + (index + 0.5) * step - thick / 2, 2)
        tip = f"<title>{_text(name)}: {old} → {new}</title>"
        parts.append(f"<g>{_bar(left, thick, y, old, 'before')}{_bar(left, thick, y, new, 'after')}{tip}</g>")
    parts.append(f'<text class="axis" x="{(LEFT + width - RIGHT) / 2}" y="{height - 4}">groups, first to last</text>')
    return _svg(width, height, parts, "Channels of each group before and after")


def ticks(low: float, high: float, wanted: int = 5) -> list[float]:
    """Round numbers (1, 2, 2.5 or 5 times a power of ten apart) within [low, high]."""
    raw = (high - low) / wanted
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(s * power for s in (1, 2, 2.5, 5, 10) if s * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(i * step, 12) for i in range(first, math.floor(high / step + 1e-9) + 1)]


def number(value: float) -> str:
    return f"{value:.4g}"


def percent(share: float) -> str:
    return f"{100 * share:.4g} %"


def _axis(values: Sequence[float], start: float, end: float, pad: float = 0.06) -> Axis:
    """Over all values with a margin; a single value gets room on both sides."""
    low, high = min(values), max(values)
    room = (high - low) * pad or (0.0 if high > low else max(abs(high) * 0.1, 0.01))
    return Axis(low - room, high + room, start, end)


def _share_axis(values: Sequence[float], start: float, end: float) -> Axis:
    """The same for shares, of which none is above 1."""
    axis = _axis(values, start, end)
    return replace(axis, high=min(axis.high, 1.0 + HEADROOM * (1.0 - axis.low))) if max(values) <= 1 else axis


def _grid(x: Axis, y: Axis, x_name: str, y_name: str, show_x: Callable, show_y: Callable) -> str:
    parts = [_level(tick, y, x.start, x.end, show_y) for tick in ticks(y.low, y.high)]
    for tick in ticks(x.low, x.high, max(2, round((x.end - x.start) / 120))):
        parts.append(f'<text class="tick" x="{x.at(tick)}" y="{y.start + 17}">{_text(show_x(tick))}</text>')
    parts.append(f'<text class="axis" x="{(x.start + x.end) / 2}" y="{y.start + 35}">{_text(x_name)}</text>')
    middle = (y.start + y.end) / 2
    parts.append(f'<text class="axis" transform="translate(12 {middle}) rotate(-90)">{_text(y_name)}</text>')
    return "".join(parts)


def _level(tick: float, y: Axis, left: float, right: float, show: Callable) -> str:
    at = y.at(tick)
    line = f'<line class="grid" x1="{left}" x2="{right}" y1="{at}" y2="{at}"/>'
    return f'{line}<text class="tick side" x="{left - 8}" y="{at + 4}">{_text(show(tick))}</text>'


def _upright(line: Line, at: float, height: int) -> str:
    drawn = f'<line class="goal" x1="{at}" x2="{at}" y1="{TOP}" y2="{height - BOTTOM}"/>'
    return f'{drawn}<text class="tick side" x="{at - 6}" y="{height - BOTTOM - 8}">{_text(line.label)}</text>'


def _across(line: Line, at: float, width: int) -> str:
    drawn = f'<line class="goal" x1="{LEFT}" x2="{width - RIGHT}" y1="{at}" y2="{at}"/>'
    return f'{drawn}<text class="tick side" x="{width - RIGHT}" y="{at - 6}">{_text(line.label)}</text>'


def _path(points: Sequence[tuple[float, float]], kind: str) -> str:
    return f'<polyline class="{kind}" points="{" ".join(f"{a},{b}" for a, b in points)}"/>'


def _dot(mark: Mark, x: float, y: float, radius: float | None = None) -> str:
    radius = radius or (3.5 if mark.kind == "trial" else 6)
    return f'<circle class="{mark.kind}" cx="{x}" cy="{y}" r="{radius}"><title>{_text(mark.title)}</title></circle>'


def _bar(left: float, thick: float, y: Axis, value: float, kind: str) -> str:
    top = y.at(value)
    return f'<rect class="{kind}" x="{left}" y="{top}" width="{thick}" height="{round(y.start - top, 2)}"/>'


def _svg(width: int, height: int, parts: Sequence[str], label: str) -> str:
    return f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{_text(label)}">{"".join(parts)}</svg>'


def _text(value: object) -> str:
    return escape(visible(value))
