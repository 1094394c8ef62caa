"""The list of frames and faces worth a second look, worst first: what fixing by hand goes through.

    journal · footage → every frame      catalog → every face      aligned_debug → what somebody deleted there
                      └────────── doubts, scores ──────────→ .understudy/review/SIDE.json

The file's form is described in docs/guide/review.md; it can be deleted at any time and made again.
"""

from __future__ import annotations

import json
import math
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from understudy.errors import EmptyFaceset, Interrupted, UnderstudyError, UsageError
from understudy.facesets import Catalog, FaceEntry
from understudy.facesets.doubts import (
    Doubt,
    Judged,
    Kind,
    Seen,
    between,
    gap,
    judge_all,
    missing,
    overlap,
    sides,
    together,
)
from understudy.facesets.where import number_of_frame
from understudy.files import write_text
from understudy.geometry.affine import Points
from understudy.geometry.pose import pose
from understudy.records import Rect, Side
from understudy.report import Pace, Report, Stop, never, silent
from understudy.stages.extract_journal import Dropped, ExtractJournal, SeenFrame, journal_path
from understudy.stages.result import StageResult
from understudy.stages.shots import Shots, read_shots
from understudy.workspace import SidePaths, Workspace

SCHEMA = "understudy-review/1"

RUN_GAP = 3
"""Frames that may lie between two items of one run."""

TAKEN = 0.2
"""Where a face overlaps the place of a missing one by more than this (intersection over union), none is missing."""

BY_HAND = "understudy_by_hand"
"""The key in a face's data that says a person placed it; its landmarks are not doubted again."""


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
    """What a review found. items: worst first. accepted: stems of frames that somebody found fine as they are."""

    side: Side
    frames: int
    faces: int
    items: tuple[Item, ...] = ()
    accepted: frozenset[str] = frozenset()

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
        stored = json.loads(review_path(workspace, side).read_text(encoding="utf-8"))
        if stored["schema"] != SCHEMA:
            return None
        return Review(
            side=Side(stored["side"]),
            frames=int(stored["frames"]),
            faces=int(stored["faces"]),
            items=tuple(map(Item.from_json, stored["items"])),
            accepted=frozenset(map(str, stored.get("accepted", ()))),
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
    }
    lines = ",\n  ".join(json.dumps(item.as_json()) for item in found.items)
    body = json.dumps(head, indent=1)[:-2]
    write_text(path, f'{body},\n "items": [{chr(10) + "  " + lines + chr(10) if lines else ""} ]\n}}\n')
    return path


def write_review(workspace: Workspace, side: Side, *, report: Report = silent, stop: Stop = never) -> Review:
    """Look through the faceset of a side and keep the list of what is doubtful; gives the list.

    Takes no lock: for stages that write the faceset, at their end. Frames that were accepted stay out of the list. An
    empty faceset makes a review too: every frame without a face. Raises Interrupted, with the earlier list in place,
    ReadOnlyWorkspace and DiskFull.
    """
    side = Side(side)
    earlier = read_review(workspace, side)
    accepted = frozenset() if earlier is None else earlier.accepted
    frames = all_frames(workspace, side)
    judged, known = _judge_faces(workspace, side, frames, report, stop)
    if stop():
        raise Interrupted("Stopped while the faceset was reviewed.", hint="Run the same command again.")
    items = [*_of_faces(judged, known), *_of_missing(judged, frames), *_of_gaps(judged, frames)]
    items += _of_dropped(frames, {face.index for face in judged if face.by_hand})
    items = _with_deleted_debug(items, frames, workspace.side(side))
    kept = (item for item in items if item.frame not in accepted or Kind.REDO in item.kinds)
    ordered = tuple(sorted(kept, key=lambda item: (-item.score, item.index, item.file or "")))
    made = Review(side, len(frames.stems), len(judged), ordered, accepted)
    save_review(workspace, made)
    return made


def review(
    workspace: Workspace,
    side: Side,
    *,
    accept: Sequence[str] = (),
    sheet: int = 0,
    report: Report = silent,
    stop: Stop = never,
) -> StageResult:
    """Look through a faceset, whoever made it, and list what is doubtful, worst first.

    accept: frames that are fine as they are, which stay out of this list and later ones. sheet: how many of the worst
    to draw on a contact sheet. The notes hold counts, worst and where to look. Raises EmptyFaceset when there is
    neither a face nor a frame, UsageError for frames to accept that do not exist.
    """
    started, side = time.perf_counter(), Side(side)
    if accept:
        _accept(workspace, side, accept)
    found = write_review(workspace, side, report=report, stop=stop)
    if not found.frames and not found.faces:
        raise EmptyFaceset(
            f"There is nothing to review: {side} has neither frames nor faces.",
            hint=f"Make faces with: understudy faceset extract {side}",
        )
    outputs = [review_path(workspace, side)]
    if sheet and found.items:
        from understudy.stages.review_sheet import draw_sheet

        outputs.append(draw_sheet(workspace, found, most=sheet, report=report, stop=stop))
    return StageResult(
        frames=found.frames,
        faces=found.faces,
        seconds=time.perf_counter() - started,
        outputs=outputs,
        notes={
            "doubtful": len(found.items),
            "counts": found.counts,
            "accepted": len(found.accepted),
            "worst": [_run_json(run) for run in runs_of(found.items)[:100]],
        },
    )


