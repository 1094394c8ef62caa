"""One picture of what a src covers of a dst: pose, light, expression and sharpness, and the riskiest faces."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from understudy.curation.coverage import (
    COVERED,
    STRIP_BINS,
    STRIPS,
    THIN,
    Coverage,
    Lack,
    missing_stretches,
    missing_words,
    strip,
)

Image8 = npt.NDArray[np.uint8]

BACK, PANEL, INK, FAINT = "#16181c", "#1f2228", "#e8eaee", "#8d94a0"
SRC, DST, GOOD, THIN_COLOUR, RISK = "#3fb8af", "#ffb347", "#5fd38d", "#ffd166", "#ff5964"
WIDTH, HEIGHT, DOTS = 17.5, 13.95, 100  # inches, inches, dots per inch
LEFT, RIGHT = 0.75, 17.1  # inches
MOST_TILES, MOST_WORDS = 10, 10
_FINE = 2.0  # degrees per pixel of a density
_YAWS, _PITCHES = np.arange(-90, 91, _FINE), np.arange(-60, 61, _FINE)


@dataclass(frozen=True, eq=False)
class Tile:
    """One dst face at risk. face, nearest: (S, S, 3) uint8 RGB, the nearest of src None where it cannot be read."""

    face: Image8
    nearest: Image8 | None
    name: str
    gap: float
    reason: str


def draw(found: Coverage, tiles: Sequence[Tile], *, title: str) -> bytes:
    """The picture as PNG. tiles: the riskiest faces, worst first; at most ten are shown."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, HEIGHT), dpi=DOTS, facecolor=BACK)
    FigureCanvasAgg(figure)
    _head(figure, found, title)
    _pose_map(figure, _place(LEFT, 1.95, 5.25, 4.7), found)
    _risk_map(figure, _place(6.6, 1.95, 5.25, 4.7), found)
    for number, name in enumerate(STRIPS):
        _strip(figure, _place(12.55, 2.05 + number * 0.8, RIGHT - 12.55, 0.52), found, name)
    _words(figure, found)
    _tiles(figure, tiles)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", facecolor=BACK)
    return buffer.getvalue()


def _place(left: float, top: float, width: float, height: float) -> tuple[float, float, float, float]:
    """A box in inches from the top left as matplotlib wants it."""
    return left / WIDTH, 1 - (top + height) / HEIGHT, width / WIDTH, height / HEIGHT


def _write(figure: Any, left: float, top: float, text: str, colour: str, size: float, **how: Any) -> None:
    """A line of text whose middle is `top` inches from the top."""
    figure.text(left / WIDTH, 1 - top / HEIGHT, text, color=colour, fontsize=size, **{"va": "center", **how})


def _head(figure: Any, found: Coverage, title: str) -> None:
    total = len(found.faces)
    risk = sum(face.is_at_risk for face in found.faces)
    thin = sum(face.is_thin for face in found.faces)
    _write(figure, LEFT, 0.5, title, INK, 21, weight="bold")
    _write(figure, LEFT, 0.95, f"{len(found.src)} src faces for {total} dst faces", FAINT, 12.5)
    _write(figure, 6.6, 0.5, "How much of the dst has its like in the src, in pose, expression and light", INK, 13)
    axes = figure.add_axes(_place(6.6, 0.78, RIGHT - 6.6, 0.34))
    axes.set_axis_off()
    left = 0.0
    parts = ((total - thin - risk, GOOD, "covered"), (thin, THIN_COLOUR, "thin"), (risk, RISK, "at risk"))
    for count, colour, word in parts:
        share = count / max(1, total)
        axes.barh(0, share, left=left, height=1, color=colour)
        if share > 0.06:
            label = f"{share:.0%} {word}" if share < 0.995 else f"all {word}"
            axes.text(left + share / 2, 0, label, ha="center", va="center", color=BACK, fontsize=11.5, weight="bold")
        left += share
    axes.set_xlim(0, 1)
    axes.set_ylim(-0.5, 0.5)


