"""Put single faces right: by a rectangle, by landmarks, by an average face; or search frames again, thoroughly.

    frame → landmarks → aligned picture, written into the trash folder → one change: old face out, new face in
                                                                       → debug image → review

The new face takes over what was known of the old one; outlines and mask follow it into the new alignment.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from understudy.detection.confidence import confidence_of
from understudy.detection.cutting import cut_face
from understudy.detection.found import Engine, FoundFace, checked_rect
from understudy.detection.loading import load_engine
from understudy.detection.placing import average_face, landmarks_for, read_landmarks
from understudy.detection.realign_options import RealignOptions, numbers
from understudy.errors import Interrupted, MediaError, UnderstudyError, UsageError
from understudy.facesets import Catalog, FaceEntry, FaceMeta, Polygon, encode_jpeg, write_face
from understudy.facesets.changes import Change, Move, apply
from understudy.facesets.doubts import BY_HAND, Kind
from understudy.facesets.where import face_numbers
from understudy.facesets.xseg import decode_mask, encode_mask
from understudy.files import os_errors
from understudy.geometry import affine
from understudy.geometry.affine import Affine
from understudy.geometry.boxes import box_of, overlap
from understudy.imaging.threads import one_thread_per_call
from understudy.media import Frame, FrameSource
from understudy.records import FaceType, Rect, Side, Skipped
from understudy.report import Note, Pace, Report, Stop, never, silent
from understudy.stages.debug_pictures import write_debug_picture
from understudy.stages.extract_journal import Done, ExtractJournal, journal_path
from understudy.stages.face_changes import require_loose, writing_faces
from understudy.stages.known_frames import Frames, all_frames
from understudy.stages.result import StageResult
from understudy.stages.review import write_review
from understudy.stages.review_list import forget
from understudy.stages.review_sheet import frames_at
from understudy.workspace import SidePaths, Workspace

__all__ = ["RealignOptions", "landmarks_for", "realign"]

Image8 = NDArray[np.uint8]

SAME_PLACE = 0.4
"""Boxes that overlap more than this (intersection over union) are of one face."""

SAME_LANDMARKS = 0.01
"""A face found again whose landmarks moved by less than this part of its size is the same as before."""

BELIEVED, SURE = 0.5, 0.9
"""A second search writes faces from the first confidence on where a sure face in a frame beside looks alike, from the
second on anyway. Where only the frames beside say that there may be a face, both are asked: FaceMesh makes faces of
ears. What is not believed is left to a person."""

LIKE_NEIGHBOURS = 0.12
"""Landmarks look alike when they differ by less than this part of the face's size, place and size taken out."""

NEIGHBOUR_FRAMES = 10


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
        with workspace.footage(side, options.from_) as footage, _Faceset(workspace, side, options) as faceset:
            if options.is_for_many:
                result = _search_again(workspace, faceset, footage, options, report, stop)
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


@dataclass
class _Result:
    frames: int = 0
    written: list[str] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    notes: dict[str, object] = field(default_factory=dict)


class _Faceset:
    """The faces of one side with their frames, open for writing: what is there, and what one more must be like."""

    def __init__(self, workspace: Workspace, side: Side, options: RealignOptions) -> None:
        self.workspace, self.side, self.options = workspace, side, options
        self.paths: SidePaths = workspace.side(side)
        with os_errors(self.paths.aligned):
            self.paths.aligned.mkdir(parents=True, exist_ok=True)
        self.frames: Frames = all_frames(workspace, side)
        self.catalog = Catalog.open(self.paths.aligned, cache=workspace.catalogs)
        try:
            self.by_frame = self.catalog.by_frame()
            faces = self.catalog.faces()
            self.face_type, self.size = self._kind(faces)
            self.numbers = face_numbers(faces)
        except BaseException:
            self.catalog.close()
            raise

    def __enter__(self) -> _Faceset:
        return self

    def __exit__(self, *_: object) -> None:
        self.catalog.close()

    def _kind(self, faces: Sequence[FaceEntry]) -> tuple[FaceType, int]:
        """Face type and size: those of most faces, else of the extraction's journal, else of the options."""
        if faces:
            return Counter((face.face_type, face.width) for face in faces).most_common(1)[0][0]
        journal = ExtractJournal.read(journal_path(self.workspace, self.side))
        settings = {} if journal is None else journal.settings
        try:
            return FaceType(settings["face_type"]), int(settings["image_size"])
        except (KeyError, TypeError, ValueError):
            return self.options.face_type, self.options.image_size

    def faces_of(self, stem: str) -> list[FaceEntry]:
        return self.by_frame.get(stem, [])

    def free_number(self, stem: str, taken: set[int]) -> int:
        """The least number that no face of the frame has."""
        used = {self.numbers.get(face.key, -1) for face in self.faces_of(stem)} | taken
        return next(number for number in range(len(used) + 1) if number not in used)


