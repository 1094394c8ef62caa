"""The course of a model on held-out faces, as a picture: `evaluation_curve.png`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from understudy.files import writing
from understudy.training.measuring.evaluations import Evaluations

CURVE_NAME = "evaluation_curve.png"

SRC_COLOUR, DST_COLOUR, SWAP_COLOUR = "#1f77b4", "#ff7f0e", "#2ca02c"

PANELS: tuple[tuple[str, tuple[tuple[str, str, str, str], ...]], ...] = (
    (
        "loss of unseen (held-out) and of training faces",
        (
            ("held_src", "src unseen", SRC_COLOUR, "-"),
            ("train_src", "src training", SRC_COLOUR, ":"),
            ("held_dst", "dst unseen", DST_COLOUR, "-"),
            ("train_dst", "dst training", DST_COLOUR, ":"),
        ),
    ),
    (
        "redrawn as themselves",
        (
            ("ssim_src", "SSIM src", SRC_COLOUR, "-"),
            ("ssim_dst", "SSIM dst", DST_COLOUR, "-"),
            ("iou_src", "mask IoU src", SRC_COLOUR, "--"),
            ("iou_dst", "mask IoU dst", DST_COLOUR, "--"),
        ),
    ),
    (
        "the swap's likeness: 0 as dst, 1 as src",
        (
            ("likeness", "likeness", SWAP_COLOUR, "-"),
            ("likeness_accuracy", "classifier's accuracy", "#888888", ":"),
        ),
    ),
    (
        "the swap's errors",
        (
            ("landmarks", "landmarks, %", SWAP_COLOUR, "-"),
            ("pose", "pose, degrees", "#9467bd", "-"),
            ("flicker", "flicker, levels", "#d62728", "-"),
        ),
    ),
)


def draw_evaluations(evaluations: Evaluations, path: Path, *, width: int = 1200, height: int = 800) -> Path:
    """Draw four panels over the iterations: losses, how well people are redrawn, likeness, and the swap's errors."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width / 100, height / 100), dpi=100, layout="tight")
    FigureCanvasAgg(figure)
    panels = figure.subplots(2, 2).ravel()
    for axes, (title, lines) in zip(panels, PANELS, strict=True):
        _panel(axes, title, lines, evaluations)
    _mark_best(panels[0], evaluations)
    with writing(path) as temp:
        figure.savefig(temp, format="png")
    return path


def _panel(axes: Any, title: str, lines: tuple[tuple[str, str, str, str], ...], evaluations: Evaluations) -> None:
    from matplotlib.ticker import MaxNLocator

    drawn = 0
    for name, label, colour, style in lines:
        at, values = evaluations.values(name)
        if at:
            mark = "o" if len(at) < 30 else None
            axes.plot(at, values, style, color=colour, label=label, linewidth=1.4, marker=mark, markersize=3)
            drawn += 1
    axes.set_title(title, fontsize=10)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axes.set_xlabel("iteration", fontsize=9)
    axes.grid(alpha=0.3)
    if drawn:
        axes.legend(fontsize=8)
    else:
        axes.text(0.5, 0.5, "not measured", ha="center", va="center", transform=axes.transAxes, color="#888888")


def _mark_best(axes: Any, evaluations: Evaluations) -> None:
    """A line where the held-out loss was least."""
    if len(evaluations) < 2:
        return
    best = min(evaluations, key=lambda scores: scores.loss)
    axes.axvline(best.iteration, color="#2ca02c", linewidth=1, alpha=0.7, linestyle="--", label="least held-out loss")
    axes.legend(fontsize=8)
