"""What extraction does with frames: find their faces, join them over time, cut and write them.

    Finder, in threads: frame → Look        Joiner, in order: looks → tracks, smoothed landmarks → Joined
    write_faces, in threads: Joined → files, Written

The joiner looks a few frames ahead and back, no further; what it decides follows from the looks and, after a stop, from
what the journal kept of the last ones.
"""

from __future__ import annotations

import heapq
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from understudy.detection.confidence import confidence_of
from understudy.detection.cutting import CutFace, cut_face, why_unusable
from understudy.detection.found import Engine, FoundFace
from understudy.detection.loading import load_engine
from understudy.detection.options import ExtractOptions
from understudy.detection.smoothing import REACH, smooth
from understudy.detection.tracking import Look as Colours
from understudy.detection.tracking import Sight, Tracker, is_same_face, look_of
from understudy.errors import MediaError, UnderstudyError
from understudy.facesets import FaceMeta, encode_jpeg, read_meta, write_face
from understudy.media import Frame
from understudy.records import FaceType, Rect, Skipped
from understudy.stages.debug_pictures import write_debug_picture
from understudy.stages.extract_journal import SeenFace, SeenFrame
from understudy.stages.stretches import LONGEST_STRETCH, Pass
from understudy.workspace import SidePaths

LINKED = ("", "surplus", "area", "shape")
"""Reasons for dropping a face that do not keep it from being part of a track."""

Image8 = NDArray[np.uint8]
Points = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class FoundHere:
    """One face as found. points: (68, 2) float64 that a float32 holds exactly, since the journal keeps them so.

    dropped: why it is not written, as far as this frame alone tells; see `extract_journal`.
    """

    rect: Rect
    points: Points
    score: float
    colours: Colours | None
    dropped: str = ""


@dataclass(frozen=True, eq=False)
class Look:
    """What was seen in one frame. faces: largest first; None when the frame could not be read.

    picture: (H, W, 3) uint8 RGB; None where it is not needed again. is_known: an earlier run has done this frame.
    """

    serial: int
    index: int
    name: str
    is_cut: bool
    size: tuple[int, int] = (0, 0)
    faces: tuple[FoundHere, ...] | None = ()
    picture: Image8 | None = None
    skipped: tuple[Skipped, ...] = ()
    is_known: bool = False


class Finders:
    """Makes the finders of a run, one per thread.

    An engine on the processor belongs to one thread. One on another device is shared, a stretch of frames at a time, so
    that the other threads cut and write meanwhile.
    """

    def __init__(self, options: ExtractOptions, known: frozenset[str]) -> None:
        self._options, self._known = options, known
        self._shared: Engine | None = None
        self._lock = threading.Lock()

    def make(self) -> Finder:
        options = self._options
        if is_helped_by_previous(options) or options.device == "cpu":
            return Finder(self._engine(), options, self._known)
        with self._lock:
            self._shared = self._shared or self._engine()
        return Finder(self._shared, options, self._known, lock=self._lock)

    def _engine(self) -> Engine:
        options = self._options
        return load_engine(options.engine, device=options.device, accuracy=options.accuracy)


def is_helped_by_previous(options: ExtractOptions) -> bool:
    """Whether the engine looks more quickly at a frame when it knows the faces of the one before."""
    return str(options.engine) == "mediapipe"


