"""Which faces the previews show."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import PurePath

import numpy as np
import torch
from torch import Tensor

from understudy.errors import InvalidOption
from understudy.report import Note, Report, silent
from understudy.training.faces.bank import FaceBank
from understudy.training.previews.preview import PreviewFaces, spread

SIDES = ("src", "dst")
MOST = 16
"""Faces of each side that a preview can show."""

Names = Mapping[str, Sequence[str]]
"""Names of faces, by side."""


def chosen_faces(wanted: Sequence[str], known: Names) -> dict[str, list[str]]:
    """The faces that were asked for, by side, each once, in the order asked.

    wanted: `00012_0.jpg`, with or without the ending and the person's sub-folder, of every side that has one of that
    name; `src/00012_0` of one side. Raises InvalidOption for a name that no side has, with names like it.
    """
    chosen: dict[str, list[str]] = {side: [] for side in SIDES}
    for typed in wanted:
        found = _found(typed, known)
        if not found:
            raise InvalidOption(f"There is no face {typed!r} to show in the previews.", hint=_near(typed, known))
        for side, name in found:
            chosen[side] += [] if name in chosen[side] else [name]
    for side, names in chosen.items():
        if len(names) > MOST:
            raise InvalidOption(f"A preview shows {MOST} faces of {side} at most; {len(names)} were named.")
    return chosen


def still_there(wanted: Sequence[str], known: Names) -> list[str]:
    """Those of the typed names that some face has."""
    return [typed for typed in wanted if _found(typed, known)]


def preview_names(
    wanted: Sequence[str], before: Names, known: Names, rows: int, report: Report = silent
) -> dict[str, list[str]]:
    """The faces of each side that previews show: those asked for, else those of before as long as all are there, else
    some spread over the faceset. One that was asked for, was shown before if anything was, and is gone is named."""
    there = still_there(wanted, known)
    shown_before = any(before.values())
    gone = [typed for typed in wanted if typed not in there and (_found(typed, before) or not shown_before)]
    if gone:
        report(Note(f"No longer there to show in the previews: {', '.join(gone)}.", "warning"))
    asked, names = chosen_faces(there, known), {}
    for side in SIDES:
        old = list(before.get(side, []))
        whole = old and set(old) <= set(known[side])
        few = [known[side][index] for index in spread(len(known[side]), rows)]
        names[side] = asked[side] or (old if whole else few)
    return names


def known_names(src: FaceBank, dst: FaceBank) -> dict[str, Sequence[str]]:
    """The names of all faces, by side."""
    return {"src": src.names, "dst": dst.names}


def faces_to_show(src: FaceBank, dst: FaceBank, names: Names, device: torch.device) -> PreviewFaces:
    """Pairs of faces, row by row; the shorter side begins again."""
    rows = max(len(names[side]) for side in SIDES)
    parts: list[Tensor] = []
    for side, bank in zip(SIDES, (src, dst), strict=True):
        indexes = [bank.names.index(name) for name in names[side]]
        repeated = [indexes[row % len(indexes)] for row in range(rows)]
        pictures, masks = bank.fetch(np.array(repeated, np.int64), device)
        parts += [pictures, masks[:, :1]]
    return PreviewFaces(*parts)


def _found(typed: str, known: Names) -> list[tuple[str, str]]:
    """(side, name) of the faces that a typed name stands for."""
    head, mark, rest = typed.partition("/")
    sides, wanted = ((head,), rest) if mark and head in SIDES else (SIDES, typed)
    return [
        (side, name)
        for side in sides
        for name in known.get(side, ())
        if wanted in (name, PurePath(name).with_suffix("").as_posix(), PurePath(name).stem, PurePath(name).name)
    ]


def _near(typed: str, known: Names) -> str:
    """Names like the one that was typed."""
    head, mark, rest = typed.partition("/")
    stem = PurePath(rest if mark and head in SIDES else typed).stem
    every = {f"{side}/{name}": PurePath(name).stem for side in SIDES for name in known[side]}
    close = set(difflib.get_close_matches(stem, set(every.values()), n=3, cutoff=0.5))
    near = [full for full, short in every.items() if short in close]
    near = sorted(near, key=lambda full: not full.startswith(head))[:4] or list(every)[:1]  # its own side first
    return f"Near it: {', '.join(near)}." if near else "The facesets have no faces that could be shown."