# -- one frame


def _place_one(
    workspace: Workspace, faceset: _Faceset, footage: FrameSource, name: str, options: RealignOptions
) -> _Result:
    stem = faceset.frames.named(name, faceset.side)
    frame = _the_frame(footage, faceset.frames.index[stem], name, faceset.side)
    found = _placed(frame, options)
    old = _old_face(faceset, stem, found, options.face)
    taken = {faceset.numbers[old.key]} if old is not None and old.key in faceset.numbers else set()
    number = options.face if options.face is not None else min(taken, default=faceset.free_number(stem, taken))
    made = _made(faceset, frame, found, old, number, by_hand=True)
    if made is None:
        raise UsageError("These landmarks make no face that could be cut out.", hint="Look at them in a viewer.")
    change = _exchange(faceset, [made], title=f"Realigned {Path(made.name).stem}")
    if _has_debug(faceset.paths):
        _redraw_debug(faceset, [frame])
    doubted = [old.key] if old is not None else []
    _note_done(workspace, faceset, [frame])
    forget(workspace, faceset.side, files=doubted, frames=[stem])
    return _Result(
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
        return _judged(landmarks_for(frame.rgb8, options.box, turn=options.turn, engine=engine), options)
    if options.landmarks is not None:
        points = read_landmarks(options.landmarks)
        found = FoundFace(box_of(points), points, None, 1.0)
    else:
        anchor, tip = numbers(str(options.anchor), 2), numbers(str(options.tip), 2)
        found = average_face((anchor[0], anchor[1]), (tip[0], tip[1]))
    checked_rect(box_of(found.landmarks), frame.width, frame.height)
    return found


def _old_face(faceset: _Faceset, stem: str, found: FoundFace, number: int | None) -> FaceEntry | None:
    """The face that the new one takes the place of: the one of that number, else the one that lies there."""
    faces = faceset.faces_of(stem)
    if number is not None:
        return next((face for face in faces if faceset.numbers.get(face.key) == number), None)
    return _old_of(found, faces)


def _overlap(face: FaceEntry, found: FoundFace) -> float:
    landmarks = face.meta.source_landmarks
    if landmarks is not None:
        return overlap(box_of(landmarks), box_of(found.landmarks))
    return 0.0 if face.source_rect is None else overlap(face.source_rect, found.rect)


# -- a face, from the frame to the file


@dataclass(frozen=True, eq=False)
class _Made:
    """A face that waits in the trash folder, and the one whose place it takes."""

    waiting: Path
    name: str
    old: tuple[FaceEntry, ...]


def _made(
    faceset: _Faceset, frame: Frame, found: FoundFace, old: FaceEntry | None, number: int, *, by_hand: bool
) -> _Made | None:
    """Cut the face out and write it beside the trash; None when its landmarks make no crop."""
    cut = cut_face(frame.rgb8, found, size=faceset.size, face_type=faceset.face_type, by_hand=by_hand)
    if cut is None:
        return None
    box = found.rect
    meta = FaceMeta(
        face_type=faceset.face_type,
        landmarks=cut.landmarks,
        source_filename=frame.name,
        source_rect=Rect(*(float(round(side)) for side in (box.left, box.top, box.right, box.bottom))),
        source_landmarks=found.landmarks,
        image_to_face_mat=cut.face_from_frame,
        confidence=1.0 if by_hand else found.confidence,
        extra={BY_HAND: True} if by_hand else {},
    )
    meta = (
        _like_neighbours(meta, faceset, frame.index)
        if old is None
        else taking_over(meta, old.meta, old_size=old.width, size=faceset.size)
    )
    stem = Path(frame.name).stem
    name = f"{stem}_{number}.jpg"
    if old is not None and old.person is not None:
        name = f"{old.person}/{name}"
    waiting = _free(faceset.paths.aligned_trash / f"{stem}_{number}_realigned.jpg")
    with os_errors(waiting):
        waiting.parent.mkdir(parents=True, exist_ok=True)
    write_face(waiting, encode_jpeg(cut.rgb8, faceset.options.jpeg_quality), meta)
    return _Made(waiting, name, (old,) if old is not None else ())


def _free(path: Path) -> Path:
    number, free = 1, path
    while free.exists():
        number += 1
        free = path.with_stem(f"{path.stem}_{number}")
    return free


def taking_over(new: FaceMeta, old: FaceMeta, *, old_size: int, size: int) -> FaceMeta:
    """What is known of a face, for its new alignment: outlines and mask are mapped into it.

    old_size, size: sides of the old and the new aligned picture in pixels.

    The rest that does not depend on the alignment (track, group, eyebrows, unknown keys) is taken as it is.
    """
    matrix = _new_from_old(new, old)
    polygons, mask = old.polygons, old.xseg_mask
    if matrix is not None:
        polygons = tuple(
            Polygon(affine.apply(matrix, polygon.points).astype(np.float32), polygon.include) for polygon in polygons
        )
        mask = None if mask is None else _mapped_mask(mask, matrix, old_size, size)
    return new.but(
        polygons=polygons,
        xseg_mask=mask,
        track=old.track,
        group=old.group,
        eyebrows_expand_mod=old.eyebrows_expand_mod,
        extra={**old.extra, **new.extra},
    )


def _new_from_old(new: FaceMeta, old: FaceMeta) -> Affine | None:
    """The matrix from pixels of the old aligned picture to those of the new; by way of the frame they share."""
    if new.image_to_face_mat is None or old.image_to_face_mat is None:
        return None
    try:
        return affine.compose(new.image_to_face_mat, affine.invert(old.image_to_face_mat))
    except np.linalg.LinAlgError:
        return None


def _mapped_mask(stored: bytes, matrix: Affine, old_size: int, size: int) -> bytes | None:
    """The stored mask in the new alignment, at its own resolution; None where it cannot be read."""
    try:
        mask = decode_mask(stored)
    except UnderstudyError:
        return None
    height, width = mask.shape
    if height != width:
        return stored
    there = affine.scaling(width / size)
    back = affine.scaling(old_size / width)
    whole = affine.compose(there, affine.compose(matrix, back))
    moved = cv2.warpAffine(mask, whole, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    hard = bool(np.isin(mask, (0.0, 1.0)).all())
    return encode_mask((np.asarray(moved) > 0.5).astype(np.float32) if hard else np.asarray(moved, np.float32))


def _like_neighbours(meta: FaceMeta, faceset: _Faceset, index: int) -> FaceMeta:
    """Track and group of the face that lies there in the nearest frame, at most a few away; for a face that is new."""
    stems = faceset.frames.stems
    assert meta.source_landmarks is not None
    box = box_of(meta.source_landmarks)
    place = {faceset.frames.index[stem]: stem for stem in _around(stems, faceset.frames, index)}
    for other in sorted(place, key=lambda other: abs(other - index)):
        for face in faceset.faces_of(place[other]):
            near = face.meta.source_landmarks
            if near is not None and overlap(box_of(near), box) > SAME_PLACE:
                return meta.but(track=face.track, group=face.group)
    return meta


def _around(stems: Sequence[str], frames: Frames, index: int, reach: int = 5) -> Iterator[str]:
    for stem in stems:
        if 0 < abs(frames.index[stem] - index) <= reach and frames.same_shot(frames.index[stem], index):
            yield stem


def _exchange(faceset: _Faceset, made: Sequence[_Made], *, title: str) -> Change:
    """Old faces out, new faces in: one change, after which the catalog knows them."""
    paths = faceset.paths
    old = {face.key: face for item in made for face in item.old}
    moves = [Move(face.path, paths.aligned_trash / face.key) for face in old.values()]
    moves += [Move(item.waiting, paths.aligned / item.name) for item in made]
    change = apply(
        moves,
        title=title,
        journal_folder=faceset.workspace.changes(faceset.side),
        roots=(paths.aligned, paths.aligned_trash),
    )
    faceset.catalog.refresh()
    faceset.by_frame = faceset.catalog.by_frame()
    return change


def _note_done(workspace: Workspace, faceset: _Faceset, frames: Sequence[Frame]) -> None:
    """Tell an extraction that is not finished that these frames need no more work, so that it leaves them alone."""
    journal = ExtractJournal.read(journal_path(workspace, faceset.side))
    if journal is None or journal.is_complete:
        return
    with journal:
        for frame in frames:
            if frame.name not in journal.done:
                journal.add(frame.name, Done(frame.index, len(faceset.faces_of(Path(frame.name).stem))), ())


# -- debug images


def _redraw_debug(faceset: _Faceset, frames: Iterable[Frame]) -> None:
    """Draw the debug images of some frames anew."""
    folder = faceset.paths.aligned_debug
    for frame in frames:
        stem = Path(frame.name).stem
        write_debug_picture(folder, stem, frame.rgb8, [(face.meta, face.width) for face in faceset.faces_of(stem)])


# -- many frames


def _search_again(
    workspace: Workspace,
    faceset: _Faceset,
    footage: FrameSource,
    options: RealignOptions,
    report: Report,
    stop: Stop,
) -> _Result:
    stems, guesses = _wanted(workspace, faceset, options)
    engine = load_engine(options.engine, device=options.device, accuracy=options.accuracy)
    result, made, solved = _Result(), list[_Made](), dict[str, int]()
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
        change = _exchange(faceset, made, title=f"Searched {result.frames} frames of {faceset.side} again")
        result.skipped += change.skipped
        if _has_debug(faceset.paths):
            _redraw_debug(faceset, frames_at(footage, list(solved.values())))
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


def _wanted(
    workspace: Workspace, faceset: _Faceset, options: RealignOptions
) -> tuple[list[str], dict[str, list[Rect]]]:
    """Stems of the frames to search, and where a face may be in them."""
    if options.all_deleted_debug and not _has_debug(faceset.paths):
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


def _has_debug(paths: SidePaths) -> bool:
    return paths.aligned_debug.is_dir() and any(paths.aligned_debug.iterdir())


def _searched(
    faceset: _Faceset, frame: Frame, engine: Engine, guesses: Sequence[Rect], *, exchange: bool
) -> list[_Made]:
    """New faces of a frame, which wait to be exchanged; none when the search finds nothing new.

    exchange: faces that are found again take the place of those that are there; else those stay, and are not doubled.
    """
    there = faceset.faces_of(Path(frame.name).stem)
    found = _thorough(faceset, frame, engine, guesses)
    if not exchange:
        found = [face for face in found if not any(_overlap(old, face) > SAME_PLACE / 2 for old in there)]
    pairs = [(face, _old_of(face, there)) for face in found]
    if not any(old is None or _has_moved(face, old) for face, old in pairs):
        return []
    made: list[_Made] = []
    taken: set[int] = set()
    for face, old in pairs:
        number = faceset.numbers.get(old.key) if old is not None else None
        number = faceset.free_number(Path(frame.name).stem, taken) if number is None else number
        one = _made(faceset, frame, face, old, number, by_hand=False)
        if one is not None:
            taken.add(number)
            made.append(one)
    return made


def _thorough(faceset: _Faceset, frame: Frame, engine: Engine, guesses: Sequence[Rect]) -> list[FoundFace]:
    """What a search without hints finds, and what the guesses add to it; of both only what can be believed."""
    found = [_judged(face, faceset.options) for face in engine.find(frame.rgb8, previous=None)]
    found = [
        face
        for face in found
        if face.confidence >= SURE or (face.confidence >= BELIEVED and _is_like_neighbours(faceset, frame.index, face))
    ]
    for rect in guesses:
        try:
            face = _judged(engine.landmarks_in(frame.rgb8, rect), faceset.options)
        except UsageError:  # a guess that lies outside the frame
            continue
        beside = all(overlap(box_of(other.landmarks), box_of(face.landmarks)) < SAME_PLACE / 2 for other in found)
        if beside and face.confidence >= SURE and _is_like_neighbours(faceset, frame.index, face):
            found.append(face)
    return found


def _judged(face: FoundFace, options: RealignOptions) -> FoundFace:
    """The face with the chance that its landmarks are right in place of the engine's own score."""
    return replace(face, confidence=confidence_of(face.confidence, options.engine))


def _is_like_neighbours(faceset: _Faceset, index: int, found: FoundFace) -> bool:
    """Whether a sure face of the frames beside it looks about the same way."""
    for stem in _around(faceset.frames.stems, faceset.frames, index, NEIGHBOUR_FRAMES):
        for face in faceset.faces_of(stem):
            near = face.meta.source_landmarks if (face.confidence or 0.0) >= BELIEVED else None
            if near is not None and _difference(near, found.landmarks) < LIKE_NEIGHBOURS:
                return True
    return False


def _difference(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Mean distance of landmarks once place and size are taken out, but not turn; over the size."""
    shapes = [(points - points.mean(axis=0)) / max(1e-6, box_of(points).area ** 0.5) for points in (one, other)]
    return float(np.linalg.norm(shapes[0] - shapes[1], axis=1).mean())


def _old_of(face: FoundFace, there: Sequence[FaceEntry]) -> FaceEntry | None:
    """The face of the faceset that lies where this one was found."""
    near = [(_overlap(old, face), old) for old in there]
    best = max(near, default=(0.0, None), key=lambda item: item[0])
    return best[1] if best[0] >= SAME_PLACE else None


def _has_moved(face: FoundFace, old: FaceEntry) -> bool:
    """Whether a face found again differs from the one that is there."""
    landmarks = old.meta.source_landmarks
    if landmarks is None:
        return True
    size = max(1.0, box_of(landmarks).area ** 0.5)
    moved = float(np.linalg.norm(face.landmarks - landmarks, axis=1).mean())
    return bool(moved / size > SAME_LANDMARKS)