class Finder:
    """Finds the faces of frame after frame, in one thread. See `stretches.Worker`."""

    def __init__(
        self, engine: Engine, options: ExtractOptions, known: frozenset[str], *, lock: threading.Lock | None = None
    ) -> None:
        """lock: of an engine that several finders share; it is then given whole stretches."""
        self._engine, self._options, self._known, self._lock = engine, options, known, lock
        self._is_helped = is_helped_by_previous(options)
        self.batch = 1 if lock is None else LONGEST_STRETCH
        self.begin()

    def begin(self) -> None:
        """Forget the frames seen so far."""
        self._previous: list[FoundFace] | None = None
        self._passed: list[Frame] = []

    def look(self, passes: list[Pass]) -> list[Look]:
        """Look for the faces of some frames of a stretch; known ones are only remembered, the next may want them."""
        if self._lock is not None:
            return self._look_at_all(passes)
        return [self._look(item) for item in passes]

    def _look(self, item: Pass) -> Look:
        frame = item.frame
        if frame.name in self._known:
            if self._is_helped:
                self._passed.append(frame)
            return _known(item)
        try:
            for passed in self._passed:
                self._previous = self._engine.find(passed.rgb8, previous=self._previous)
            self._passed.clear()
            self._previous = self._engine.find(frame.rgb8, previous=self._previous)
        except MediaError as error:
            self.begin()
            return _unreadable(item, error)
        return self._seen(item, self._previous)

    def _look_at_all(self, passes: list[Pass]) -> list[Look]:
        """All at once, known ones too: what a network says of a frame may depend on what else is in its batch."""
        if all(item.frame.name in self._known for item in passes):
            return [_known(item) for item in passes]
        looks: dict[int, Look] = {}
        readable: list[Pass] = []
        for item in passes:
            try:
                item.frame.rgb8  # noqa: B018 - decoded here, outside the lock
                readable.append(item)
            except MediaError as error:
                looks[item.serial] = _unreadable(item, error)
        assert self._lock is not None
        with self._lock:
            found = self._engine.find_batch([item.frame.rgb8 for item in readable])
        for item, faces in zip(readable, found, strict=True):
            looks[item.serial] = _known(item) if item.frame.name in self._known else self._seen(item, faces)
        return [looks[item.serial] for item in passes]

    def _seen(self, item: Pass, found: Sequence[FoundFace]) -> Look:
        frame, options = item.frame, self._options
        faces = sifted([_found_here(frame.rgb8, face) for face in found], options)
        is_needed = any(not face.dropped for face in faces) or options.debug_images
        damaged = Skipped(frame.name, "damaged; its faces were looked for all the same")
        return Look(
            item.serial,
            frame.index,
            frame.name,
            item.mark,
            (frame.width, frame.height),
            tuple(faces),
            frame.rgb8 if is_needed else None,
            (damaged,) if frame.damaged else (),
        )


def _known(item: Pass) -> Look:
    return Look(item.serial, item.frame.index, item.frame.name, item.mark, is_known=True)


def _unreadable(item: Pass, error: MediaError) -> Look:
    frame = item.frame
    return Look(
        item.serial, frame.index, frame.name, item.mark, faces=None, skipped=(Skipped(frame.name, error.message),)
    )


def _found_here(rgb8: Image8, face: FoundFace) -> FoundHere:
    points = face.landmarks.astype(np.float32).astype(np.float64)
    rect = face.rect
    rounded = Rect(round(rect.left, 2), round(rect.top, 2), round(rect.right, 2), round(rect.bottom, 2))
    return FoundHere(rounded, points, round(float(face.confidence), 4), look_of(rgb8, points))


def sifted(faces: Sequence[FoundHere], options: ExtractOptions) -> list[FoundHere]:
    """The faces of a frame, largest first, with reasons at those that are not to be written."""
    kept: list[FoundHere] = []
    for face in faces:
        reason = ""
        if min(face.rect.width, face.rect.height) < options.min_face:
            reason = "small"
        elif any(not other.dropped and is_same_face(other.points, face.points) for other in kept):
            reason = "twin"
        elif options.max_faces and sum(not other.dropped for other in kept) >= options.max_faces:
            reason = "surplus"
        kept.append(replace(face, dropped=reason) if reason else face)
    return kept


@dataclass(frozen=True, eq=False)
class JoinedFace:
    """One face in its track. landmarks: (68, 2) float64, smoothed. gap: for so many frames the track was not seen."""

    found: FoundHere
    landmarks: Points
    track: int | None
    gap: int
    confidence: float


@dataclass(frozen=True, eq=False)
class Joined:
    """One frame whose faces are final."""

    look: Look
    faces: tuple[JoinedFace, ...]


