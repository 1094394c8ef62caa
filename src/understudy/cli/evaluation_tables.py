"""An evaluation as text for a person."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ROWS: tuple[tuple[str, str, str], ...] = (
    ("loss, unseen faces", "held_src", "held_dst"),
    ("loss, training faces", "train_src", "train_dst"),
    ("SSIM redrawn", "ssim_src", "ssim_dst"),
    ("mask IoU", "iou_src", "iou_dst"),
)
SWAP: tuple[tuple[str, str, str], ...] = (
    ("likeness", "likeness", "0 as dst, 1 as src"),
    ("  its classifier is right", "likeness_accuracy", "of unseen faces; a coin 0.5"),
    ("landmarks off by", "landmarks", "% of the eyes' distance"),
    ("pose off by", "pose", "degrees"),
    ("mouth opening off by", "mouth", "nose lengths"),
    ("  follows dst's", "mouth_r", "correlation"),
    ("eye opening off by", "eyes", "eye widths"),
    ("  follows dst's", "eyes_r", "correlation"),
    ("flicker", "flicker", "levels beyond the plate's"),
    ("faces found", "seen", "share of the swaps"),
)


def evaluation_text(notes: Mapping[str, Any]) -> str:
    """The notes of `evaluate_model` as a table."""
    values, looked_at = notes["values"], notes["looked_at"]
    what = "held-out faces" if notes["on"] == "held_out" else "faces that it was trained on"
    known = " (which it learned from before)" if notes["trained_on"] and notes["on"] == "held_out" else ""
    lines = [
        f"{notes['model']} ({notes['class']}) at iteration {notes['iteration']:,}, "
        f"on {looked_at['src']} src and {looked_at['dst']} dst {what}{known}",
        "",
        f"{'':<26}{'src':>9}{'dst':>9}",
    ]
    for title, src, dst in ROWS:
        if src in values or dst in values:
            lines.append(f"{title:<26}{_number(values.get(src)):>9}{_number(values.get(dst)):>9}")
    if notes["gap"] is not None:
        lines.append(f"{'unseen above training by':<26}{_number(notes['gap']):>9}")
    lines += ["", "the swap"]
    lines += [f"{title:<26}{_number(values[name]):>9}  {unit}" for title, name, unit in SWAP if name in values]
    if notes["likeness_refused"]:
        lines.append(f"likeness is not told: {notes['likeness_refused']}")
    return "\n".join(lines)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}" if abs(value) < 10 else f"{value:.2f}"
