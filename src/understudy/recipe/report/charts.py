"""Curves as SVG inside the page: axes with round numbers, phases as bands, one line a series."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from understudy.recipe.report.html import Html, el

WIDTH, HEIGHT = 560, 300
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 26, 34
LETTER = 7.6
"""The width of a letter, as a phone shows them; on a wide screen they are smaller."""
COLUMNS = 240
"""A line has at most so many points; each stands for the mean of its iterations."""


@dataclass(frozen=True)
class Series:
    """One line. tone: the class of its colour. dashed: for what is compared with. band: also its spread."""

    label: str
    at: Sequence[int]
    values: Sequence[float]
    tone: str
    dashed: bool = False
    band: bool = False


@dataclass(frozen=True)
class Band:
    """A stretch of iterations with a name: a phase."""

    name: str
    first: int
    last: int


@dataclass(frozen=True)
class Chart:
    """A title with its lines. limits: of the values, where they are known beforehand."""

    title: str
    series: Sequence[Series]
    about: str = ""
    limits: tuple[float, float] | None = None
    bands: Sequence[Band] = field(default_factory=tuple)


def draw(chart: Chart) -> Html | None:
    """The chart as a figure with a legend; None where only what is compared with has a point."""
    lines = [(series, *_known(series)) for series in chart.series]
    lines = [line for line in lines if len(line[1])]
    if all(series.dashed for series, _, _ in lines):
        return None
    across = _Axis(*_span([at for _, at, _ in lines]), LEFT, WIDTH - RIGHT)
    low, high = chart.limits or _heights([values for _, _, values in lines])
    up = _Axis(low, high, HEIGHT - BOTTOM, TOP)
    body = [
        *_bands(chart.bands, across),
        *_grid(across, up),
        _clipped([_line(series, at, values, across, up) for series, at, values in lines]),
    ]
    words = ", ".join(f"{series.label} ends at {number_text(float(values[-1]))}" for series, _, values in lines)
    picture = el(
        "svg", *body, viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img", aria_label=f"{chart.title}: {words}"
    )  # fmt: skip
    legend = [
        el(
            "li",
            el("span", class_=f"key {series.tone}{' dashed' if series.dashed else ''}"),
            series.label,
            el("b", number_text(float(values[-1]))),
        )
        for series, _, values in lines
    ]
    return el(
        "figure",
        el("figcaption", el("strong", chart.title), el("span", chart.about) if chart.about else None),
        picture,
        el("ul", legend, class_="legend"),
        class_="chart",
    )


def columns(
    at: NDArray[np.float64], values: NDArray[np.float64], count: int = COLUMNS
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """(iteration, mean, least, greatest) of at most `count` runs of neighbouring points."""
    parts = np.array_split(np.arange(len(at)), min(count, len(at)))
    rows = [(at[part].mean(), values[part].mean(), values[part].min(), values[part].max()) for part in parts]
    table = np.array(rows)
    return table[:, 0], table[:, 1], table[:, 2], table[:, 3]


def ticks(low: float, high: float, most: int, *, whole: bool = False) -> list[float]:
    """Round numbers between two ends, about so many. whole: none between integers."""
    raw = max((high - low) / max(1, most), 1.0 if whole else 0.0)
    power = 10.0 ** math.floor(math.log10(raw)) if raw > 0 else 1.0
    steps = (step * power for step in (1, 2, 2.5, 5, 10))
    step = next(step for step in steps if step >= raw * 0.999 and not (whole and step % 1))
    first = math.ceil(low / step - 1e-9)
    return [index * step for index in range(first, math.floor(high / step + 1e-9) + 1)]


@dataclass(frozen=True)
class _Axis:
    """Numbers from low to high, laid out from start to end in the picture's units."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        return round(self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start), 1)


def _known(series: Series) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    at, values = np.asarray(series.at, np.float64), np.asarray(series.values, np.float64)
    finite = np.isfinite(values)
    return at[finite], values[finite]