def _run_json(run: Sequence[Item]) -> dict[str, Any]:
    """The worst item of a run, with the run's first and last frame and how many items it has."""
    return {**worst_of(run).as_json(), "from": run[0].frame, "to": run[-1].frame, "items": len(run)}


def _accept(workspace: Workspace, side: Side, names: Sequence[str]) -> None:
    earlier = read_review(workspace, side) or Review(side, 0, 0)
    frames = all_frames(workspace, side)
    accepted = {frames.named(name, side) for name in names}
    save_review(workspace, replace(earlier, accepted=earlier.accepted | accepted))


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


# -- what there is


@dataclass
class Frames:
    """Every frame of the footage. stems: in order. index: by stem. faces: how many each was given, where that is known.

    sizes: (width, height) by index, as far as they are known. shots, journal: where there are any. dropped: by stem,
    what was found in a frame and yet not written.
    """

    stems: list[str]
    index: dict[str, int]
    faces: dict[str, int] | None = None
    sizes: dict[int, tuple[int, int]] = field(default_factory=dict)
    shots: Shots | None = None
    journal: ExtractJournal | None = None
    dropped: dict[str, tuple[Dropped, ...]] = field(default_factory=dict)

    def same_shot(self, one: int, other: int) -> bool:
        """Whether no known cut lies between two frames, by index."""
        return self.shots is None or self.shots.shot_of(one) == self.shots.shot_of(other)

    def named(self, name: str, side: Side) -> str:
        """The stem of the frame that somebody calls 00012, 00012.png or 12. Raises UsageError."""
        stem = Path(name).stem
        if stem in self.index:
            return stem
        if stem.isdecimal():
            found = next((other for other in self.stems if number_of_frame(other) == int(stem)), None)
            if found is not None:
                return found
        there = f"They are called {self.stems[0]} to {self.stems[-1]}." if self.stems else "It has no frames at all."
        raise UsageError(f"There is no frame {name} in {side}.", hint=there)


class _OneSize(dict[int, tuple[int, int]]):
    """The same size for every frame."""

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        self._size = size

    def get(self, key: int, default: Any = None) -> Any:
        return self._size


def all_frames(workspace: Workspace, side: Side) -> Frames:
    """Frames by the footage and by the journal of the extraction, which knows how many faces each was given."""
    journal = ExtractJournal.read(journal_path(workspace, side))
    sizes, index, shots = _footage_frames(workspace, side)
    faces, dropped = None, {}
    if journal is not None and journal.done:
        index = {Path(name).stem: done.index for name, done in journal.done.items()}
        faces = {Path(name).stem: done.faces for name, done in journal.done.items()}
        dropped = {Path(name).stem: done.dropped for name, done in journal.done.items() if done.dropped}
    stems = sorted(index, key=lambda stem: (index[stem], stem))
    return Frames(stems, index, faces, sizes, shots, journal, dropped)


def _footage_frames(
    workspace: Workspace, side: Side
) -> tuple[dict[int, tuple[int, int]], dict[str, int], Shots | None]:
    """The frames' sizes, and their places by stem; empty where there is no footage of known length. And its shots."""
    from understudy.media import FootageKind
    from understudy.media.folder import list_pictures

    try:
        with workspace.footage(side) as footage:
            info, shots = footage.info, read_shots(workspace, side, footage)
    except UnderstudyError:  # a faceset without its footage is reviewed all the same
        return {}, {}, None
    sizes = {} if info.kind is FootageKind.PHOTOS else _OneSize((info.width, info.height))
    if info.path.is_dir():
        return sizes, {path.stem: place for place, path in list_pictures(info.path).files}, shots
    count = info.frames or 0 if info.frames_exact else 0
    return sizes, {f"{place + 1:05d}": place for place in range(count)}, shots