@dataclass(frozen=True, eq=False)
class _Linked:
    """One frame whose tracks are known. tracks, gaps: of its faces; points: of the faces that have a track."""

    look: Look
    tracks: tuple[int | None, ...]
    gaps: tuple[int, ...]
    points: dict[int, Points] = field(default_factory=dict)

    @property
    def index(self) -> int:
        return self.look.index


class Joiner:
    """Puts looks in order, links faces to tracks and smooths their landmarks. For one thread."""

    def __init__(
        self,
        tracker: Tracker,
        options: ExtractOptions,
        *,
        recall: Callable[[str], SeenFrame | None] = lambda name: None,
    ) -> None:
        """recall: what an earlier run saw in a frame that it has done, by name."""
        self._tracker, self._recall = tracker, recall
        self._strength, self._engine = options.smoothing, str(options.engine)
        self._reach = REACH if options.smoothing > 0 else 0
        self._early: list[tuple[int, Look]] = []
        self._next_serial = 0
        self._past: deque[_Linked] = deque()
        self._open: deque[_Linked] = deque()

    def remember(self, frames: Sequence[SeenFrame]) -> None:
        """Take the frames before the first look, ascending, from an earlier run."""
        for seen in frames:
            if seen.is_cut:
                self._past.clear()
            self._past.append(self._recalled(Look(-1, seen.index, seen.name, seen.is_cut, is_known=True), seen))

    def add(self, look: Look) -> Iterator[Joined]:
        """Take a look, in any order. Gives the frames that are final with it, in order."""
        heapq.heappush(self._early, (look.serial, look))
        while self._early and self._early[0][0] == self._next_serial:
            self._next_serial += 1
            yield from self._follow(heapq.heappop(self._early)[1])

    def flush(self) -> Iterator[Joined]:
        """The frames that are left, when no further look comes."""
        yield from self._finish(None)

    def _follow(self, look: Look) -> Iterator[Joined]:
        if look.is_cut:
            yield from self._finish(None)
            self._past.clear()
        seen = self._recall(look.name) if look.is_known else None
        self._open.append(self._link(look) if seen is None else self._recalled(look, seen))
        yield from self._finish(look.index - self._reach)

    def _link(self, look: Look) -> _Linked:
        faces = look.faces or ()
        linked = [number for number, face in enumerate(faces) if face.dropped in LINKED]
        sights = [Sight(faces[number].points, faces[number].colours) for number in linked]
        before = {} if look.is_cut else self._tracker.last_seen()
        ids = self._tracker.follow(look.index, sights, new_shot=look.is_cut)
        tracks: list[int | None] = [None] * len(faces)
        gaps = [0] * len(faces)
        for number, track in zip(linked, ids, strict=True):
            tracks[number] = track
            gaps[number] = look.index - before[track] - 1 if track in before else 0
        points = {track: faces[number].points for number, track in zip(linked, ids, strict=True)}
        return _Linked(look, tuple(tracks), tuple(gaps), points)

    def _recalled(self, look: Look, seen: SeenFrame) -> _Linked:
        """A frame whose tracks an earlier run has decided."""
        known = [(face.track, face) for face in seen.faces or () if face.track is not None and face.points is not None]
        sights = [(track, Sight(face.points, face.look)) for track, face in known if face.points is not None]
        self._tracker.remember(seen.index, sights, new_shot=seen.is_cut)
        return _Linked(look, (), (), {track: sight.landmarks for track, sight in sights})

    def _finish(self, last: int | None) -> Iterator[Joined]:
        """Give the open frames up to index `last`, or all."""
        while self._open and (last is None or self._open[0].index <= last):
            linked = self._open[0]
            while self._past and self._past[0].index < linked.index - self._reach:
                self._past.popleft()
            if not linked.look.is_known:
                yield self._joined(linked)
            self._past.append(_without_picture(self._open.popleft()))

    def _joined(self, linked: _Linked) -> Joined:
        faces = linked.look.faces or ()
        return Joined(
            linked.look,
            tuple(
                self._joined_face(linked, face, track, gap)
                for face, track, gap in zip(faces, linked.tracks, linked.gaps, strict=True)
            ),
        )

    def _joined_face(self, linked: _Linked, face: FoundHere, track: int | None, gap: int) -> JoinedFace:
        landmarks = face.points
        if track is not None and self._reach and not face.dropped:
            around = [
                (other.index - linked.index, other.points[track])
                for other in (*self._past, *self._open)
                if track in other.points and abs(other.index - linked.index) <= self._reach
            ]
            offsets = [offset for offset, _ in around]
            points = [points for _, points in around]
            landmarks = smooth(points, offsets.index(0), offsets, strength=self._strength)
        return JoinedFace(face, landmarks, track, gap, confidence_of(face.score, self._engine))


