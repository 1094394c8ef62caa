"""The kept list of what is worth a second look: its form, its file `.understudy/review/SIDE.json`, and reading it.

docs/guide/review.md describes the file; it can be deleted at any time and made again.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from understudy.facesets.doubts import Kind
from understudy.files import parse_json, write_text
from understudy.geometry.boxes import sides
from understudy.records import Rect, Side
from understudy.workspace import Workspace

SCHEMA = "understudy-review/1"

RUN_GAP = 3
"""Frames that may lie between two items of one run."""


@dataclass(frozen=True)
class Item:
    """One frame without a face, or one face, that is worth a look.

    frame: the frame's stem. index: its place in the footage. file: of the face, relative to aligned/; None where a
    face is missing. rect: the face's box, or where a missing one may be. score: 0..1, 1 is worst.
    """

    frame: str
    index: int
    score: float
    kinds: tuple[Kind, ...]
    reasons: tuple[str, ...]
    file: str | None = None
    rect: Rect | None = None

    def as_json(self) -> dict[str, Any]:
        return {
            "frame": self.frame,
            "index": self.index,
            "score": round(self.score, 3),
            "kinds": [str(kind) for kind in self.kinds],
            "reasons": list(self.reasons),
            "file": self.file,
            "rect": None if self.rect is None else [round(value, 1) for value in sides(self.rect)],
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Item:
        rect = stored.get("rect")
        return cls(
            frame=str(stored["frame"]),
            index=int(stored["index"]),
            score=float(stored["score"]),
            kinds=tuple(Kind(kind) for kind in stored["kinds"]),
            reasons=tuple(map(str, stored["reasons"])),
            file=None if stored.get("file") is None else str(stored["file"]),
            rect=None if rect is None else Rect(*map(float, rect)),
        )


@dataclass(frozen=True)
class Review:
    """What a review found. items: worst first. accepted: stems of frames that somebody found fine as they are.

    settled: those of them whose debug image was deleted by then, and which are fine all the same.
    """

    side: Side
    frames: int
    faces: int
    items: tuple[Item, ...] = ()
    accepted: frozenset[str] = frozenset()
    settled: frozenset[str] = frozenset()

    @property
    def counts(self) -> dict[str, int]:
        """How many items there are of each kind, in order of the kinds' weight."""
        found = Counter(kind for item in self.items for kind in item.kinds)
        return {str(kind): found[kind] for kind in Kind if found[kind]}

    def frames_of(self, *kinds: Kind) -> list[str]:
        """Stems of the frames that have an item of one of these kinds, in the order of the footage."""
        found = {item.frame: item.index for item in self.items if set(item.kinds) & set(kinds)}
        return sorted(found, key=lambda frame: (found[frame], frame))


def review_path(workspace: Workspace, side: Side) -> Path:
    """Where the review of a side is kept."""
    return workspace.private / "review" / f"{side}.json"


def read_review(workspace: Workspace, side: Side) -> Review | None:
    """The review as last written; None where there is none, or one of another version."""
    try:
        stored = parse_json(review_path(workspace, side).read_text(encoding="utf-8"))
        if stored["schema"] != SCHEMA:
            return None
        return Review(
            side=Side(stored["side"]),
            frames=int(stored["frames"]),
            faces=int(stored["faces"]),
            items=tuple(map(Item.from_json, stored["items"])),
            accepted=frozenset(map(str, stored.get("accepted", ()))),
            settled=frozenset(map(str, stored.get("settled", ()))),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def save_review(workspace: Workspace, found: Review) -> Path:
    """Write a review atomically, one item to a line."""
    path = review_path(workspace, found.side)
    head = {
        "schema": SCHEMA,
        "side": str(found.side),
        "frames": found.frames,
        "faces": found.faces,
        "counts": found.counts,
        "accepted": sorted(found.accepted),
        "settled": sorted(found.settled),
    }
    lines = ",\n  ".join(json.dumps(item.as_json()) for item in found.items)
    body = json.dumps(head, indent=1)[:-2]
    write_text(path, f'{body},\n "items": [{chr(10) + "  " + lines + chr(10) if lines else ""} ]\n}}\n')
    return path


def forget(workspace: Workspace, side: Side, *, files: Iterable[str] = (), frames: Iterable[str] = ()) -> None:
    """Take what was just dealt with out of the kept review, where there is one.

    files: faces that are no more. frames: in which a face was placed; what was missing there is not any longer.
    """
    found = read_review(workspace, side)
    if found is None:
        return
    gone, stems = set(files), set(frames)

    def is_settled(item: Item) -> bool:
        return item.file in gone if item.file and Kind.REDO not in item.kinds else item.frame in stems

    save_review(workspace, replace(found, items=tuple(item for item in found.items if not is_settled(item))))


def runs_of(items: Sequence[Item]) -> list[list[Item]]:
    """Items of frames close to each other that are doubtful for the same first reason, together; worst first.

    Each run is in the order of its frames. A person who turns away fills dozens of frames; one look judges them all.
    """
    runs: list[list[Item]] = []
    last: dict[tuple[Kind, bool], list[Item]] = {}
    for item in sorted(items, key=lambda item: (item.index, item.file or "")):
        alike = (item.kinds[0], item.score > 0.5)
        run = last.get(alike)
        if run is None or item.index - run[-1].index > RUN_GAP:
            run = last[alike] = []
            runs.append(run)
        run.append(item)
    return sorted(runs, key=lambda run: (-worst_of(run).score, run[0].index))


def worst_of(run: Sequence[Item]) -> Item:
    """The item of a run to look at."""
    return max(run, key=lambda item: item.score)
