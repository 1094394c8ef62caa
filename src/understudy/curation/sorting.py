"""The orders of a faceset: what each measures of a face, and how the measures become an order.

order = METHODS[SortBy.BLUR].order(Values([...], names=[...]))

METHODS is the whole table; a new order is a new entry. Ties are broken by name: faces come in the order of their names,
and sorting keeps that where the measure does not decide.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from understudy.curation import measures
from understudy.curation.best_faces import Candidate, best_faces
from understudy.curation.chains import nearest_chain
from understudy.curation.differences import chain_of_differences
from understudy.curation.histograms import colour_histogram, grey_histogram, in_parts, summed_distances
from understudy.curation.looks import LookDistances, nearest_distances
from understudy.curation.sharpness import blur_score, masked_grey, motion_blur_score
from understudy.curation.sort_options import BEST_FACES, SortBy
from understudy.errors import UnreadableFace, UsageError
from understudy.facesets import Face, FaceEntry, FaceMeta, decode_jpeg
from understudy.geometry.landmarks import polygon_area
from understudy.imaging.files import read_image
from understudy.report import Report, Stop, never, silent

Picture8 = npt.NDArray[np.uint8]


class Subject:
    """One picture that is sorted: a face of the catalog, or a picture without face data. Read when first asked for.

    Belongs to one thread. What was read is kept by hand: until Python 3.12 a `cached_property` has one lock for all
    objects, so that threads would decode one after the other.
    """

    def __init__(self, path: Path, entry: FaceEntry | None) -> None:
        self.path = path
        self._entry = entry
        self._meta: FaceMeta | None = None
        self._rgb8: Picture8 | None = None

    @property
    def entry(self) -> FaceEntry:
        """What the catalog knows. Raises UnreadableFace for a picture without face data."""
        if self._entry is None:
            raise UnreadableFace("This picture has no face data.")
        return self._entry

    @property
    def is_face(self) -> bool:
        return self._entry is not None

    @property
    def meta(self) -> FaceMeta:
        if self._meta is None:
            self._meta = self.entry.meta
        return self._meta

    @property
    def rgb8(self) -> Picture8:
        """(H, W, 3) uint8. Raises UnreadableFace or a MediaError."""
        if self._rgb8 is None:
            self._rgb8 = self._decoded()
        return self._rgb8

    def _decoded(self) -> Picture8:
        if self._entry is not None:
            return decode_jpeg(self._entry.read_bytes())
        picture = read_image(self.path).rgb
        return picture if picture.dtype == np.uint8 else (picture >> 8).astype(np.uint8)

    @property
    def grey(self) -> Picture8:
        return np.asarray(cv2.cvtColor(self.rgb8, cv2.COLOR_RGB2GRAY), np.uint8)

    @property
    def hsv(self) -> Picture8:
        """Hue 0..179, saturation and value 0..255."""
        return np.asarray(cv2.cvtColor(self.rgb8, cv2.COLOR_RGB2HSV), np.uint8)

    @property
    def face(self) -> Face:
        return Face(self.rgb8, self.meta)


@dataclass(frozen=True)
class Context:
    """What an order may need beside the measures. names: of the files, in order; all else as the stage knows it.

    entries: what the catalog knows of each, None without face data. picture: reads one again. others: measures of the
    other side's faces. scratch: a folder for what does not fit into memory.
    """

    names: Sequence[str]
    entries: Sequence[FaceEntry | None] = ()
    keep: int | None = None
    dissimilar: bool = False
    picture: Callable[[int], Picture8] | None = None
    others: Callable[[], Sequence[Any]] | None = None
    scratch: Path | None = None
    report: Report = silent
    stop: Stop = never


@dataclass(frozen=True)
class Order:
    """Faces by their number, in order; those for the trash; and the figure of each that decided, where one did."""

    kept: list[int]
    trashed: list[int] = field(default_factory=list)
    figures: dict[int, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Method:
    """One order.

    help: what comes first. needs: "names", "data" (of the catalog, no picture is opened) or "pictures". measure: of one
    subject. arrange: measures to an order. takes_all: pictures without face data are sorted too; else they go to the
    trash. chooses: `keep` is the method's own business.
    """

    help: str
    needs: str
    measure: Callable[[Subject], Any]
    arrange: Callable[[Sequence[Any], Context], Order]
    takes_all: bool = False
    chooses: bool = False

    def order(self, measured: Sequence[Any], context: Context) -> Order:
        """The order of what was measured; where `keep` is given, all behind it goes to the trash."""
        found = self.arrange(measured, context)
        if context.keep is None or self.chooses:
            return found
        kept, rest = found.kept[: context.keep], found.kept[context.keep :]
        return Order(kept, rest + found.trashed, found.figures)


# -- how measures become an order


def _falling(values: Sequence[Any], context: Context) -> Order:
    """The largest first."""
    return Order(sorted(range(len(values)), key=lambda i: -values[i]), [], dict(enumerate(values)))


def _rising(values: Sequence[Any], context: Context) -> Order:
    """The smallest first."""
    return Order(sorted(range(len(values)), key=lambda i: values[i]), [], dict(enumerate(values)))


def _falling_without_zero(values: Sequence[Any], context: Context) -> Order:
    """The largest first; what measures exactly nothing goes to the trash."""
    found = _falling(values, context)
    kept = [index for index in found.kept if values[index] != 0]
    return Order(kept, [index for index in found.kept if values[index] == 0], found.figures)


def _known_first(values: Sequence[Any], context: Context) -> Order:
    """The largest first, the unknown last."""
    known = [(value is None, -(value or 0.0)) for value in values]
    return Order(sorted(range(len(values)), key=known.__getitem__), [], dict(enumerate(values)))


def _histogram_chain(values: Sequence[Any], context: Context) -> Order:
    kept: list[int] = []
    for part, distances in in_parts(np.asarray(values, np.float32)):
        kept += [part.start + index for index in nearest_chain(distances, report=context.report, stop=context.stop)]
    return Order(kept)


def _most_unlike(values: Sequence[Any], context: Context) -> Order:
    return _falling(summed_distances(np.asarray(values), report=context.report, stop=context.stop).tolist(), context)


def _difference_chain(sizes: Sequence[Any], context: Context) -> Order:
    assert context.picture is not None
    if len(set(sizes)) > 1:
        shown = ", ".join(f"{width}x{height}" for height, width in sorted(set(sizes))[:4])
        raise UsageError(
            f"Pixels can only be compared between pictures of one size; here are {shown}.",
            hint="Bring the faces to one size first: understudy faceset resize. Or sort by hist.",
        )
    chain = chain_of_differences(
        len(sizes), context.picture, farthest=context.dissimilar, scratch=context.scratch,
        report=context.report, stop=context.stop,
    )  # fmt: skip
    return Order(chain)


def _best(values: Sequence[Any], context: Context) -> Order:
    kept = best_faces(values, BEST_FACES if context.keep is None else context.keep)
    chosen = set(kept)
    figures = {index: face.sharpness for index, face in enumerate(values)}
    return Order(kept, [index for index in range(len(values)) if index not in chosen], figures)


def _alone_in_frame(frames: Sequence[Any], context: Context) -> Order:
    """Faces of frames with one face. A file's name says which face of its frame it is; else the data are counted."""
    parts = [number_in_name(name) for name in context.names]
    if any(parts):
        crowded = {part[0] for part in parts if part is not None and part[1] != 0}
        is_crowded = [part is not None and part[0] in crowded for part in parts]
    elif any(frames):
        count = Counter(frame for frame in frames if frame)
        is_crowded = [count[frame] > 1 for frame in frames]
    else:
        raise UsageError(
            "Neither the names nor the data of these pictures say which frames they come from.",
            hint="Names must be like 00012_0.jpg: frame and number of the face.",
        )
    return Order([i for i, yes in enumerate(is_crowded) if not yes], [i for i, yes in enumerate(is_crowded) if yes])