def _without_picture(linked: _Linked) -> _Linked:
    return replace(linked, look=replace(linked.look, picture=None))


@dataclass(frozen=True)
class Written:
    """What was written of one frame. files: the face files."""

    serial: int
    seen: SeenFrame
    files: tuple[Path, ...]


def write_faces(joined: Joined, paths: SidePaths, options: ExtractOptions) -> Written:
    """Cut the faces of a frame out and write them, with a debug picture if one is wanted."""
    look = joined.look
    seen: list[SeenFace] = []
    metas: list[FaceMeta] = []
    files: list[Path] = []
    for face in joined.faces:
        cut, dropped = _cut(look, face, options)
        name = None
        if cut is not None:
            files.append(_face_file(paths.aligned, look.name, len(metas)))
            name = files[-1].name
            jpeg = encode_jpeg(cut.rgb8, options.jpeg_quality)
            metas.append(_meta(look.name, cut, face, options.face_type))
            write_face(files[-1], jpeg, metas[-1])
        seen.append(_seen(face, name, dropped))
    if options.debug_images and look.picture is not None:
        faces = [(meta, options.size) for meta in metas]
        write_debug_picture(paths.aligned_debug, Path(look.name).stem, look.picture, faces)
    return Written(look.serial, SeenFrame(look.index, look.name, tuple(seen), look.size, look.is_cut), tuple(files))


def _face_file(folder: Path, frame_name: str, number: int) -> Path:
    """Where a face goes: never over the face of another frame that somebody has named so."""
    stem = Path(frame_name).stem
    while True:
        path = folder / f"{stem}_{number}.jpg"
        if not path.exists() or _is_of(path, frame_name):
            return path
        number += 1


def _is_of(path: Path, frame_name: str) -> bool:
    """Whether a face file was cut from this frame; one that tells nothing is none of ours."""
    try:
        return read_meta(path).source_filename == frame_name
    except UnderstudyError:
        return False


def _cut(look: Look, face: JoinedFace, options: ExtractOptions) -> tuple[CutFace | None, str]:
    """The cut face, or why there is none."""
    if face.found.dropped or look.picture is None:
        return None, face.found.dropped
    found = FoundFace(face.found.rect, face.landmarks, None, face.confidence)
    reason = why_unusable(found, options.face_type)
    if reason is not None:
        return None, str(reason)
    return cut_face(look.picture, found, size=options.size, face_type=options.face_type, by_hand=True), "shape"


def _seen(face: JoinedFace, name: str | None, dropped: str) -> SeenFace:
    return SeenFace(
        rect=face.found.rect,
        confidence=face.confidence,
        track=face.track,
        file=name,
        dropped="" if name else dropped,
        gap=face.gap,
        score=face.found.score,
        points=face.found.points,
        look=face.found.colours,
    )


def _meta(frame_name: str, cut: CutFace, face: JoinedFace, face_type: FaceType) -> FaceMeta:
    box = cut.found.rect
    return FaceMeta(
        face_type=face_type,
        landmarks=cut.landmarks,
        source_filename=frame_name,
        source_rect=Rect(
            float(round(box.left)), float(round(box.top)), float(round(box.right)), float(round(box.bottom))
        ),
        source_landmarks=cut.found.landmarks,
        image_to_face_mat=cut.face_from_frame,
        confidence=face.confidence,
        track=face.track,
    )