def _axes_of_poses(figure: Any, place: tuple[float, float, float, float], title: str, note: str) -> Any:
    """Axes over yaw and pitch as seen in the picture: a face that looks to its left edge is on the left."""
    axes = figure.add_axes(place)
    axes.set_facecolor(PANEL)
    axes.set_xlim(95, -95)
    axes.set_ylim(-62, 62)
    axes.set_xticks([-90, -60, -30, 0, 30, 60, 90], ["90°", "60°", "30°", "0", "30°", "60°", "90°"])
    axes.set_yticks([-60, -30, 0, 30, 60], ["60°", "30°", "0", "30°", "60°"])
    axes.tick_params(colors=FAINT, length=0, labelsize=9)
    axes.grid(color="#ffffff", alpha=0.06, linewidth=0.8)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_xlabel("looks left   ←   picture   →   looks right", color=FAINT, fontsize=10)
    axes.set_ylabel("down   ←   →   up", color=FAINT, fontsize=10)
    axes.text(0, 1.065, title, transform=axes.transAxes, color=INK, fontsize=14, weight="bold", va="center")
    axes.text(0, 1.022, note, transform=axes.transAxes, color=FAINT, fontsize=10, va="center")
    return axes


def _density(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Faces per cell on a fine grid (pitch, yaw), blurred by about half a step; the sum is the number of faces."""
    edges = [np.append(line, line[-1] + _FINE) - _FINE / 2 for line in (_PITCHES, _YAWS)]
    pitch, yaw = np.clip(values[:, 1], -60, 60), np.clip(values[:, 0], -90, 90)
    counts = np.histogram2d(pitch, yaw, bins=edges)[0]
    return np.asarray(
        cv2.GaussianBlur(counts, (0, 0), sigmaX=2.8, sigmaY=2.4, borderType=cv2.BORDER_CONSTANT), np.float64
    )


def _outline(axes: Any, values: npt.NDArray[np.float64], colour: str, label: str) -> None:
    """The lines within which 98 % and, fainter, half of the faces lie."""
    density = _density(values)
    order = np.sort(density.ravel())[::-1]
    total = order.cumsum()
    for share, alpha, width in ((0.98, 1.0, 2.0), (0.5, 0.55, 1.2)):
        level = float(order[np.searchsorted(total, share * total[-1])])
        if 0 < level < density.max():
            axes.contour(_YAWS, _PITCHES, density, levels=[level], colors=[colour], linewidths=width, alpha=alpha)
    axes.plot([], [], color=colour, linewidth=2, label=label)


def _pose_map(figure: Any, place: tuple[float, float, float, float], found: Coverage) -> None:
    from matplotlib.colors import LinearSegmentedColormap

    axes = _axes_of_poses(figure, place, "Where src looks", "brighter: more src faces; within the line lies the dst")
    colours = LinearSegmentedColormap.from_list("src", [PANEL, "#1d5a5a", SRC, "#d6fff5"])
    density = np.log1p(40 * _density(found.src))
    axes.pcolormesh(_YAWS, _PITCHES, density, cmap=colours, shading="gouraud", rasterized=True)
    _outline(axes, found.dst, DST, "dst: nearly all, half")
    _mark_holes(axes, found)
    _legend(axes)


def _mark_holes(axes: Any, found: Coverage) -> None:
    """Crosses where dst faces look and no src face does."""
    rows = [row for row, face in enumerate(found.faces) if face.lack is Lack.POSE and face.gap > COVERED]
    if not rows:
        return
    points = found.dst[rows, :2]
    cells = {(round(yaw / 7), round(pitch / 7)) for yaw, pitch in points.tolist()}
    x, y = zip(*((yaw * 7, pitch * 7) for yaw, pitch in sorted(cells)), strict=True)
    axes.scatter(x, y, marker="x", s=46, color=RISK, linewidths=2, label="missing in src", zorder=5)


def _risk_map(figure: Any, place: tuple[float, float, float, float], found: Coverage) -> None:
    axes = _axes_of_poses(figure, place, "How dst is covered", "each dot a dst face; within the line lies the src")
    _outline(axes, found.src, SRC, "src: nearly all, half")
    gaps = np.array([face.gap for face in found.faces])
    kinds = (
        (gaps <= COVERED, GOOD, "covered", 9, 0.45),
        ((gaps > COVERED) & (gaps <= THIN), THIN_COLOUR, "thin", 14, 0.8),
        (gaps > THIN, RISK, "at risk", 22, 0.95),
    )
    for chosen, colour, label, size, alpha in kinds:
        if chosen.any():
            axes.scatter(
                found.dst[chosen, 0], found.dst[chosen, 1], s=size, color=colour, alpha=alpha, linewidths=0,
                label=f"{label}: {int(chosen.sum())}", rasterized=True,
            )  # fmt: skip
    _legend(axes)


def _legend(axes: Any) -> None:
    axes.legend(
        loc="upper left", bbox_to_anchor=(-0.01, -0.115), ncols=4, fontsize=9.5, frameon=False, labelcolor=INK,
        handlelength=1.4, columnspacing=1.5, borderpad=0,
    )  # fmt: skip


def _strip(figure: Any, place: tuple[float, float, float, float], found: Coverage, name: str) -> None:
    """One measure: the src above the line, the dst below it, red where the dst has what the src has not."""
    axes = figure.add_axes(place)
    axes.set_facecolor(BACK)
    title, low_word, high_word = STRIPS[name][:3]
    src, dst, missing = strip(found.src, name), strip(found.dst, name), missing_stretches(found, name)
    top = max(float(src.max()), float(dst.max()), 1e-9)
    at = np.arange(STRIP_BINS) + 0.5
    axes.bar(at, src / top, width=0.86, color=SRC)
    axes.bar(at, -dst / top, width=0.86, color=[RISK if lacks else DST for lacks in missing])
    axes.axhline(0, color=FAINT, linewidth=0.8)
    axes.set_xlim(0, STRIP_BINS)
    axes.set_ylim(-1.05, 1.05)
    axes.set_axis_off()
    axes.text(0, 1.08, title, transform=axes.transAxes, color=INK, fontsize=10.5, va="bottom")
    ends = f"{low_word}  ←   →  {high_word}"
    axes.text(1, 1.08, ends, transform=axes.transAxes, color=FAINT, fontsize=9, ha="right", va="bottom")


def _words(figure: Any, found: Coverage) -> None:
    for left, text, colour in (
        (12.55, "src", SRC), (12.98, "above,", FAINT), (13.64, "dst", DST), (14.06, "below,", FAINT),
        (14.72, "missing in src", RISK),
    ):  # fmt: skip
        _write(figure, left, 1.63, text, colour, 12, weight="normal" if colour == FAINT else "bold")
    _write(figure, LEFT, 7.84, "Missing for this dst", INK, 14, weight="bold")
    lines = missing_words(found) or ["Nothing: every way of looking, light and expression of the dst is in the src."]
    half = -(-min(len(lines), MOST_WORDS) // 2)
    for column, part in enumerate((lines[:half], lines[half:MOST_WORDS])):
        for row, line in enumerate(part):
            text = textwrap.shorten(line, 88, placeholder=" …")
            _write(figure, LEFT + 8.2 * column, 8.19 + 0.265 * row, f"•  {text}", INK, 10.5)


def _tiles(figure: Any, tiles: Sequence[Tile]) -> None:
    """The riskiest dst faces, each above the src face most like it."""
    if not tiles:
        return
    _write(figure, LEFT, 9.76, "The riskiest dst faces", INK, 14, weight="bold")
    _write(figure, LEFT + 2.62, 9.77, "and, below each, the src face most like it", FAINT, 11)
    step = (RIGHT - LEFT + 0.12) / MOST_TILES
    side = step - 0.12
    for number, tile in enumerate(tiles[:MOST_TILES]):
        left = LEFT + number * step
        for top, picture, colour in ((9.98, tile.face, DST), (9.98 + side + 0.05, tile.nearest, SRC)):
            axes = figure.add_axes(_place(left, top, side, side))
            axes.set_xticks([])
            axes.set_yticks([])
            axes.set_facecolor(PANEL)
            for spine in axes.spines.values():
                spine.set_color(colour)
                spine.set_linewidth(1.5)
            if picture is not None:
                axes.imshow(picture, interpolation="lanczos")
        below = 9.98 + 2 * side + 0.05
        _write(figure, left, below + 0.13, tile.name, INK, 9)
        colour = RISK if tile.gap > THIN else THIN_COLOUR
        _write(figure, left + side, below + 0.13, f"{tile.gap:.1f}", colour, 9, ha="right")
        text = "\n".join(textwrap.wrap(tile.reason, 26)[:3])
        _write(figure, left, below + 0.24, text, FAINT, 8.2, va="top", linespacing=1.15)