def _alike_people(looks: Sequence[Any], context: Context) -> Order:
    """Groups of people by name where there are any; in each, every face beside the one most like it."""
    groups = [entry.who or "" if entry is not None else "" for entry in context.entries] or [""] * len(looks)
    kept: list[int] = []
    for group in sorted(set(groups), key=lambda name: (not name, name)):
        members = np.array([index for index, name in enumerate(groups) if name == group])
        distances = LookDistances(np.array([looks[index] for index in members], np.float32))
        kept += [int(members[at]) for at in nearest_chain(distances, report=context.report, stop=context.stop)]
    return Order(kept, [], {index: name for index, name in enumerate(groups) if name})


def _like_the_others(looks: Sequence[Any], context: Context) -> Order:
    assert context.others is not None
    others = np.array(context.others(), np.float32)
    return _rising(nearest_distances(np.array(looks, np.float32), others).tolist(), context)


def number_in_name(name: str) -> tuple[str, int] | None:
    """The frame and the number of the face in a name such as 00012_1.jpg; None for other names."""
    frame, mark, number = PurePath(name).stem.rpartition("_")
    return (frame, int(number)) if mark and number.isascii() and number.isdecimal() else None


# -- what is measured


def _candidate(subject: Subject, sharpness: float) -> Candidate:
    yaw, pitch = measures.yaw_pitch(subject.meta, subject.entry.width)
    return Candidate(sharpness, pitch, yaw, grey_histogram(subject.grey))


def _unlikeness_histogram(subject: Subject) -> npt.NDArray[np.float32]:
    return grey_histogram(masked_grey(subject.rgb8, subject.meta) if subject.is_face else subject.grey)


