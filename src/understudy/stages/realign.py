"""Put single faces right: by a rectangle, by landmarks, by an average face; or search frames again, thoroughly.

    frame → landmarks → a new face in the place of the old one (realign_faces.py) → debug image → review

The new face takes over what was known of the old one; outlines and mask follow it into the new alignment.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from understudy.detection.found import FoundFace, checked_rect
from understudy.detection.loading import load_engine
from understudy.detection.placing import average_face, landmarks_for, read_landmarks
from understudy.detection.realign_options import RealignOptions, numbers
from understudy.errors import MediaError, UsageError
from understudy.facesets import FaceEntry
from understudy.geometry.boxes import box_of
from understudy.imaging.threads import one_thread_per_call
from understudy.media import Frame, FrameSource
from understudy.records import Side
from understudy.report import Report, Stop, never, silent
from understudy.stages.face_changes import require_loose, writing_faces
from understudy.stages.realign_faces import (
    Faceset,
    Realigned,
    exchange_faces,
    face_in_place_of,
    has_debug,
    judged,
    make_face,
    note_done,
    redraw_debug,
)
from understudy.stages.realign_search import search_again
from understudy.stages.result import StageResult
from understudy.stages.review_list import forget
from understudy.stages.review_sheet import frames_at
from understudy.workspace import Workspace

__all__ = ["RealignOptions", "landmarks_for", "realign"]


def realign(
    workspace: Workspace,
    side: Side,
    frame: str = "",
    options: RealignOptions | None = None,
    *,
    report: Report = silent,
    stop: Stop = never,
) -> StageResult:
    """Write the face of one frame anew from where somebody says it is, or search many frames again.

    frame: its name or number, such as 00012 or 12; empty for --all-deleted-debug and --all-missing. What was replaced
    lies in aligned_trash; the whole is one change that `faceset undo` takes back. The notes hold written, replaced,
    undo and, for many frames, searched, found and open (frames that still need a person). The kept review is brought up
    to date.
    Raises UsageError for a frame, a rectangle or landmarks that make no sense, MissingFootage, Busy, Interrupted (with
    what was found so far in place), DiskFull and ReadOnlyWorkspace.
    """
    side, options = Side(side), options or RealignOptions()
    started = time.perf_counter()
    _require_way(frame, options)
    with writing_faces(workspace, side), one_thread_per_call():
        require_loose(workspace, side)
        with workspace.footage(side, options.from_) as footage, Faceset(workspace, side, options) as faceset:
            if options.is_for_many:
                result = search_again(workspace, faceset, footage, options, report, stop)
            else:
                result = _place_one(workspace, faceset, footage, frame, options)
    return StageResult(
        frames=result.frames,
        faces=len(result.written),
        skipped=result.skipped,
        seconds=time.perf_counter() - started,
        outputs=[faceset.paths.aligned / name for name in result.written[:100]],
        notes={
            "written": result.written,
            "replaced": result.replaced,
            **({"undo": f"understudy faceset undo {side}"} if result.written else {}),
            **result.notes,
        },
    )


def _require_way(frame: str, options: RealignOptions) -> None:
    ways = "--rect, --landmarks, or --anchor with --tip"
    if options.is_for_many:
        if frame:
            raise UsageError(
                f"The frame {frame} is named, and yet all are to be searched.", hint=f"For one frame: {ways}."
            )
        return
    if not frame:
        raise UsageError("No frame is named.", hint=f"understudy faceset realign SIDE FRAME with {ways}.")
    if options.rect is None and options.landmarks is None and options.anchor is None:
        raise UsageError("Where the face is was not said.", hint=f"Say it with {ways}.")


def _place_one(
    workspace: Workspace, faceset: Faceset, footage: FrameSource, name: str, options: RealignOptions
) -> Realigned:
    stem = faceset.frames.named(name, faceset.side)
    frame = _the_frame(footage, faceset.frames.index[stem], name, faceset.side)
    found = _placed(frame, options)
    old = _old_face(faceset, stem, found, options.face)
    taken = {faceset.numbers[old.key]} if old is not None and old.key in faceset.numbers else set()
    number = options.face if options.face is not None else min(taken, default=faceset.free_number(stem, taken))
    made = make_face(faceset, frame, found, old, number, by_hand=True)
    if made is None:
        raise UsageError("These landmarks make no face that could be cut out.", hint="Look at them in a viewer.")
    change = exchange_faces(faceset, [made], title=f"Realigned {Path(made.name).stem}")
    if has_debug(faceset.paths):
        redraw_debug(faceset, [frame])
    doubted = [old.key] if old is not None else []
    note_done(workspace, faceset, [frame])
    forget(workspace, faceset.side, files=doubted, frames=[stem])
    return Realigned(
        frames=1,
        written=[made.name],
        replaced=doubted,
        skipped=list(change.skipped),
        notes={"landmarks": np.round(found.landmarks, 2).tolist(), "confidence": round(found.confidence, 3)},
    )


def _the_frame(footage: FrameSource, index: int, name: str, side: Side) -> Frame:
    try:
        frame = next(iter(frames_at(footage, [index])), None)
    except MediaError as error:
        raise UsageError(f"The frame {name} of {side} cannot be read: {error.message}") from None
    if frame is None:
        raise UsageError(
            f"The frame {name} of {side} is not in the footage, or cannot be read.",
            hint=f"See what is wrong with it: understudy video frames {side}",
        )
    return frame


def _placed(frame: Frame, options: RealignOptions) -> FoundFace:
    if options.box is not None:
        engine = load_engine(options.engine, device=options.device, accuracy=options.accuracy)
        return judged(landmarks_for(frame.rgb8, options.box, turn=options.turn, engine=engine), options)
    if options.landmarks is not None:
        points = read_landmarks(options.landmarks)
        found = FoundFace(box_of(points), points, None, 1.0)
    else:
        anchor, tip = numbers(str(options.anchor), 2), numbers(str(options.tip), 2)
        found = average_face((anchor[0], anchor[1]), (tip[0], tip[1]))
    checked_rect(box_of(found.landmarks), frame.width, frame.height)
    return found


def _old_face(faceset: Faceset, stem: str, found: FoundFace, number: int | None) -> FaceEntry | None:
    """The face that the new one takes the place of: the one of that number, else the one that lies there."""
    faces = faceset.faces_of(stem)
    if number is not None:
        return next((face for face in faces if faceset.numbers.get(face.key) == number), None)
    return face_in_place_of(found, faces)
