"""Faces that come into a faceset beside those that are there, or in the place of some: cut, named, exchanged.

frame → aligned picture, written into the trash folder → one change: old faces out, new faces in → debug images
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from understudy.detection.confidence import confidence_of
from understudy.detection.cutting import cut_face
from understudy.detection.found import FoundFace
from understudy.detection.realign_options import RealignOptions
from understudy.facesets import Catalog, FaceEntry, FaceMeta, encode_jpeg, write_face
from understudy.facesets.changes import Change, Move, apply
from understudy.facesets.doubts import BY_HAND
from understudy.facesets.taking_over import taking_over
from understudy.facesets.where import face_numbers
from understudy.files import os_errors
from understudy.geometry.boxes import box_of, overlap
from understudy.media import Frame
from understudy.records import FaceType, Rect, Side, Skipped
from understudy.stages.debug_pictures import write_debug_picture
from understudy.stages.extract_journal import Done, ExtractJournal, journal_path
from understudy.stages.known_frames import Frames, all_frames
from understudy.workspace import SidePaths, Workspace

SAME_PLACE = 0.4
"""Boxes that overlap more than this (intersection over union) are of one face."""


@dataclass
class Realigned:
    """What came of it. frames: how many were looked at; written, replaced: names of faces; notes: for the result."""

    frames: int = 0
    written: list[str] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    notes: dict[str, object] = field(default_factory=dict)


class Faceset:
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

    def __enter__(self) -> Faceset:
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


def overlap_of(face: FaceEntry, found: FoundFace) -> float:
    landmarks = face.meta.source_landmarks
    if landmarks is not None:
        return overlap(box_of(landmarks), box_of(found.landmarks))
    return 0.0 if face.source_rect is None else overlap(face.source_rect, found.rect)


def face_in_place_of(face: FoundFace, there: Sequence[FaceEntry]) -> FaceEntry | None:
    """The face of the faceset that lies where this one was found."""
    near = [(overlap_of(old, face), old) for old in there]
    best = max(near, default=(0.0, None), key=lambda item: item[0])
    return best[1] if best[0] >= SAME_PLACE else None


def judged(face: FoundFace, options: RealignOptions) -> FoundFace:
    """The face with the chance that its landmarks are right in place of the engine's own score."""
    return replace(face, confidence=confidence_of(face.confidence, options.engine))


@dataclass(frozen=True, eq=False)
class NewFace:
    """A face that waits in the trash folder, and the one whose place it takes."""

    waiting: Path
    name: str
    old: tuple[FaceEntry, ...]


def make_face(
    faceset: Faceset, frame: Frame, found: FoundFace, old: FaceEntry | None, number: int, *, by_hand: bool
) -> NewFace | None:
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
    return NewFace(waiting, name, (old,) if old is not None else ())


def _free(path: Path) -> Path:
    number, free = 1, path
    while free.exists():
        number += 1
        free = path.with_stem(f"{path.stem}_{number}")
    return free


def _like_neighbours(meta: FaceMeta, faceset: Faceset, index: int) -> FaceMeta:
    """Track and group of the face that lies there in the nearest frame, at most a few away; for a face that is new."""
    stems = faceset.frames.stems
    assert meta.source_landmarks is not None
    box = box_of(meta.source_landmarks)
    place = {faceset.frames.index[stem]: stem for stem in frames_around(stems, faceset.frames, index)}
    for other in sorted(place, key=lambda other: abs(other - index)):
        for face in faceset.faces_of(place[other]):
            near = face.meta.source_landmarks
            if near is not None and overlap(box_of(near), box) > SAME_PLACE:
                return meta.but(track=face.track, group=face.group)
    return meta


def frames_around(stems: Sequence[str], frames: Frames, index: int, reach: int = 5) -> Iterator[str]:
    for stem in stems:
        if 0 < abs(frames.index[stem] - index) <= reach and frames.same_shot(frames.index[stem], index):
            yield stem


def exchange_faces(faceset: Faceset, made: Sequence[NewFace], *, title: str) -> Change:
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


def note_done(workspace: Workspace, faceset: Faceset, frames: Sequence[Frame]) -> None:
    """Tell an extraction that is not finished that these frames need no more work, so that it leaves them alone."""
    journal = ExtractJournal.read(journal_path(workspace, faceset.side))
    if journal is None or journal.is_complete:
        return
    with journal:
        for frame in frames:
            if frame.name not in journal.done:
                journal.add(frame.name, Done(frame.index, len(faceset.faces_of(Path(frame.name).stem))), ())


def redraw_debug(faceset: Faceset, frames: Iterable[Frame]) -> None:
    """Draw the debug images of some frames anew."""
    folder = faceset.paths.aligned_debug
    for frame in frames:
        stem = Path(frame.name).stem
        write_debug_picture(folder, stem, frame.rgb8, [(face.meta, face.width) for face in faceset.faces_of(stem)])


def has_debug(paths: SidePaths) -> bool:
    return paths.aligned_debug.is_dir() and any(paths.aligned_debug.iterdir())