def _span(every: Sequence[NDArray[np.float64]]) -> tuple[float, float]:
    low, high = min(float(at.min()) for at in every), max(float(at.max()) for at in every)
    return (low, high) if high > low else (low - 1, high + 1)


def _heights(every: Sequence[NDArray[np.float64]]) -> tuple[float, float]:
    """From the least to what holds all but the start's peaks, so that those do not flatten the rest."""
    low = min(float(values.min()) for values in every)
    high = max(max(float(np.quantile(values, 0.98)), float(values[len(values) // 8 :].max())) for values in every)
    room = (high - low) * 0.06 or abs(high) * 0.1 or 1.0
    return (max(0.0, low - room) if low >= 0 else low - room), high + room


def _clipped(children: object) -> Html:
    """What is drawn inside the axes: a picture in the picture shows nothing beyond its edges."""
    width, height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    return el("svg", children, x=LEFT, y=TOP, width=width, height=height, viewBox=f"{LEFT} {TOP} {width} {height}")


def _bands(bands: Sequence[Band], across: _Axis) -> list[Html]:
    made = []
    for index, band in enumerate(bands):
        left, right = across(max(band.first, across.low)), across(min(band.last, across.high))
        if right <= left:
            continue
        made.append(
            el("rect", x=left, y=TOP, width=round(right - left, 1), height=HEIGHT - TOP - BOTTOM,
               class_="band odd" if index % 2 else "band")
        )  # fmt: skip
        room = int((right - left) / LETTER)
        if room >= 3:
            name = band.name if len(band.name) <= room else band.name[: room - 1] + "…"
            made.append(el("text", name, x=round((left + right) / 2, 1), y=TOP - 9, class_="phase"))
    return made


def _grid(across: _Axis, up: _Axis) -> list[Html]:
    made = []
    for value in ticks(up.low, up.high, 5):
        y = up(value)
        made.append(el("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y, class_="grid"))
        made.append(el("text", number_text(value), x=LEFT - 7, y=y + 4, class_="tick left"))
    for value in ticks(across.low, across.high, 5, whole=True):
        x = across(value)
        made.append(el("line", x1=x, x2=x, y1=HEIGHT - BOTTOM, y2=HEIGHT - BOTTOM + 4, class_="axis"))
        words = f"{value:,.0f}"
        is_last = x + 5 * len(words) > WIDTH
        made.append(
            el(
                "text",
                words,
                x=WIDTH if is_last else x,
                y=HEIGHT - BOTTOM + 17,
                class_="tick right" if is_last else "tick",
            )
        )
    made.append(el("line", x1=LEFT, x2=WIDTH - RIGHT, y1=HEIGHT - BOTTOM, y2=HEIGHT - BOTTOM, class_="axis"))
    made.append(el("text", "iteration", x=WIDTH - RIGHT, y=HEIGHT - 3, class_="tick right"))
    return made


def _line(
    series: Series, at: NDArray[np.float64], values: NDArray[np.float64], across: _Axis, up: _Axis
) -> list[Html]:  # fmt: skip
    x, mean, least, greatest = columns(at, values)
    made = []
    if series.band and len(at) > COLUMNS:
        edge = [
            f"{across(a)},{up(b)}" for a, b in [*zip(x, greatest, strict=True), *zip(x[::-1], least[::-1], strict=True)]
        ]
        made.append(el("polygon", points=" ".join(edge), class_=f"spread {series.tone}"))
    points = " ".join(f"{across(a)},{up(b)}" for a, b in zip(x, mean, strict=True))
    made.append(el("polyline", points=points, class_=f"line {series.tone}{' dashed' if series.dashed else ''}"))
    if len(x) <= 30:
        made += [
            el("circle", cx=across(a), cy=up(b), r=2.6, class_=f"dot {series.tone}")
            for a, b in zip(x, mean, strict=True)
        ]
    return made


def number_text(value: float) -> str:
    """Three digits that matter: 4,120, 12.3, 0.0451."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else "–"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    text = f"{value:.{min(digits, 6)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
