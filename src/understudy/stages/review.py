"""The list of frames and faces worth a second look, worst first: what fixing by hand goes through.

journal · footage → every frame      catalog → every face      aligned_debug → what somebody deleted there
                  └────────── doubts, scores ──────────→ .understudy/review/SIDE.json
"""

from __future__ import annotations

import math
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from understudy.errors import EmptyFaceset, Interrupted
from understudy.facesets import Catalog, FaceEntry
from understudy.facesets.doubts import (
    BY_HAND,
    Doubt,
    Judged,
    Kind,
    Seen,
    gap,
    judge_all,
    missing,
    together,
)
from understudy.geometry.affine import Points
from understudy.geometry.boxes import between, overlap
from understudy.geometry.pose import pose
from understudy.records import Rect, Side
from understudy.report import Pace, Report, Stop, never, silent
from understudy.stages.extract_journal import SeenFrame
from understudy.stages.known_frames import Frames, all_frames
from understudy.stages.result import StageResult
from understudy.stages.review_list import Item, Review, read_review, review_path, runs_of, save_review, worst_of
from understudy.workspace import SidePaths, Workspace

TAKEN = 0.2
"""Where a face overlaps the place of a missing one by more than this (intersection over union), none is missing."""


def write_review(workspace: Workspace, side: Side, *, report: Report = silent, stop: Stop = never) -> Review:
    """Look through the faceset of a side and keep the list of what is doubtful; gives the list.

    Takes no lock: for stages that write the faceset, at their end. Frames that were accepted stay out of the list. An
    empty faceset makes a review too: every frame without a face. Raises Interrupted, with the earlier list in place,
    ReadOnlyWorkspace and DiskFull.
    """
    side = Side(side)
    earlier = read_review(workspace, side) or Review(side, 0, 0)
    frames = all_frames(workspace, side)
    # a debug image that came back and was deleted again asks once more
    settled = earlier.settled.intersection(deleted_debug(workspace.side(side), frames.stems))
    judged, known = _judge_faces(workspace, side, frames, report, stop)
    if stop():
        raise Interrupted("Stopped while the faceset was reviewed.", hint="Run the same command again.")
    items = [*_of_faces(judged, known), *_of_missing(judged, frames), *_of_gaps(judged, frames)]
    items += _of_dropped(frames, {face.index for face in judged if face.by_hand})
    items = _with_deleted_debug(items, frames, workspace.side(side))
    kept = (item for item in items if item.frame not in (settled if Kind.REDO in item.kinds else earlier.accepted))
    ordered = tuple(sorted(kept, key=lambda item: (-item.score, item.index, item.file or "")))
    made = Review(side, len(frames.stems), len(judged), ordered, earlier.accepted, settled)
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
    settled = accepted.intersection(deleted_debug(workspace.side(side), frames.stems))
    save_review(workspace, replace(earlier, accepted=earlier.accepted | accepted, settled=earlier.settled | settled))


# -- what there is


def _judge_faces(
    workspace: Workspace, side: Side, frames: Frames, report: Report, stop: Stop
) -> tuple[list[Judged], dict[str, FaceEntry]]:
    try:
        catalog = Catalog.open(workspace.side(side).aligned, cache=workspace.catalogs, report=report, stop=stop)
    except EmptyFaceset:
        return [], {}
    with catalog:
        by_frame = catalog.by_frame()
        frames.learn(by_frame)
        pace = Pace("Reviewing", sum(map(len, by_frame.values())), report, unit="faces")
        ordered = sorted(by_frame, key=lambda stem: (frames.index[stem], stem))
        judged = judge_all(_seen(ordered, by_frame, frames, pace, stop), frames.sizes)
        return judged, {face.key: face for faces in by_frame.values() for face in faces}


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
