"""Which faces a model never learns from: stretches of neighbouring frames, so that no held-out face has a twin in
training.

    clip     |———————————[==]··—————————————————·[==]··——————————————————·[==========]|
             training     held out   ··: guard                              the long stretch at the end

Faces drawn at random would lie between two frames that were trained on and look like them: a network that only learned
by heart would shine. Held out is therefore the end of every clip and, of long ones, a few stretches spread over it; the
frames next to a stretch (guard) are used for neither. The stretches are stored with the model, so that a face stays on
its side when others are added, renamed or moved away.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

LEAST, MOST = 16, 512
"""Frames of a side that are held out at least, where there are eight times as many, and at most, whatever the share."""

FEWEST = 2
"""Fewer held-out frames than this are none."""

RUN = 48
"""Frames of the stretch at the end of a clip, where that many are held out: two seconds, in which flicker shows."""

PIECE = 24
"""Frames of the other stretches, about."""

GUARD = 12
"""Frames beside a stretch that are not trained on: half a second, in which a face has moved on."""


class PlacedFace(Protocol):
    """What is asked of a faceset's entry. frame: the stem of its frame's name; None where nobody knows."""

    @property
    def name(self) -> str: ...

    @property
    def frame(self) -> str | None: ...

    @property
    def person(self) -> str | None: ...


F = TypeVar("F", bound=PlacedFace)


class Position(NamedTuple):
    """Where a frame lies in its clip. number: what its name ends in, −1 where it ends in none."""

    number: int
    stem: str


@dataclass(frozen=True)
class Stretch:
    """Frames `first` to `last` of a clip, both held out. guard: frames before and behind that are not trained on."""

    clip: str
    first: Position
    last: Position
    guard: int

    def holds(self, clip: str, place: Position) -> bool:
        return clip == self.clip and self.first <= place <= self.last

    def guards(self, clip: str, place: Position) -> bool:
        """Whether a frame lies in the stretch or too near to it."""
        if clip != self.clip:
            return False
        near = self.first.number - self.guard <= place.number <= self.last.number + self.guard
        return (near and place.number >= 0) or self.holds(clip, place)


@dataclass(frozen=True)
class Stretches:
    """What is held out of one side. share: as it was asked for. since: the iteration at which it was decided; above 0
    the model has learned from these faces before."""

    share: float
    stretches: tuple[Stretch, ...] = ()
    since: int = 0

    @property
    def fingerprint(self) -> str:
        """Equal for equal stretches, whenever they were decided."""
        body = json.dumps([_plain(stretch) for stretch in self.stretches], sort_keys=True)
        return hashlib.sha256(body.encode()).hexdigest()[:16]

    def as_json(self) -> dict[str, Any]:
        return {"share": self.share, "since": self.since, "stretches": [_plain(part) for part in self.stretches]}

    @classmethod
    def from_json(cls, stored: Any) -> Stretches | None:
        """What `as_json` gave; None for anything else."""
        try:
            parts = tuple(
                Stretch(
                    str(part["clip"]),
                    Position(int(part["first"][0]), str(part["first"][1])),
                    Position(int(part["last"][0]), str(part["last"][1])),
                    int(part["guard"]),
                )
                for part in stored["stretches"]
            )
            return cls(float(stored["share"]), parts, int(stored["since"]))
        except (KeyError, IndexError, TypeError, ValueError):
            return None


@dataclass(frozen=True)
class Split(Generic[F]):
    """A faceset in two. training, held_out: in the order they were given. guarded: those between, used for neither."""

    training: list[F]
    held_out: list[F]
    guarded: list[F]
    stretches: Stretches

    @property
    def runs(self) -> list[list[F]]:
        """The held-out faces in the order of their frames, one list for each stretch."""
        ordered = sorted(self.held_out, key=lambda face: (*place_of(face)[1], face.name))
        return [[face for face in ordered if stretch.holds(*place_of(face))] for stretch in self.stretches.stretches]


def held_out_split(faces: Sequence[F], share: float, *, known: Stretches | None = None, iteration: int = 0) -> Split[F]:
    """Part the faces of one side into those to train on and those to hold out.

    share: of the frames, 0 to 0.5; at least 16 frames where there are 128, at most 512; fewer than 2 are none. known:
    what was decided before; it stands as long as the share is the same and it holds anything out, so that a face never
    changes sides, and faces of new frames go where their neighbours are. iteration: how far the model is trained now.
    At least one face stays for training.
    """
    if known is None or known.share != share or not known.stretches:
        known = Stretches(share, tuple(_decided(faces, share)), iteration)
    training, held_out, guarded = [], [], []
    for face in faces:
        where = place_of(face)
        near = [stretch for stretch in known.stretches if stretch.guards(*where)]
        if not near:
            training.append(face)
        elif any(stretch.holds(*where) for stretch in near):
            held_out.append(face)
        else:
            guarded.append(face)
    if not training and faces:
        return Split(list(faces), [], [], Stretches(share, (), iteration))
    return Split(training, held_out, guarded, known)


def place_of(face: PlacedFace) -> tuple[str, Position]:
    """The clip that a face is of, by its person and what its frame's name begins with, and where in it."""
    stem = face.frame
    if stem is None:
        stem = re.sub(r"_\d+$", "", PurePath(face.name).stem)  # 00012_0.jpg is the first face of frame 00012
    found = re.search(r"\d{1,18}$", stem)
    number = int(found.group()) if found else -1
    prefix = stem[: found.start()] if found else ("" if face.frame is None else stem)
    return f"{face.person or ''}/{prefix}", Position(number, stem)