def rect_area(subject: Subject) -> float:
    """Area of the face's box in its frame in pixels, in single precision as it has always been; 0 where unknown."""
    rect = subject.entry.source_rect
    if rect is None:
        return 0.0
    left, top, right, bottom = rect.left, rect.top, rect.right, rect.bottom
    return float(np.float32(polygon_area([[left, top], [right, top], [right, bottom], [left, bottom]])))


def _size(subject: Subject) -> tuple[int, int]:
    if subject.is_face:
        return subject.entry.height, subject.entry.width
    return int(subject.rgb8.shape[0]), int(subject.rgb8.shape[1])


def _zeros(rgb8: Picture8) -> float:
    """How many numbers of the picture are 0, each channel by itself."""
    return float(rgb8.size - cv2.countNonZero(rgb8.reshape(len(rgb8), -1)))


def _look(subject: Subject) -> npt.NDArray[np.float32]:
    from understudy.curation.appearance import describe

    return describe(subject.face)


def _track(subject: Subject) -> tuple[bool, int, str]:
    entry = subject.entry
    return entry.track is None, entry.track or 0, entry.source_filename or ""


METHODS: dict[SortBy, Method] = {
    SortBy.BLUR: Method(
        "sharpest first, by the share of edges that look sharp; faces without any go to the trash",
        "pictures", lambda s: blur_score(s.rgb8, s.meta), _falling_without_zero,
    ),
    SortBy.MOTION_BLUR: Method(
        "least smeared first, by the variance of the Laplacian",
        "pictures", lambda s: motion_blur_score(s.rgb8, s.meta), _falling_without_zero,
    ),
    SortBy.FACE_YAW: Method(
        "from faces turned to the picture's left to faces turned right",
        "data", lambda s: measures.yaw_pitch(s.meta, s.entry.width)[0], _falling,
    ),
    SortBy.FACE_PITCH: Method(
        "from faces that look up to faces that look down",
        "data", lambda s: measures.yaw_pitch(s.meta, s.entry.width)[1], _falling,
    ),
    SortBy.FACE_SOURCE_RECT_SIZE: Method(
        "largest in its frame first: small ones were enlarged", "data", rect_area, _falling
    ),
    SortBy.HIST: Method(
        "each face beside the one with the most similar colours: shots, people and lights stand together",
        "pictures", lambda s: colour_histogram(s.rgb8), _histogram_chain, takes_all=True,
    ),
    SortBy.HIST_DISSIM: Method(
        "the most unusual first, by the brightness inside the face",
        "pictures", _unlikeness_histogram, _most_unlike, takes_all=True,
    ),
    SortBy.BRIGHTNESS: Method(
        "brightest picture first", "pictures", lambda s: cv2.mean(s.hsv)[2], _falling, takes_all=True
    ),
    SortBy.HUE: Method(
        "by mean hue, from red over blue and green to yellow and red",
        "pictures", lambda s: cv2.mean(s.hsv)[0], _falling, takes_all=True,
    ),
    SortBy.BLACK: Method(
        "least black first: faces cut by the frame's edge come last",
        "pictures", lambda s: _zeros(s.rgb8), _rising, takes_all=True,
    ),
    SortBy.ORIGNAME: Method(
        "by the name of the frame, as extracted", "data", lambda s: s.entry.source_filename or "", _rising
    ),
    SortBy.ONEFACE: Method(
        "only faces that are alone in their frame; the others go to the trash",
        "names", lambda s: s.entry.frame if s.is_face else None, _alone_in_frame, takes_all=True,
    ),
    SortBy.ABSDIFF: Method(
        "each face beside the one with the most similar pixels (or the least: --dissimilar); slow",
        "pictures", _size, _difference_chain, takes_all=True,
    ),
    SortBy.FINAL: Method(
        "the best faces: sharp, of every direction, and unlike each other; --keep says how many, the rest goes to the "
        "trash",
        "pictures", lambda s: _candidate(s, blur_score(s.rgb8, s.meta)), _best, chooses=True,
    ),
    SortBy.FINAL_FAST: Method(
        "as final, with the face's size in its frame in place of its sharpness",
        "pictures", lambda s: _candidate(s, rect_area(s)), _best, chooses=True,
    ),
    SortBy.IDENTITY: Method(
        "by person where people were grouped, and each face beside the one that looks most like it",
        "pictures", _look, _alike_people,
    ),
    SortBy.TRACK: Method(
        "track by track, in the order of the frames; faces without a track last", "data", _track, _rising
    ),
    SortBy.EYES: Method(
        "sharpest eyes first", "pictures", lambda s: measures.eyes_sharpness(s.face), _falling
    ),
    SortBy.CONFIDENCE: Method(
        "surest landmarks first; faces whose confidence is not known last",
        "data", lambda s: s.entry.confidence, _known_first,
    ),
    SortBy.DISTANCE: Method(
        "those first that look most like a face of the other side", "pictures", _look, _like_the_others
    ),
}  # fmt: skip
