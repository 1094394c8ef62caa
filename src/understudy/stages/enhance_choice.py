"""Which faces of a person are sharp enough to learn from, and which are soft."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from understudy.facesets import FaceEntry
from understudy.records import FaceType, Skipped
from understudy.stages.enhance_journal import Stamp
from understudy.stages.enhance_options import EnhanceOptions
from understudy.training.enhancing.degrading import Floats

SHARP_SHARE = 0.25
"""The sharpest part of a faceset, which is learned from."""
LEAST_SHARP = 24
"""Fewer sharp faces than this teach nothing about a person."""
MOST_SHARP = 256
MOST_SHARP_BYTES = 400_000_000
HELD_OUT_SHARE, LEAST_HELD_OUT, MOST_HELD_OUT, HELD_OUT_RUNS = 0.15, 6, 32, 2


@dataclass(frozen=True, eq=False)
class Look:
    """What is seen of a face before anything is done. detail: `measures.sharpness`; octaves: `degrading.softness`."""

    entry: FaceEntry
    stamp: Stamp
    detail: float
    octaves: Floats


@dataclass(frozen=True, eq=False)
class Chosen:
    """The faces of one person. sharp: to learn from, in frame order; soft: to enhance; others stay as they are."""

    person: str | None
    sharp: list[Look]
    soft: list[Look]
    others: list[Look]
    skipped: list[Skipped]


def split(sharp: Sequence[Look]) -> tuple[list[Look], list[Look]]:
    """(held out, learned from) of sharp faces in frame order.

    Held out are a few runs of neighbours, not single faces: a neighbour's frame shows almost the same.
    """
    count = int(np.clip(round(len(sharp) * HELD_OUT_SHARE), LEAST_HELD_OUT, MOST_HELD_OUT))
    length = max(1, count // HELD_OUT_RUNS)
    held: set[int] = set()
    for run in range(HELD_OUT_RUNS):
        start = round((run + 0.5) / HELD_OUT_RUNS * len(sharp)) - length // 2
        held.update(range(start, start + length))
    return [look for at, look in enumerate(sharp) if at in held], [
        look for at, look in enumerate(sharp) if at not in held
    ]


def choose_faces(person: str | None, looks: Sequence[Look], options: EnhanceOptions) -> Chosen:
    """Tell the sharp faces of a person from the soft ones."""
    kind = Counter(look.entry.face_type for look in looks).most_common(1)[0][0]
    skipped = [reason for look in looks if (reason := _misfit(look.entry, kind)) is not None]
    misfits = {item.item for item in skipped}
    fit = [look for look in looks if look.entry.key not in misfits]
    if not fit:
        return Chosen(person, [], [], list(looks), skipped)
    ranked = sorted(fit, key=lambda look: -look.detail)
    count = max(LEAST_SHARP, round(SHARP_SHARE * len(ranked)))
    best = ranked[:count]
    limit = options.soft_below * float(np.median([look.detail for look in best]))
    side = Counter(look.entry.width for look in best).most_common(1)[0][0]
    lessons = [look for look in best if look.entry.width == side and look.detail >= limit]
    sharp = _spread(sorted(lessons, key=_in_frame_order), side)
    soft = [look for look in fit if options.all or look.detail < limit]
    keys = {look.entry.key for look in soft}
    return Chosen(person, sharp, soft, [look for look in looks if look.entry.key not in keys], skipped)


def _misfit(entry: FaceEntry, kind: FaceType) -> Skipped | None:
    if entry.height != entry.width:
        return Skipped(entry.key, f"it is not square ({entry.width} x {entry.height}); left as it was")
    if entry.face_type is not kind:
        return Skipped(entry.key, f"its type is {entry.face_type}, of most faces {kind}; left as it was")
    return None


def _spread(looks: list[Look], side: int) -> list[Look]:
    """At most as many as memory and learning have use for, spread over the footage."""
    most = max(LEAST_SHARP, min(MOST_SHARP, MOST_SHARP_BYTES // (3 * side * side)))
    if len(looks) <= most:
        return looks
    return [looks[index] for index in np.linspace(0, len(looks) - 1, most).astype(int)]


def _in_frame_order(look: Look) -> tuple[str, str]:
    return look.entry.frame or look.entry.name, look.entry.key
