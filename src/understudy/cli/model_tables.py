"""Models as text for a person: the list, one model in full, and what was renamed, copied or deleted."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from understudy.training.models import ModelSummary

HEADINGS = ("name", "class", "archi", "size", "face", "iteration", "on disk", "saved")
RIGHT = frozenset({"size", "iteration", "on disk"})
FORMATS = {"flat": "DeepFaceLab's files", "dfm": "for live tools"}


def list_text(models: Sequence[ModelSummary]) -> str:
    """Models as a table, one a line; what is unusual of one stands behind its line."""
    if not models:
        return "No models yet. Make one with: understudy train NAME"
    rows = [HEADINGS, *(_cells(model) for model in models)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    lines = ["  ".join(_padded(row, widths)).rstrip() for row in rows]
    return "\n".join(lines[:1] + [_with_remarks(line, model) for line, model in zip(lines[1:], models, strict=True)])


def _cells(model: ModelSummary) -> tuple[str, ...]:
    return (
        model.name,
        model.model_class,
        model.archi or "-",
        str(model.resolution or "-"),
        face_words(model.face_type) or "-",
        "-" if model.iteration is None else f"{model.iteration:,}",
        size_text(model.size_bytes),
        f"{model.updated.astimezone():%Y-%m-%d %H:%M}",
    )


def _padded(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [
        cell.rjust(width) if heading in RIGHT else cell.ljust(width)
        for heading, cell, width in zip(HEADINGS, row, widths, strict=True)
    ]


def _with_remarks(line: str, model: ModelSummary) -> str:
    remarks = [FORMATS[model.format]] if model.format in FORMATS else []
    remarks += ["pretraining"] if model.pretraining else []
    remarks += [f"cannot be used: {model.problem}"] if model.problem else []
    remarks += ["cannot be imported yet"] if not (model.supported or model.problem) else []
    return f"{line}  ({'; '.join(remarks)})" if remarks else line


def face_words(face_type: str) -> str:
    """A face type as people say it: "whole_face" is "whole"."""
    return face_type.removesuffix("_face")


def size_text(count: float) -> str:
    """Bytes as `310 MB` or `1.2 GB`."""
    return (
        f"{count / 1e9:.1f} GB"
        if count >= 1e9
        else f"{count / 1e6:.0f} MB"
        if count >= 1e6
        else f"{count / 1e3:.0f} kB"
    )


def when_text(iso: str) -> str:
    """A moment of a record in local time."""
    try:
        return f"{datetime.fromisoformat(iso).astimezone():%Y-%m-%d %H:%M}"
    except ValueError:
        return iso


def number_text(value: Any) -> str:
    """A number to three or four figures, others as they are."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
