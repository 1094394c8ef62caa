"""Frames searched again, thoroughly: those that lost their debug image, or that the review misses faces in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from understudy.detection.found import Engine, FoundFace
from understudy.detection.loading import load_engine
from understudy.detection.realign_options import RealignOptions
from understudy.errors import Interrupted, UsageError
from understudy.facesets import FaceEntry
from understudy.facesets.doubts import Kind
from understudy.geometry.boxes import box_of, overlap
from understudy.media import Frame, FrameSource
from understudy.records import Rect
from understudy.report import Note, Pace, Report, Stop
from understudy.stages.realign_faces import (
    SAME_PLACE,
    Faceset,
    NewFace,
    Realigned,
    exchange_faces,
    face_in_place_of,
    frames_around,
    has_debug,
    judged,
    make_face,
    overlap_of,
    redraw_debug,
)
from understudy.stages.review import write_review
from understudy.stages.review_sheet import frames_at
from understudy.workspace import Workspace

SAME_LANDMARKS = 0.01
"""A face found again whose landmarks moved by less than this part of its size is the same as before."""

BELIEVED, SURE = 0.5, 0.9
"""A second search writes faces from the first confidence on where a sure face in a frame beside looks alike, from the
second on anyway. Where only the frames beside say that there may be a face, both are asked: FaceMesh makes faces of
ears. What is not believed is left to a person."""

LIKE_NEIGHBOURS = 0.12
"""Landmarks look alike when they differ by less than this part of the face's size, place and size taken out."""

NEIGHBOUR_FRAMES = 10


def search_again(
    workspace: Workspace,
    faceset: Faceset,
    footage: FrameSource,
    options: RealignOptions,
    report: Report,
    stop: Stop,
) -> Realigned:
    stems, guesses = _wanted(workspace, faceset, options)
    engine = load_engine(options.engine, device=options.device, accuracy=options.accuracy)
    result, made, solved = Realigned(), list[NewFace](), dict[str, int]()
    pace = Pace("Searching again", len(stems), report)
    indices = {faceset.frames.index[stem]: stem for stem in stems}
    stopped = False
    for frame in frames_at(footage, list(indices)):
        if stopped := stop():
            break
        stem = indices[frame.index]
        new = _searched(faceset, frame, engine, guesses.get(stem, []), exchange=options.all_deleted_debug)
        if new:
            made += new
            solved[stem] = frame.index
        result.frames += 1
        pace.advance()
    if made:
        change = exchange_faces(faceset, made, title=f"Searched {result.frames} frames of {faceset.side} again")
        result.skipped += change.skipped
        if has_debug(faceset.paths):
            redraw_debug(faceset, frames_at(footage, list(solved.values())))
    result.written = [item.name for item in made]
    result.replaced = sorted({face.key for item in made for face in item.old})
    open_ = [stem for stem in stems if stem not in solved]
    result.notes = {"searched": result.frames, "found": len(solved), "open": open_}
    write_review(workspace, faceset.side)
    if stopped:
        raise Interrupted(
            f"Stopped after {result.frames} of {len(stems)} frames, in {len(solved)} of which faces were found.",
            hint="What was found is in place; the same command goes on.",
        )
    if not stems:
        what = "no debug image was deleted" if options.all_deleted_debug else "the review misses no face"
        report(Note(f"There is nothing to search again: {what}."))
    return result


def _wanted(workspace: Workspace, faceset: Faceset, options: RealignOptions) -> tuple[list[str], dict[str, list[Rect]]]:
    """Stems of the frames to search, and where a face may be in them."""
    if options.all_deleted_debug and not has_debug(faceset.paths):
        raise UsageError(
            f"There are no debug images of {faceset.side}, so none can have been deleted.",
            hint=f"Make them: understudy faceset extract {faceset.side} --replace --debug-images",
        )
    found = write_review(workspace, faceset.side)
    guesses: dict[str, list[Rect]] = {}
    for item in found.items:
        if item.rect is not None and item.file is None:
            guesses.setdefault(item.frame, []).append(item.rect)
    if options.all_deleted_debug:
        return found.frames_of(Kind.REDO), guesses
    return found.frames_of(Kind.MISSING, Kind.GAP), guesses


def _searched(
    faceset: Faceset, frame: Frame, engine: Engine, guesses: Sequence[Rect], *, exchange: bool
) -> list[NewFace]:
    """New faces of a frame, which wait to be exchanged; none when the search finds nothing new.

    exchange: faces that are found again take the place of those that are there; else those stay, and are not doubled.
    """
    there = faceset.faces_of(Path(frame.name).stem)
    found = _thorough(faceset, frame, engine, guesses)
    if not exchange:
        found = [face for face in found if not any(overlap_of(old, face) > SAME_PLACE / 2 for old in there)]
    pairs = [(face, face_in_place_of(face, there)) for face in found]
    if not any(old is None or _has_moved(face, old) for face, old in pairs):
        return []
    made: list[NewFace] = []
    taken: set[int] = set()
    for face, old in pairs:
        number = faceset.numbers.get(old.key) if old is not None else None
        number = faceset.free_number(Path(frame.name).stem, taken) if number is None else number
        one = make_face(faceset, frame, face, old, number, by_hand=False)
        if one is not None:
            taken.add(number)
            made.append(one)
    return made


def _thorough(faceset: Faceset, frame: Frame, engine: Engine, guesses: Sequence[Rect]) -> list[FoundFace]:
    """What a search without hints finds, and what the guesses add to it; of both only what can be believed."""
    found = [judged(face, faceset.options) for face in engine.find(frame.rgb8, previous=None)]
    found = [
        face
        for face in found
        if face.confidence >= SURE or (face.confidence >= BELIEVED and _is_like_neighbours(faceset, frame.index, face))
    ]
    for rect in guesses:
        try:
            face = judged(engine.landmarks_in(frame.rgb8, rect), faceset.options)
        except UsageError:  # a guess that lies outside the frame
            continue
        beside = all(overlap(box_of(other.landmarks), box_of(face.landmarks)) < SAME_PLACE / 2 for other in found)
        if beside and face.confidence >= SURE and _is_like_neighbours(faceset, frame.index, face):
            found.append(face)
    return found


def _is_like_neighbours(faceset: Faceset, index: int, found: FoundFace) -> bool:
    """Whether a sure face of the frames beside it looks about the same way."""
    for stem in frames_around(faceset.frames.stems, faceset.frames, index, NEIGHBOUR_FRAMES):
        for face in faceset.faces_of(stem):
            near = face.meta.source_landmarks if (face.confidence or 0.0) >= BELIEVED else None
            if near is not None and _difference(near, found.landmarks) < LIKE_NEIGHBOURS:
                return True
    return False


def _difference(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Mean distance of landmarks once place and size are taken out, but not turn; over the size."""
    shapes = [(points - points.mean(axis=0)) / max(1e-6, box_of(points).area ** 0.5) for points in (one, other)]
    return float(np.linalg.norm(shapes[0] - shapes[1], axis=1).mean())


def _has_moved(face: FoundFace, old: FaceEntry) -> bool:
    """Whether a face found again differs from the one that is there."""
    landmarks = old.meta.source_landmarks
    if landmarks is None:
        return True
    size = max(1.0, box_of(landmarks).area ** 0.5)
    moved = float(np.linalg.norm(face.landmarks - landmarks, axis=1).mean())
    return bool(moved / size > SAME_LANDMARKS)