def _judge_faces(
    workspace: Workspace, side: Side, frames: Frames, report: Report, stop: Stop
) -> tuple[list[Judged], dict[str, FaceEntry]]:
    try:
        catalog = Catalog.open(workspace.side(side).aligned, cache=workspace.catalogs, report=report, stop=stop)
    except EmptyFaceset:
        return [], {}
    with catalog:
        by_frame = catalog.by_frame()
        _learn_frames(frames, by_frame)
        pace = Pace("Reviewing", sum(map(len, by_frame.values())), report, unit="faces")
        ordered = sorted(by_frame, key=lambda stem: (frames.index[stem], stem))
        judged = judge_all(_seen(ordered, by_frame, frames, pace, stop), frames.sizes)
        return judged, {face.key: face for faces in by_frame.values() for face in faces}


def _learn_frames(frames: Frames, by_frame: Iterable[str]) -> None:
    """Add frames that only faces know of: a faceset whose footage is gone, or was named otherwise."""
    unknown = sorted(stem for stem in by_frame if stem not in frames.index)
    for place, stem in enumerate(unknown):
        number = number_of_frame(stem)
        frames.index[stem] = number - 1 if number else len(frames.stems) + place
    frames.stems = sorted([*frames.stems, *unknown], key=lambda stem: (frames.index[stem], stem))


def _seen(
    stems: Iterable[str], by_frame: Mapping[str, Sequence[FaceEntry]], frames: Frames, pace: Pace, stop: Stop
) -> Iterator[tuple[int, list[Seen]]]:
    for stem in stems:
        if stop():
            return
        index, there = frames.index[stem], by_frame[stem]
        found = None if frames.journal is None else frames.journal.seen(str(there[0].source_filename))
        if found is not None and found.size is not None:
            frames.sizes[index] = found.size
        yield index, [_one_seen(face, index, found) for face in there]
        pace.advance(len(by_frame[stem]))


def _one_seen(face: FaceEntry, index: int, found: SeenFrame | None) -> Seen:
    """The face with its landmarks as they were found, before smoothing, where that is known: jumps show in those."""
    meta = face.meta
    in_frame, by_hand = meta.source_landmarks, bool(meta.extra.get(BY_HAND))
    if found is not None and in_frame is not None and not by_hand:
        raw = next((seen.points for seen in found.faces or () if seen.track == face.track and seen.file), None)
        in_frame = in_frame if raw is None else raw
    turned = None
    if meta.has_landmarks:
        turned = abs(math.degrees(pose(meta.landmarks, face.width).yaw)) if _may_be_turned(meta.landmarks) else 0.0
    return Seen(
        index=index,
        key=face.key,
        rect=face.source_rect,
        landmarks=None if in_frame is None else in_frame.astype(np.float32),
        confidence=face.confidence,
        track=face.track,
        turned=turned,
        by_hand=by_hand,
    )


def _may_be_turned(landmarks: Points) -> bool:
    """Whether a face could be a profile: measuring the pose of all others would take half of a review's time.

    At 20 degrees the tip of the nose is twice as far from the one eye's outer corner as from the other's.
    """
    right, left = landmarks[30, 0] - landmarks[36, 0], landmarks[45, 0] - landmarks[30, 0]
    return bool(min(right, left) < 0.5 * max(right, left))


# -- what is doubtful


def _of_faces(judged: Iterable[Judged], known: Mapping[str, FaceEntry]) -> Iterator[Item]:
    for face in judged:
        if face.doubts:
            entry = known[face.key]
            yield _item(str(entry.frame), face.index, face.doubts, file=face.key, rect=entry.source_rect or face.box)


def _item(frame: str, index: int, doubts: Sequence[Doubt], *, file: str | None, rect: Rect | None) -> Item:
    ordered = sorted(doubts, key=lambda doubt: -doubt.score)
    kinds = tuple(dict.fromkeys(doubt.kind for doubt in ordered))
    return Item(frame, index, together(ordered), kinds, tuple(doubt.reason for doubt in ordered), file, rect)


def _of_missing(judged: Sequence[Judged], frames: Frames) -> Iterator[Item]:
    """Frames that gave no face; one whose faces somebody took out since gave some."""
    there = sorted({face.index for face in judged})
    faces = frames.faces
    empty = [stem for stem in frames.stems if (faces.get(stem, 1) == 0 if faces is not None else True)]
    have = set(there)
    empty = [stem for stem in empty if frames.index[stem] not in have]
    largest = _largest_boxes(judged)
    for run in _runs(empty, frames.index):
        first, last = frames.index[run[0]], frames.index[run[-1]]
        place = bisect_left(there, first)
        before, after = (there[place - 1] if place else None), (there[place] if place < len(there) else None)
        before = before if before is not None and frames.same_shot(before, first) else None
        after = after if after is not None and frames.same_shot(after, last) else None
        for stem in run:
            index = frames.index[stem]
            doubt = missing(
                None if before is None else index - before, None if after is None else after - index, last - first + 1
            )
            rect = _guess(largest.get(before), largest.get(after), before, index, after) if doubt.score > 0.5 else None
            yield _item(stem, index, [doubt], file=None, rect=rect)