def _decided(faces: Sequence[PlacedFace], share: float) -> list[Stretch]:
    """Stretches for a faceset of which nothing is decided yet."""
    clips: dict[str, set[Position]] = {}
    for face in faces:
        clip, place = place_of(face)
        clips.setdefault(clip, set()).add(place)
    total = sum(len(places) for places in clips.values())
    share = min(share, MOST / max(total, 1))
    found = [stretch for clip in sorted(clips) for stretch in _of_clip(clip, sorted(clips[clip]), share)]
    return found or _whole_clips(clips, int(total * share))


def _of_clip(clip: str, places: list[Position], share: float) -> list[Stretch]:
    """The end of a clip, and pieces spread over what lies before."""
    total = len(places)
    count = int(total * share)
    if share and total >= 8 * LEAST:
        count = max(count, LEAST)
    if count < FEWEST:
        return []
    end = count if count < RUN + PIECE else RUN
    pieces = round((count - end) / PIECE)
    parts = []
    for piece in range(pieces):
        length = (count - end) * (piece + 1) // pieces - (count - end) * piece // pieces
        middle = (total - end) * (piece + 1) // (pieces + 1)
        parts.append((middle - length // 2, length))
    guard = min(GUARD, count // 4)
    return [
        Stretch(clip, places[start], places[start + length - 1], guard)
        for start, length in [*parts, (total - end, end)]
    ]


def _whole_clips(clips: Mapping[str, set[Position]], count: int) -> list[Stretch]:
    """Of clips too short to be parted, such as single photographs: some whole ones, from the end of the names."""
    chosen: list[Stretch] = []
    taken = 0
    for clip in sorted(clips, reverse=True) if len(clips) > 1 else ():
        places = sorted(clips[clip])
        if taken + len(places) <= count:
            chosen.append(Stretch(clip, places[0], places[-1], 0))
            taken += len(places)
    return chosen[::-1] if taken >= FEWEST else []


def _plain(stretch: Stretch) -> dict[str, Any]:
    return {
        "clip": stretch.clip,
        "first": list(stretch.first),
        "last": list(stretch.last),
        "guard": stretch.guard,
    }