def _runs(stems: Sequence[str], index: Mapping[str, int]) -> Iterator[list[str]]:
    """Frames that follow each other directly, put together."""
    run: list[str] = []
    for stem in stems:
        if run and index[stem] != index[run[-1]] + 1:
            yield run
            run = []
        run.append(stem)
    if run:
        yield run


def _largest_boxes(judged: Iterable[Judged]) -> dict[int | None, Rect]:
    found: dict[int | None, Rect] = {}
    for face in judged:
        if face.box is not None and (face.index not in found or face.box.area > found[face.index].area):
            found[face.index] = face.box
    return found


def _guess(one: Rect | None, other: Rect | None, before: int | None, index: int, after: int | None) -> Rect | None:
    """Where the face may be, on the straight line between the frames before and after."""
    if one is None or other is None or before is None or after is None:
        return None
    return between(one, other, (index - before) / (after - before))


def _of_gaps(judged: Sequence[Judged], frames: Frames) -> Iterator[Item]:
    """Frames in the middle of a track that have other faces, but none where the track's should be.

    Where one is, either the face changed its track for a while, or it is hidden behind the other.
    """
    boxes: dict[int, list[Rect]] = {}
    for face in judged:
        boxes.setdefault(face.index, []).extend([face.box] if face.box is not None else [])
    count = Counter(face.index for face in judged)
    stem_of = {place: stem for stem, place in frames.index.items()}
    last: dict[int, Judged] = {}
    for face in sorted(judged, key=lambda face: face.index):
        earlier = last.get(face.chain)
        last[face.chain] = face
        if earlier is None or face.chain < 0:
            continue
        for index in range(earlier.index + 1, face.index):
            stem = stem_of.get(index)
            if stem is None or not count[index]:
                continue  # no such frame, or one that is listed as having no face at all
            if frames.faces is not None and frames.faces.get(stem, 0) > count[index]:
                continue  # somebody took a face out of it
            rect = _guess(earlier.box, face.box, earlier.index, index, face.index)
            if rect is not None and any(overlap(rect, box) > TAKEN for box in boxes[index]):
                continue
            yield _item(stem, index, [gap(index - earlier.index, face.index - index)], file=None, rect=rect)


DROPPED = {
    "area": Doubt(Kind.REMOVED, 0.55, "A face was left out: its crop is more than four times its box."),
    "shape": Doubt(Kind.REMOVED, 0.5, "A face was left out: its landmarks span no crop."),
    "twin": Doubt(Kind.DOUBLE, 0.4, "Two boxes became one face, which was written once: is it the right one?"),
}


def _of_dropped(frames: Frames, by_hand: set[int]) -> Iterator[Item]:
    """Faces that the extraction left out by itself. by_hand: frames in which a person has placed one since."""
    for stem, dropped in frames.dropped.items():
        for face in dropped:
            if face.reason in DROPPED and frames.index[stem] not in by_hand:
                yield _item(stem, frames.index[stem], [DROPPED[face.reason]], file=None, rect=face.rect)


def _with_deleted_debug(items: Sequence[Item], frames: Frames, paths: SidePaths) -> list[Item]:
    """The items, with those in front whose debug image somebody deleted: which is how one asks to have them redone."""
    deleted = set(deleted_debug(paths, frames.stems))
    reason = "Its debug image was deleted: to be found again, or placed by hand."
    made = [item for item in items if item.frame not in deleted]
    by_frame: dict[str, list[Item]] = {}
    for item in items:
        by_frame.setdefault(item.frame, []).append(item)
    for stem in frames.stems:
        if stem in deleted:
            known = by_frame.get(stem) or [Item(stem, frames.index[stem], 1.0, (), ())]
            made += [
                replace(item, score=1.0, kinds=(Kind.REDO, *item.kinds), reasons=(reason, *item.reasons))
                for item in known
            ]
    return made


def deleted_debug(paths: SidePaths, stems: Iterable[str]) -> list[str]:
    """Stems of the frames without a debug image, where there are debug images at all."""
    if not paths.aligned_debug.is_dir():
        return []
    there = {path.stem for path in paths.aligned_debug.iterdir() if path.suffix.lower() in (".jpg", ".jpeg", ".png")}
    return [stem for stem in stems if stem not in there] if there else []
